/* Fuzz target: any bytes are read as the body of a recommend, a dry run under replay, and of events. What is accepted
 * must keep the contracts' limits, and an answer that names its ids must be JSON again. */
#include <stdint.h>
#include <stdlib.h>

#include "server/reply_json.h"
#include "server/request_json.h"

static struct vr_json *json;
static struct vr_json *again;
static struct vr_arena *arena;
static struct vr_json_writer writer;

static void require(bool condition)
{
    if (!condition) {
        abort();
    }
}

static bool is_id(struct vr_str id)
{
    return id.data != NULL && id.len >= 1 && id.len <= VR_ID_MAX_BYTES;
}

static void check_writer(void)
{
    struct vr_json_value root;
    require(!writer.failed && vr_json_parse(again, writer.data, writer.len, &root) == VR_OK);
}

static void check_recommend(const struct vr_feed_request *request)
{
    require(is_id(request->user_id) && request->count >= 1 && request->count <= VR_COUNT_MAX);
    require(request->exclude_count <= VR_EXCLUDE_MAX && request->context_count <= VR_CONTEXT_MAX);
    require(request->term_count <= VR_TERM_COUNT_MAX);
    for (uint32_t i = 0; i < request->exclude_count; i++) {
        require(is_id(request->exclude[i]));
    }
    struct vr_feed_reply reply = {.model_version = "m"};
    struct vr_str ignored[VR_CONTEXT_MAX];
    for (uint32_t i = 0; i < request->context_count; i++) {
        ignored[i] = request->context[i].name;
    }
    writer.len = 0;
    writer.need_comma = false;
    vr_reply_write_feed(&writer, request, &reply, ignored, request->context_count);
    check_writer();
}

/* All candidates are unknown: the answer names them. */
static void check_rank(const struct vr_feed_request *request)
{
    struct vr_feed_reply reply = {
        .model_version = "m", .unknown = request->candidate, .unknown_count = request->candidate_count};
    require(request->kind == VR_JOB_RANK && request->candidate_count >= 1 && request->candidate_count <= VR_RANK_MAX);
    for (uint32_t i = 0; i < request->candidate_count; i++) {
        require(is_id(request->candidate[i]));
    }
    writer.len = 0;
    writer.need_comma = false;
    vr_reply_write_rank(&writer, request, &reply, NULL, 0);
    check_writer();
}

static void check_events(const struct vr_event_batch *batch)
{
    require(batch->count >= 1 && batch->count <= VR_EVENTS_MAX);
    struct vr_event_result *result = vr_arena_calloc(arena, batch->count, sizeof *result);
    require(result != NULL);
    for (uint32_t i = 0; i < batch->count; i++) {
        const struct vr_event *event = &batch->event[i];
        require(is_id(event->event_id) && is_id(event->request_id) && is_id(event->user_id) && is_id(event->video_id));
        require((unsigned)event->type < VR_EVENT_TYPE_COUNT && event->watch_s >= 0.0f);
        result[i].verdict = (enum vr_event_verdict)(i % 3);
    }
    writer.len = 0;
    writer.need_comma = false;
    vr_reply_write_events(&writer, batch, result);
    check_writer();
}

int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void)argc;
    (void)argv;
    require(vr_json_create(65536, 8, &json) == VR_OK && vr_json_create(1u << 24, 16, &again) == VR_OK);
    require(vr_arena_create(65536, &arena) == VR_OK);
    return 0;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const struct vr_request_rules plain = {.default_timeout_ms = 1000, .now_ms = 1};
    static const struct vr_request_rules dry = {.dry_run = true, .replay = true, .default_timeout_ms = 1000};
    static const struct vr_request_rules ranking = {.kind = VR_JOB_RANK, .replay = true, .default_timeout_ms = 1000};
    struct vr_json_value root;
    struct vr_feed_request request;
    struct vr_event_batch batch;
    if (vr_json_parse(json, (const char *)data, size, &root) != VR_OK) {
        return 0;
    }
    vr_arena_reset(arena);
    if (vr_recommend_read(root, &plain, arena, &request) == VR_OK) {
        check_recommend(&request);
    }
    if (vr_recommend_read(root, &dry, arena, &request) == VR_OK) {
        check_recommend(&request);
    }
    if (vr_recommend_read(root, &ranking, arena, &request) == VR_OK) {
        check_rank(&request);
    }
    if (vr_events_read(root, 1, arena, &batch) == VR_OK) {
        check_events(&batch);
    }
    return 0;
}
