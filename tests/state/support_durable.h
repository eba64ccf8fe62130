/* A durable store for tests: opened on a folder, told events one batch at a time, compared with another. */
#ifndef VIREO_TESTS_SUPPORT_DURABLE_H
#define VIREO_TESTS_SUPPORT_DURABLE_H

#include "state/state_internal.h"

extern const struct vr_state_config durable_config; /* small bounds */

/* Open on `folder` with support_files' calls and recover. */
struct vr_state *durable_open(const char *folder, uint64_t *replayed);

/* Submit and wait. The ticket's status; `result` comes with what the caller has rejected, else zeros. */
enum vr_status durable_tell(struct vr_state *state, const struct vr_event *event, uint32_t count,
                            struct vr_event_result *result);

/* An event of its own: texts of numbers, kept in a pool until the test ends. */
struct vr_event durable_event(int id, int user, int video, enum vr_event_type type, int64_t time_ms);

/* Everything that can be asked of viewers u0..u(n-1), videos v0..v(n-1) and trending is alike, numbers taken for the
 * ids that they stand for. Fails the test otherwise. */
void durable_expect_same(struct vr_state *a, struct vr_state *b, int viewers, int videos, int64_t now_ms);

#endif
