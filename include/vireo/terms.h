/* Satisfaction terms: named expressions over the heads, evaluated by muParser (docs/architecture.md, "Terms"). The
 * score of a candidate is the sum of its terms. One instance belongs to one lane: muParser keeps state. */
#ifndef VIREO_TERMS_H
#define VIREO_TERMS_H

#include <stddef.h>
#include <stdint.h>

#include "vireo/arena.h"
#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The four heads, in the order of every [.., 4] array. */
enum vr_head { VR_HEAD_CLICK = 0, VR_HEAD_WATCH_S, VR_HEAD_LIKE, VR_HEAD_FINISH };
#define VR_HEAD_COUNT 4u
const char *vr_head_name(enum vr_head head);

#define VR_TERM_COUNT_MAX 16u

struct vr_term_spec {
    struct vr_str name;       /* 1-64 of [a-z0-9_], unique */
    struct vr_str expression; /* variables click, watch_s, like, finish, duration_s; at most 1,024 bytes */
};

struct vr_terms;

/* Compile. VR_ERR_FORMAT names the term and the 1-based column ("term 'watch', column 7: unexpected token ..."):
 * unknown variables, empty expressions, assignments and repeated names are refused. VR_ERR_NOMEM. */
enum vr_status vr_terms_create(const struct vr_term_spec *spec, uint32_t count, struct vr_terms **out);
void vr_terms_destroy(struct vr_terms *terms); /* NULL is accepted */

uint32_t vr_terms_count(const struct vr_terms *terms);
struct vr_str vr_terms_name(const struct vr_terms *terms, uint32_t index);

/* True when every term is linear in the heads, so that the item score is the expectation of the viewer's score. */
int vr_terms_are_linear(const struct vr_terms *terms);

/* heads [rows, VR_HEAD_COUNT], duration_s [rows] -> value [rows, count] and score [rows], their sum. A score that is
 * not finite is stored as NaN. No allocation. VR_ERR_FORMAT when the expression fails at run time (that row is NaN). */
enum vr_status vr_terms_evaluate(struct vr_terms *terms, size_t rows, const float *heads, const float *duration_s,
                                 float *value, float *score);

#ifdef __cplusplus
}
#endif
#endif
