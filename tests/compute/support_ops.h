/* Runs operations on any backend through its own buffers and copies, so that the same tests serve a GPU: data goes to
 * device memory by way of staging, and comes back the same way. */
#ifndef VIREO_TESTS_COMPUTE_SUPPORT_OPS_H
#define VIREO_TESTS_COMPUTE_SUPPORT_OPS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cases.h"
#include "vireo/backend.h"

#define RIG_BUFFERS 64u

/* A backend with one stream and the buffers of one case. Functions abort on failure: a test cannot go on. */
struct rig {
    struct vr_backend *backend;
    struct vr_stream *stream;
    struct vr_buffer *buffer[RIG_BUFFERS];
    unsigned buffers;
};

void rig_open(struct rig *rig, struct vr_backend *backend);
void rig_clear(struct rig *rig); /* frees the buffers */
void rig_close(struct rig *rig); /* and the stream; the backend stays */

struct vr_view rig_put(struct rig *rig, const void *data, size_t bytes); /* to device memory */
void rig_get(struct rig *rig, struct vr_view from, size_t bytes, void *out);

/* A seeded generator: the same numbers on every machine. */
struct dice {
    uint64_t state;
};
uint32_t dice_next(struct dice *dice);
float dice_unit(struct dice *dice);                     /* [-1, 1) */
uint32_t dice_below(struct dice *dice, uint32_t bound); /* 0 .. bound - 1 */
void dice_floats(struct dice *dice, float *out, size_t count);

/* Run one case; out gets `count` floats, *count <= capacity. */
void ops_run(struct rig *rig, const struct op_case *c, uint64_t seed, float *out, size_t capacity, size_t *count);

/* How an operation's cases went. */
struct op_report {
    uint32_t cases;
    bool halves;  /* some store their result as halves: the tolerance has a half's step more */
    double error; /* the worst of any output, in tolerances: 1 is as far off as allowed */
};

/* Every case of cases.h on `backend` against the reference; prints each that is off and returns how many. `report`
 * [OP_COUNT] is filled in unless it is NULL. */
unsigned vr_ops_check(struct vr_backend *backend, struct op_report *report);
/* Of one operation; OP_COUNT: of all. */
unsigned vr_ops_check_of(struct vr_backend *backend, uint32_t op, struct op_report *report);

#endif
