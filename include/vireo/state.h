/* What Vireo knows of viewers and videos between requests: histories, follows, friends, counters, trending. Keys are
 * numbers of append-only dictionaries in this store, never rows of a bundle, so a reload leaves every history meaning
 * the same videos. A store that is created lives in memory and ends with the process; one that is opened on a folder
 * keeps its events in a log there and answers them only once they are durable (docs/event-log.md).
 *
 * Locks: each call takes one short lock of a shard and copies; nothing is held across calls. Safe from any thread. */
#ifndef VIREO_STATE_H
#define VIREO_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "vireo/arena.h"
#include "vireo/bundle.h"
#include "vireo/config.h"
#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

struct vr_state;

/* What is kept, so that memory stays bounded: the oldest goes first. Viewers are bounded by the configuration's
 * max_viewers, of whom none is forgotten; a new one past them is VR_ERR_BUSY. */
#define VR_RECENT_WATCHES_MAX 200u /* largest recent_watches of a configuration */
#define VR_SEEN_MAX 20000u         /* videos a viewer has seen */
#define VR_SERVED_MAX 300u         /* videos served to a viewer */
#define VR_EVENT_WINDOW 1000000u   /* event ids among which duplicates are found */
#define VR_TRENDING_MAX 500u       /* videos in a trending list */

/* VR_ERR_INVALID (configuration out of range), VR_ERR_NOMEM. */
enum vr_status vr_state_create(const struct vr_state_config *config, struct vr_state **out);
void vr_state_destroy(struct vr_state *state); /* NULL is accepted; stops first; no call may be running */

/* A store that lasts, in `folder`, which exists and which one process has at a time. Events come in through
 * vr_state_submit, once vr_state_recover has been called. VR_ERR_BUSY (another process has the folder), VR_ERR_IO,
 * VR_ERR_FORMAT, _CHECKSUM and _UNSUPPORTED (what lies there is damaged, or of a later version), as vr_state_create. */
enum vr_status vr_state_open(const struct vr_state_config *config, const char *folder, struct vr_state **out);

/* Bring the state to what the log says, after the import of the bundle's seeds, and begin to take events; *replayed is
 * how many events were applied. Nothing but *replayed = 0 for a store in memory. The errors of vr_state_open. */
enum vr_status vr_state_recover(struct vr_state *state, uint64_t *replayed);

/* Take no more events, finish those that were taken, end the thread. Idempotent; a store in memory has nothing to do.
 */
void vr_state_stop(struct vr_state *state);

bool vr_state_is_durable(const struct vr_state *state);

/* Import a bundle's seed state; *imported is how many viewers came. Where the bundle says shift_state, its times move
 * so that as_of_ms becomes the store's start: the now_ms of its first import or catalogue, also for later ones, so that
 * a reload keeps uploads and histories together. Does nothing and sets *imported = 0 when the store holds viewers
 * already or the bundle has no state. VR_ERR_FORMAT (an index out of range), VR_ERR_BUSY (more than max_viewers),
 * VR_ERR_NOMEM: part of the seeds may be there. */
enum vr_status vr_state_import(struct vr_state *state, const struct vr_bundle *bundle, int64_t now_ms,
                               uint32_t *imported);

/* ---- numbers ---- */
uint32_t vr_state_video_number(struct vr_state *state, struct vr_str id);   /* VR_DICT_NONE when unknown */
uint32_t vr_state_creator_number(struct vr_state *state, struct vr_str id); /* VR_DICT_NONE when unknown */
enum vr_status vr_state_intern_video(struct vr_state *state, struct vr_str id, uint32_t *number);
enum vr_status vr_state_intern_creator(struct vr_state *state, struct vr_str id, uint32_t *number);

/* ---- counters ---- */
struct vr_counters {
    float impressions, clicks, finishes, likes, long_views, watch_s;
};

/* Totals of videos by number; unknown numbers give zeros. */
void vr_state_video_counters(struct vr_state *state, const uint32_t *number, uint32_t count, struct vr_counters *out);

