/* The latest event ids, so that an event that is sent twice counts once. Memory is bounded and taken at creation: 24
 * bytes an id. Ids are kept as 64-bit hashes: among a million, a new id is taken for an old one once in 10^13. */
#ifndef VIREO_STATE_EVENT_WINDOW_H
#define VIREO_STATE_EVENT_WINDOW_H

#include <stdbool.h>

#include "vireo/arena.h"
#include "vireo/status.h"

struct vr_event_window;

/* A window over the latest `capacity` (> 0) ids. The caller frees with vr_event_window_destroy. VR_ERR_NOMEM. */
enum vr_status vr_event_window_create(size_t capacity, struct vr_event_window **out);
void vr_event_window_destroy(struct vr_event_window *window); /* NULL is accepted */

/* Remember an id; false when it is there already. Safe from any thread. */
bool vr_event_window_add(struct vr_event_window *window, struct vr_str id);

/* Take an id back that was added just now: its event could not be applied and may be sent again. */
void vr_event_window_forget(struct vr_event_window *window, struct vr_str id);

size_t vr_event_window_bytes(const struct vr_event_window *window);

#endif
