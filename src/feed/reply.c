/* Filling the reply (reply.h). */
#include "reply.h"

#include <string.h>

static const char *const gave_way_words[VR_RULE_COUNT] = {"rule_gave_way:freshness", "rule_gave_way:topic_cap",
                                                          "rule_gave_way:creator_cap", "rule_gave_way:seen"};

/* Every reason that the selector gives, as it stands among the degraded reasons. */
static const char *const short_words[] = {"short:blocked",   "short:safety",      "short:age",       "short:excluded",
                                          "short:seen",      "short:served",      "short:score",     "short:freshness",
                                          "short:topic_cap", "short:creator_cap", "short:candidates"};

static void say_short(struct vr_visit *visit, const char *reason)
{
    visit->job->reply.short_reason = reason;
    for (size_t i = 0; reason != NULL && i < sizeof short_words / sizeof short_words[0]; i++) {
        if (strcmp(short_words[i] + strlen("short:"), reason) == 0) {
            vr_visit_degrade(visit, short_words[i]);
        }
    }
}

static void say_what_gave_way(struct vr_visit *visit, const struct vr_rerank_output *chosen)
{
    for (uint32_t r = 0; r < VR_RULE_COUNT; r++) {
        if (chosen->gave_way[r] > 0) {
            vr_visit_degrade(visit, gave_way_words[r]);
        }
    }
    say_short(visit, chosen->short_reason);
}

static void fill_item(const struct vr_bundle_videos *videos, const struct vr_candidates *candidates, uint32_t from,
                      struct vr_feed_item *item)
{
    int32_t row = candidates->row[from];
    uint32_t first = candidates->found_offset[from];
    item->row = row;
    item->id = vr_string_at(&videos->id, (uint32_t)row);
    item->title = vr_string_at(&videos->title, (uint32_t)row);
    if (videos->creator[row] >= 0) {
        item->creator = vr_string_at(&videos->creator_id, (uint32_t)videos->creator[row]);
    }
    if (videos->topic[row] >= 0) {
        item->topic = vr_string_at(&videos->topic_name, (uint32_t)videos->topic[row]);
    }
    item->duration_s = videos->duration_s[row];
    item->score = candidates->score[from];
    memcpy(item->heads, candidates->heads + (size_t)from * VR_HEAD_COUNT, sizeof item->heads);
    item->found = candidates->found + first;
    item->found_count = candidates->found_offset[from + 1] - first;
}

enum vr_status vr_reply_fill(const struct vr_lane *lane, struct vr_visit *visit, const struct vr_rerank_output *chosen)
{
    const struct vr_bundle *bundle = lane->binding->model->bundle;
    struct vr_feed_reply *reply = &visit->job->reply;
    reply->item = vr_arena_calloc(visit->job->arena, chosen->count, sizeof *reply->item);
    if (reply->item == NULL) {
        return VR_ERR_NOMEM;
    }
    vr_explain_gates(bundle, visit, reply);
    for (uint32_t p = 0; p < chosen->count; p++) {
        fill_item(&bundle->videos, &visit->candidates, chosen->item[p].candidate, &reply->item[p]);
        if (visit->job->request.explain) {
            reply->item[p].trace = vr_explain_item(visit, &chosen->item[p]);
            if (reply->item[p].trace == NULL) {
                return VR_ERR_NOMEM;
            }
        }
    }
    reply->item_count = chosen->count;
    memcpy(reply->filtered, chosen->filtered, sizeof reply->filtered);
    memcpy(visit->gave_way, chosen->gave_way, sizeof visit->gave_way);
    say_what_gave_way(visit, chosen);
    return VR_OK;
}

enum vr_status vr_reply_fill_all(const struct vr_lane *lane, struct vr_visit *visit)
{
    const struct vr_bundle *bundle = lane->binding->model->bundle;
    struct vr_feed_reply *reply = &visit->job->reply;
    const uint32_t count = visit->candidates.count;
    reply->item = vr_arena_calloc(visit->job->arena, count, sizeof *reply->item);
    if (reply->item == NULL) {
        return VR_ERR_NOMEM;
    }
    vr_explain_gates(bundle, visit, reply);
    for (uint32_t i = 0; i < count; i++) {
        const struct vr_rerank_item place = {.candidate = i};
        fill_item(&bundle->videos, &visit->candidates, i, &reply->item[i]);
        reply->item[i].trace = vr_explain_item(visit, &place);
        if (reply->item[i].trace == NULL) {
            return VR_ERR_NOMEM;
        }
    }
    reply->item_count = count;
    return VR_OK;
}
