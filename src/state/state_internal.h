/* The state object, for state.c, import.c and catalogue.c. */
#ifndef VIREO_STATE_INTERNAL_H
#define VIREO_STATE_INTERNAL_H

#include <pthread.h>

#include "driver.h"
#include "event_log.h"
#include "event_window.h"
#include "event_writer.h"
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
    uint64_t verdicts[3];        /* events by enum vr_event_verdict; this and the next by __atomic builtins only */
    uint64_t unapplied;
    /* Of a store that lasts (durable.c): */
    int lock_fd;                    /* the folder's; -1: in memory */
    struct vr_event_log *log;       /* NULL: in memory; the writer's once it runs */
    struct vr_event_writer *writer; /* NULL: not recovered yet; __atomic builtins */
};

/* A store that lasts, with what tests change. */
struct vr_state_files {
    const char *folder;
    uint64_t segment_bytes; /* of the event log */
    const struct vr_file_ops *ops;
};
enum vr_status vr_state_open_files(const struct vr_state_config *config, const struct vr_state_files *files,
                                   struct vr_state **out);

/* The parts of durable.c: what an opened store has beside a created one. */
enum vr_status vr_durable_open(struct vr_state *state, const struct vr_state_files *files);
void vr_durable_close(struct vr_state *state);

/* ---- events, for the writer ---- */
/* What is wrong with an event, or NULL. */
const char *vr_event_fault(const struct vr_event *event);
/* Give its viewer and its video numbers, so that nothing but memory can fail once it is logged. */
enum vr_status vr_state_intern_event(struct vr_state *state, const struct vr_event *event);
/* Apply an event that the log holds. A failure is counted and reported; the next start applies it. */
void vr_state_apply_logged(struct vr_state *state, const struct vr_event *event);
void vr_state_count_verdict(struct vr_state *state, enum vr_event_verdict verdict);

/* The numbers of all ids of a list, in a new array that the caller frees; NULL on failure. VR_ERR_NOMEM, _BUSY. */
enum vr_status vr_state_intern_list(struct vr_state *state, enum vr_id_kind kind, const struct vr_string_list *list,
                                    uint32_t **out);

/* Milliseconds to add to a bundle's times: 0, or what moves its as_of_ms to the first now_ms that was ever given here,
 * so that a later reload of the same bundle does not move its uploads away from the state. */
int64_t vr_state_shift_ms(struct vr_state *state, const struct vr_bundle *bundle, int64_t now_ms);

/* The same with import_lock held. */
int64_t vr_state_shift_ms_locked(struct vr_state *state, const struct vr_bundle *bundle, int64_t now_ms);

#endif
