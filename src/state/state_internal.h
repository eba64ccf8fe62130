/* The state object, for state.c, import.c and catalogue.c. */
#ifndef VIREO_STATE_INTERNAL_H
#define VIREO_STATE_INTERNAL_H

#include <pthread.h>

#include "driver.h"
#include "event_window.h"
#include "trending.h"

#define VR_TIME_UNSET INT64_MIN
/* The end of the year 9999: sums and differences of such times stay far from 2^63. */
#define VR_TIME_MAX_MS INT64_C(253402300799999)

struct vr_state {
    struct vr_state_config config;
    const struct vr_store_ops *ops;
    struct vr_store *store;
    struct vr_event_window *window;
    struct vr_trending_board *trending;
    pthread_mutex_t import_lock; /* one import at a time; guards start_ms */
    int64_t start_ms;            /* what shifted bundles take for as_of_ms; VR_TIME_UNSET at first */
    uint64_t verdicts[3];        /* events by enum vr_event_verdict; changed through __atomic builtins only */
};

/* The numbers of all ids of a list, in a new array that the caller frees; NULL on failure. VR_ERR_NOMEM, _BUSY. */
enum vr_status vr_state_intern_list(struct vr_state *state, enum vr_id_kind kind, const struct vr_string_list *list,
                                    uint32_t **out);

/* Milliseconds to add to a bundle's times: 0, or what moves its as_of_ms to the first now_ms that was ever given here,
 * so that a later reload of the same bundle does not move its uploads away from the state. */
int64_t vr_state_shift_ms(struct vr_state *state, const struct vr_bundle *bundle, int64_t now_ms);

/* The same with import_lock held. */
int64_t vr_state_shift_ms_locked(struct vr_state *state, const struct vr_bundle *bundle, int64_t now_ms);

#endif
