/* Request bodies as typed structs. Every function reads a document that vr_json_parse accepted, copies what it keeps
 * into `arena`, and refuses unknown keys, wrong types and values out of range with VR_ERR_INVALID and a text that names
 * the key ("count: 51 is not in 1..50"). VR_ERR_NOMEM. */
#ifndef VIREO_SERVER_REQUEST_JSON_H
#define VIREO_SERVER_REQUEST_JSON_H

#include "vireo/dict.h"
#include "vireo/feed.h"
#include "vireo/json.h"

#define VR_EVENTS_MAX 1000u          /* a POST /v1/events */
#define VR_CONTEXT_MAX 32u           /* values of a request's context */
#define VR_CONTEXT_TEXT_MAX 256u     /* bytes of one */
#define VR_TIMEOUT_MS_MAX 60000      /* of a request */
#define VR_EVENT_FUTURE_MS 300000    /* an event may be this much ahead of the server's clock */
#define VR_TIME_MS_MAX 4102444800000 /* 2100-01-01: what lies behind is no time in milliseconds */

/* What a request may say beyond the plain recommend. */
struct vr_request_rules {
    enum vr_job_kind kind; /* RECOMMEND, or RANK: `video_ids` in place of what shapes a feed */
    bool replay;           /* `time` is taken */
    bool dry_run;          /* `satisfaction` is taken */
    uint32_t default_timeout_ms;
    uint32_t header_timeout_ms; /* the smaller of this and timeout_ms counts; 0: not sent */
    enum vr_priority priority;
    int64_t now_ms;       /* wall clock, for requests without `time` */
    uint64_t received_us; /* monotonic */
};

/* POST /v1/recommend, /v1/rank and /admin/dry_run. out->request_id is empty where the client gave none. */
enum vr_status vr_recommend_read(struct vr_json_value root, const struct vr_request_rules *rules,
                                 struct vr_arena *arena, struct vr_feed_request *out);

/* The values of X-Request-Timeout-Ms (1..VR_TIMEOUT_MS_MAX; *out 0 where data is NULL) and X-Request-Priority (high,
 * normal, low; `otherwise` where data is NULL). VR_ERR_INVALID with the field's name. */
enum vr_status vr_timeout_field_read(struct vr_str text, uint32_t *out);
enum vr_status vr_priority_field_read(struct vr_str text, enum vr_priority otherwise, enum vr_priority *out);

/* When a request is due that names a time in its body, its head, in both or in neither (0). */
uint64_t vr_request_deadline_us(const struct vr_request_rules *rules, uint32_t body_timeout_ms);

/* POST /v1/events: one object, or {"events": [...]} with 1 to 1,000. All are read before any is applied, so that a
 * malformed one leaves nothing behind. Times default to now_ms. */
struct vr_event_batch {
    struct vr_event *event; /* [count], duration_s still 0 */
    uint32_t count;
};
enum vr_status vr_events_read(struct vr_json_value root, int64_t now_ms, struct vr_arena *arena,
                              struct vr_event_batch *out);

/* An id: a string of 1 to 64 bytes, or an integer, which means its decimal text. `key` is named in refusals. */
enum vr_status vr_id_read(struct vr_json_value value, const char *key, struct vr_arena *arena, struct vr_str *out);
#endif
