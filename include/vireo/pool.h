/* A shared pool of worker threads for the CPU steps of a batch: a blocking parallel-for. With zero workers (two-core
 * machines) the caller does all the work itself. Several lanes may call at once; each caller also works. */
#ifndef VIREO_POOL_H
#define VIREO_POOL_H

#include <stddef.h>

#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vr_pool;

/* The work of one index; `argument` is the caller's typed block. Must not call vr_pool_for itself. */
typedef void vr_pool_body(size_t index, void *argument);

/* `workers` may be 0. VR_ERR_NOMEM; VR_ERR_IO when a thread cannot be started (what was started is ended again). */
enum vr_status vr_pool_create(unsigned workers, struct vr_pool **out);

/* Run body(0..count-1), each index exactly once, on the caller and idle workers; returns when all are done. */
void vr_pool_for(struct vr_pool *pool, size_t count, vr_pool_body *body, void *argument);

/* Ends and joins the workers; no vr_pool_for may be running. NULL is accepted. */
void vr_pool_destroy(struct vr_pool *pool);

#ifdef __cplusplus
}
#endif
#endif
