/* Explanations: what each term gave, which experts spoke, which rule moved the item, and its place by score alone. */
#include "reply.h"

static uint32_t gate_floats(const struct vr_feed_reply *reply)
{
    return reply->gate_count * reply->expert_count;
}

void vr_explain_gates(const struct vr_bundle *bundle, const struct vr_visit *visit, struct vr_feed_reply *reply)
{
    const struct vr_level *last = &bundle->ranker.level[bundle->ranker.level_count - 1];
    if (visit->candidates.gates == NULL) {
        return;
    }
    reply->gate_count = last->gates;
    reply->expert_count = last->experts;
    for (uint32_t g = 0; g < last->gates; g++) {
        reply->gate_name[g] = last->gate[g].name;
    }
}

const struct vr_trace *vr_explain_item(const struct vr_visit *visit, const struct vr_rerank_item *item)
{
    const struct vr_candidates *candidates = &visit->candidates;
    const struct vr_feed_reply *reply = &visit->job->reply;
    struct vr_trace *trace = vr_arena_calloc(visit->job->arena, 1, sizeof *trace);
    if (trace == NULL) {
        return NULL;
    }
    trace->terms = candidates->term + (size_t)item->candidate * reply->term_count;
    if (candidates->gates != NULL) {
        trace->gates = candidates->gates + (size_t)item->candidate * gate_floats(reply);
    }
    trace->gain = item->gain;
    trace->score_rank = item->score_rank;
    trace->moves = item->moves;
    trace->move_count = item->move_count;
    return trace;
}
