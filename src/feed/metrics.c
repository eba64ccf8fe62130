/* Counters of the lanes: each lane writes its own with relaxed atomics, readers add them up. */
#include <string.h>

#include "lane.h"
#include "vireo/clock.h"

#define COUNT(counter, by) __atomic_fetch_add(&(counter), (by), __ATOMIC_RELAXED)

static void add_counter(uint64_t *into, const uint64_t *from)
{
    *into += __atomic_load_n(from, __ATOMIC_RELAXED);
}

static void count_sources(struct vr_feed_metrics *metrics, const struct vr_feed_reply *reply)
{
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        COUNT(metrics->source_late[s], reply->source[s].status == VR_SOURCE_LATE ? 1 : 0);
        COUNT(metrics->source_error[s], reply->source[s].status == VR_SOURCE_ERROR ? 1 : 0);
    }
}

static void count_stages(struct vr_feed_metrics *metrics, const struct vr_feed_reply *reply)
{
    vr_histogram_record(&metrics->retrieve_us, reply->retrieve_us);
    vr_histogram_record(&metrics->merge_us, reply->merge_us);
    vr_histogram_record(&metrics->rank_us, reply->rank_us);
    vr_histogram_record(&metrics->rerank_us, reply->rerank_us);
}

const char *vr_degraded_reason(uint32_t reason)
{
    static const char *const reasons[VR_DEGRADED_REASONS] = {
        "fewer_candidates", "source_late",         "source_error", "short",
        "rule_gave_way",    "ranker_error",        "ranker_late",  "ranker_fewer",
        "terms_nonlinear",  "served_not_recorded", "device_error", "device_no_memory",
        "device_lost",      "device_hang",         "device_down",  "other"};
    return reason < VR_DEGRADED_REASONS ? reasons[reason] : "unknown";
}

/* The place of what stands before the colon. */
static uint32_t reason_of(const char *word)
{
    size_t len = strcspn(word, ":");
    uint32_t reason = 0;
    while (reason + 1 < VR_DEGRADED_REASONS &&
           (strlen(vr_degraded_reason(reason)) != len || memcmp(vr_degraded_reason(reason), word, len) != 0)) {
        reason++;
    }
    return reason;
}

static void count_answer(struct vr_feed_metrics *metrics, const struct vr_visit *visit)
{
    const struct vr_feed_reply *reply = &visit->job->reply;
    for (uint32_t f = 0; f < VR_FILTER_COUNT; f++) {
        COUNT(metrics->filtered[f], reply->filtered[f]);
    }
    for (uint32_t r = 0; r < VR_RULE_COUNT; r++) {
        COUNT(metrics->rule_gave_way[r], visit->gave_way[r]);
    }
    COUNT(metrics->dropped_scores, reply->filtered[VR_FILTER_SCORE]);
    for (uint32_t d = 0; d < reply->degraded_count; d++) {
        COUNT(metrics->degraded[reason_of(reply->degraded[d])], 1);
    }
    COUNT(metrics->short_feeds, reply->short_reason != NULL ? 1 : 0);
    count_sources(metrics, reply);
    if (visit->job->request.kind == VR_JOB_RECOMMEND) {
        count_stages(metrics, reply);
    }
}

void vr_metrics_count(struct vr_feed_metrics *metrics, const struct vr_visit *visit, uint64_t now_us)
{
    const struct vr_job *job = visit->job;
    enum vr_status status = job->reply.status;
    bool failed = status != VR_OK && status != VR_ERR_TIMEOUT && status != VR_ERR_CLOSED;
    COUNT(metrics->jobs, 1);
    COUNT(metrics->timeouts, status == VR_ERR_TIMEOUT ? 1 : 0);
    COUNT(metrics->cancelled, status == VR_ERR_CLOSED ? 1 : 0);
    COUNT(metrics->errors, failed ? 1 : 0);
    vr_histogram_record(&metrics->queue_us, job->reply.queue_us);
    if (status == VR_OK) {
        count_answer(metrics, visit);
    }
    uint64_t received_us = job->request.received_us;
    vr_histogram_record(&metrics->total_us, now_us > received_us ? now_us - received_us : 0);
}