/* ---- viewers ---- */
struct vr_watch {     /* one impression that a viewer's events told of */
    uint32_t video;   /* number */
    uint32_t flags;   /* enum vr_watch_flag */
    int64_t time_ms;  /* INT64_MIN unknown */
    float watch_s;    /* NaN unknown */
    uint32_t request; /* low half of the request id's hash; joins later events to the impression */
};
struct vr_profile_value {
    struct vr_str name;
    bool is_text;
    double number; /* NaN missing */
    struct vr_str text;
};
struct vr_viewer {
    bool known; /* false: no event, import or answer has told of him; everything below is empty */
    float age;  /* years, NaN unknown */
    struct vr_counters counters;
    const struct vr_watch *recent; /* [recent_count], oldest first */
    uint32_t recent_count;
    const uint32_t *seen; /* [seen_count] video numbers, ascending; from events */
    uint32_t seen_count;
    const uint32_t *served; /* [served_count] video numbers, ascending; of recent answers */
    uint32_t served_count;
    const uint32_t *follow; /* [follow_count] creator numbers, ascending */
    uint32_t follow_count;
    const uint32_t *friends; /* [friend_count] viewer numbers, ascending */
    uint32_t friend_count;
    const struct vr_profile_value *profile;
    uint32_t profile_count;
};

/* A copy in `arena`; an unknown id gives known = false and VR_OK. VR_ERR_NOMEM. */
enum vr_status vr_state_viewer(struct vr_state *state, struct vr_str user_id, struct vr_arena *arena,
                               struct vr_viewer *out);

/* Recent watches of a viewer by number (for the social source): at most `capacity`, newest first; returns how many. */
uint32_t vr_state_recent_of(struct vr_state *state, uint32_t viewer, struct vr_watch *out, uint32_t capacity);

/* Remember that these videos went out to this viewer (the last VR_SERVED_MAX are kept). A new viewer gets a record.
 * VR_ERR_INVALID (user id not of 1-64 bytes), VR_ERR_BUSY (a new viewer past max_viewers), VR_ERR_NOMEM. */
enum vr_status vr_state_record_served(struct vr_state *state, struct vr_str user_id, const uint32_t *video,
                                      uint32_t count, int64_t now_ms);

/* ---- events ---- */
enum vr_event_type {
    VR_EVENT_IMPRESSION = 0,
    VR_EVENT_CLICK,
    VR_EVENT_PLAY,
    VR_EVENT_FINISH,
    VR_EVENT_LIKE,
    VR_EVENT_SHARE,
    VR_EVENT_SKIP,
    VR_EVENT_DISLIKE
};
#define VR_EVENT_TYPE_COUNT 8u
const char *vr_event_type_name(enum vr_event_type type);

/* Labels of an impression (viewer, request_id, video), whatever the order of its events:
 * - The first event makes the impression if no impression event came before; it stands at the time of its earliest
 * event.
 * - click, like: an event of that name came. Any number of them counts once.
 * - watch_s: plays added up, at least the duration once a finish event came, at most 300.
 * - finish: duration > 0 and the seconds before that cap are >= 0.95 of it. long_view, as KuaiRand has it: they are
 *   >= min(duration, 18), >= 18 where the duration is 0. Both allow 0.1 ms for rounding.
 * - share, skip and dislike make the impression known and carry no label.
 * Counters move with the labels: each label counts once an impression. Its trending weight (click 1, finish 2, like 4)
 * counts from the time of the event that brought the label. An impression is joined while it is among the viewer's
 * latest recent_watches + 100; an event that comes later than that makes a new one. */
struct vr_event {
    struct vr_str event_id;   /* 1-64 bytes; the same id again, among the latest VR_EVENT_WINDOW, is a duplicate */
    struct vr_str request_id; /* 1-64 bytes */
    struct vr_str user_id, video_id;
    enum vr_event_type type;
    int64_t time_ms;  /* 1970..9999; any order. The caller bounds how far ahead of now it may be: a weight from the
                         future outlasts others in trending */
    float watch_s;    /* of a play, seconds, >= 0; plays of one impression add up */
    float duration_s; /* of the video, 0 unknown: taken from the catalogue by the caller; an impression keeps its first
                         known one */
    /* What the answer said that showed the video, where the client tells it again; kept in the log, without effect on
     * labels. Texts of at most 64 bytes, empty where unknown. */
    uint32_t position; /* 1.., 0 unknown */
    struct vr_str model_version, experiment, arm, source;
};
enum vr_event_verdict { VR_EVENT_ACCEPTED = 0, VR_EVENT_DUPLICATE, VR_EVENT_REJECTED };

