/* FAISS behind C: the library's headers and exceptions end at faiss_shim.cc. Every failure is VR_ERR_BACKEND with the
 * library's own message, or VR_ERR_NOMEM. */
#ifndef VIREO_COMPUTE_FAISS_SHIM_H
#define VIREO_COMPUTE_FAISS_SHIM_H

#include <stdint.h>

#include "vireo/config.h"
#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vr_faiss;

/* Build an inner-product index over vector [rows, dim], which is copied. rows > 0. `threads` for the build, 0: all. */
enum vr_status vr_faiss_create(const struct vr_index_config *config, uint32_t rows, uint32_t dim, const float *vector,
                               unsigned threads, struct vr_faiss **out);

/* The library's k nearest for each query: id [queries, k] (-1 where fewer were found), in its own order. One thread.
 * FAISS takes memory of its own for this; it is the one search that does. */
enum vr_status vr_faiss_search(const struct vr_faiss *index, uint32_t queries, const float *query, uint32_t k,
                               int64_t *id);

/* The stored vector of a row. */
enum vr_status vr_faiss_vector(const struct vr_faiss *index, int64_t id, float *vector);

void vr_faiss_destroy(struct vr_faiss *index); /* NULL is accepted */

#ifdef __cplusplus
}
#endif
#endif