void vr_metrics_count_device(struct vr_feed_metrics *metrics, const struct vr_device_run *run)
{
    COUNT(metrics->device_batches, run->steps > 0 && run->on_device ? 1 : 0);
    COUNT(metrics->replayed_batches, run->replayed ? 1 : 0);
}

void vr_metrics_count_batch(struct vr_feed_metrics *metrics, uint32_t jobs)
{
    COUNT(metrics->batches, 1);
    vr_histogram_record(&metrics->batch_size, jobs);
}

void vr_metrics_count_cpu(struct vr_feed_metrics *metrics, enum vr_stage stage, uint64_t ns)
{
    COUNT(metrics->cpu_ns[stage], ns);
}

void vr_metrics_take(struct vr_lane *lane, uint32_t jobs, uint64_t now_us)
{
    __atomic_store_n(&lane->taken_us, now_us, __ATOMIC_RELAXED);
    __atomic_store_n(&lane->in_hand, jobs, __ATOMIC_RELAXED);
}

void vr_metrics_read_lane(const struct vr_lane *lane, struct vr_lane_status *out)
{
    uint64_t now_us = vr_clock_mono_us();
    uint64_t taken_us = __atomic_load_n(&lane->taken_us, __ATOMIC_RELAXED);
    *out = (struct vr_lane_status){.in_hand = __atomic_load_n(&lane->in_hand, __ATOMIC_RELAXED),
                                   .batches = __atomic_load_n(&lane->metrics.batches, __ATOMIC_RELAXED),
                                   .jobs = __atomic_load_n(&lane->metrics.jobs, __ATOMIC_RELAXED)};
    out->busy_us = out->in_hand > 0 && now_us > taken_us ? now_us - taken_us : 0;
}

static void add_histograms(struct vr_feed_metrics *into, const struct vr_feed_metrics *lane)
{
    vr_histogram_merge(&into->queue_us, &lane->queue_us);
    vr_histogram_merge(&into->retrieve_us, &lane->retrieve_us);
    vr_histogram_merge(&into->merge_us, &lane->merge_us);
    vr_histogram_merge(&into->rank_us, &lane->rank_us);
    vr_histogram_merge(&into->rerank_us, &lane->rerank_us);
    vr_histogram_merge(&into->total_us, &lane->total_us);
    vr_histogram_merge(&into->batch_size, &lane->batch_size);
}

void vr_metrics_add(struct vr_feed_metrics *into, const struct vr_feed_metrics *lane)
{
    add_counter(&into->jobs, &lane->jobs);
    add_counter(&into->batches, &lane->batches);
    add_counter(&into->device_batches, &lane->device_batches);
    add_counter(&into->replayed_batches, &lane->replayed_batches);
    add_counter(&into->timeouts, &lane->timeouts);
    add_counter(&into->cancelled, &lane->cancelled);
    add_counter(&into->errors, &lane->errors);
    add_counter(&into->dropped_scores, &lane->dropped_scores);
    add_counter(&into->short_feeds, &lane->short_feeds);
    for (uint32_t s = 0; s < VR_STAGE_COUNT; s++) {
        add_counter(&into->cpu_ns[s], &lane->cpu_ns[s]);
    }
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        add_counter(&into->source_late[s], &lane->source_late[s]);
        add_counter(&into->source_error[s], &lane->source_error[s]);
    }
    for (uint32_t r = 0; r < VR_RULE_COUNT; r++) {
        add_counter(&into->rule_gave_way[r], &lane->rule_gave_way[r]);
    }
    for (uint32_t f = 0; f < VR_FILTER_COUNT; f++) {
        add_counter(&into->filtered[f], &lane->filtered[f]);
    }
    for (uint32_t d = 0; d < VR_DEGRADED_REASONS; d++) {
        add_counter(&into->degraded[d], &lane->degraded[d]);
    }
    add_histograms(into, lane);
}