/* Apply one event: labels of its impression, counters, recents, seen, trending. A video id that is new gets a number;
 * the caller refuses ids that the catalogue does not know. VR_EVENT_REJECTED comes with VR_ERR_INVALID and a text, or
 * with VR_ERR_BUSY (a new viewer past max_viewers) or VR_ERR_NOMEM: nothing that can be seen has changed then, and the
 * event may be sent again. VR_ERR_UNSUPPORTED for a durable store. */
enum vr_status vr_state_apply(struct vr_state *state, const struct vr_event *event, enum vr_event_verdict *verdict);

/* What became of one event. */
struct vr_event_result {
    enum vr_event_verdict verdict;
    const char *reason; /* of a rejection, text that stays; else NULL */
};

/* Events on their way to the log: the caller's until they are submitted and again from `done` on. */
struct vr_event_ticket {
    const struct vr_event *event; /* [count] */
    uint32_t count;
    struct vr_event_result *result; /* [count]; one that has a reason already was rejected by the caller */
    int64_t received_ms;            /* the server's clock */
    void (*done)(struct vr_event_ticket *ticket); /* on the state's thread; must not wait */
    enum vr_status status; /* VR_OK: all accepted and duplicate events are durable, and can be seen. VR_ERR_IO: none of
                              the new ones is; send them again */
    char error[192];       /* text of a failure */
    struct vr_event_ticket *next; /* the state's */
};

/* Hand events of a durable store over. VR_OK: `done` will be called. VR_ERR_BUSY (too many are waiting), VR_ERR_CLOSED
 * (not recovered yet, or stopped), VR_ERR_UNSUPPORTED (a store in memory: vr_state_apply): it will not. */
enum vr_status vr_state_submit(struct vr_state *state, struct vr_event_ticket *ticket);

/* ---- trending ---- */
struct vr_trending { /* immutable list, counted */
    uint32_t count;
    const uint32_t *video; /* numbers, highest first */
    const float *score;
};
/* The list as of about now_ms, at most VR_TRENDING_MAX videos, ties by smaller number; never NULL. A caller that finds
 * it older than the configured refresh builds the next one while all others go on with the old. Release after use. */
const struct vr_trending *vr_state_trending(struct vr_state *state, int64_t now_ms);
void vr_state_trending_release(struct vr_state *state, const struct vr_trending *list);

struct vr_state_sizes {
    uint64_t viewers, videos;              /* records; numbers given out */
    uint64_t events, duplicates, rejected; /* by verdict; an event that met VR_ERR_NOMEM or _BUSY is in none */
    uint64_t bytes;                        /* records, windows, dictionaries */
    uint64_t log_commits, log_failures;    /* groups of events written and synced, and those that failed */
    uint64_t log_bytes, log_segments;      /* written by this process; files in the folder */
    uint64_t unapplied; /* events that are in the log, but met no memory when they were to be applied: a restart does */
};
void vr_state_measure(struct vr_state *state, struct vr_state_sizes *out);

/* ---- catalogue: a bundle's videos joined to the store's numbers; immutable, counted with the model it serves ---- */
struct vr_catalogue {
    const struct vr_bundle *bundle;
    uint32_t count;                 /* rows */
    const uint32_t *number;         /* [count], number of a row's video */
    const int32_t *row;             /* [numbers], row of a number, -1 not in this bundle */
    uint32_t numbers;               /* a number >= numbers came later: not in this bundle */
    const int64_t *upload_ms;       /* [count], shifted like the state; INT64_MIN unknown */
    const uint32_t *creator_number; /* [creators of the bundle] */
    const uint32_t *upload_offset;  /* [creators + 1]: rows of a creator, newest first */
    const int32_t *upload_row;
    const int32_t *creator_of_number; /* [creator_numbers], bundle creator of a number, -1 none */
    uint32_t creator_numbers;
};
/* Videos and creators that the store does not know get numbers. The bundle must outlive the catalogue. VR_ERR_NOMEM. */
enum vr_status vr_catalogue_create(struct vr_state *state, const struct vr_bundle *bundle, int64_t now_ms,
                                   struct vr_catalogue **out);
void vr_catalogue_destroy(struct vr_catalogue *catalogue); /* NULL is accepted */
static inline int32_t vr_catalogue_row(const struct vr_catalogue *c, uint32_t number)
{
    return number < c->numbers ? c->row[number] : -1;
}

#ifdef __cplusplus
}
#endif
#endif
