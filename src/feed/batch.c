/* A batch on its way: straight-line code from the jobs that a lane took to the answers that it hands back. Callers' own
 * candidates (RANK) join feeds after retrieval and leave them before the guardrails. Per-request
 * steps run over the shared pool, the two dense steps are one engine call each; SIMILAR jobs follow on their own. */
#include <string.h>

#include "steps.h"
#include "vireo/clock.h"

typedef void request_step(const struct vr_lane *lane, struct vr_visit *visit);

/* ---- opening ---- */

/* A job whose client has gone or whose deadline has passed is answered without work. */
static enum vr_status refuse(const struct vr_lane *lane, const struct vr_job *job, uint64_t now_us)
{
    if (__atomic_load_n(&job->cancelled, __ATOMIC_RELAXED)) {
        return vr_fail(VR_ERR_CLOSED, "the client has gone");
    }
    if (now_us >= job->request.deadline_us) {
        return vr_fail(VR_ERR_TIMEOUT, "the deadline passed before the feed was made");
    }
    return lane->binding != NULL ? VR_OK : vr_fail(VR_ERR_CLOSED, "no model is in service");
}

static void begin_visit(struct vr_visit *visit, struct vr_job *job, uint64_t now_us)
{
    uint64_t received_us = job->request.received_us;
    memset(visit, 0, sizeof *visit);
    memset(&job->reply, 0, sizeof job->reply);
    visit->job = job;
    job->model = NULL;
    job->reply.queue_us = now_us > received_us ? (uint32_t)(now_us - received_us) : 0;
}

static void open_visit(struct vr_lane *lane, uint32_t index, uint32_t count, uint64_t now_us)
{
    struct vr_visit *visit = &lane->visit[index];
    struct vr_job *job = lane->batch[index];
    begin_visit(visit, job, now_us);
    job->reply.batch = count;
    enum vr_status status = refuse(lane, job, now_us);
    if (status != VR_OK) {
        vr_visit_fail(visit, status);
        return;
    }
    if (lane->level > 0 && job->request.kind == VR_JOB_RECOMMEND) {
        vr_visit_degrade(visit, "fewer_candidates");
    }
    job->model = vr_model_retain(lane->binding->model);
    job->reply.model_version = job->model->bundle->model_version;
}

/* ---- steps over the requests ---- */

struct spread {
    struct vr_lane *lane;
    request_step *step;
};

static void spread_body(size_t index, void *argument)
{
    const struct spread *spread = argument;
    struct vr_visit *visit = spread->lane->open[index];
    if (vr_visit_is_open(visit)) {
        spread->step(spread->lane, visit);
    }
}

/* Run a step for each of lane->open[count] over the pool, drop those that failed; returns how many are left. */
static uint32_t run_spread(struct vr_lane *lane, uint32_t count, request_step *step)
{
    struct spread spread = {lane, step};
    uint32_t left = 0;
    vr_pool_for(lane->pool, count, spread_body, &spread);
    for (uint32_t i = 0; i < count; i++) {
        if (vr_visit_is_open(lane->open[i])) {
            lane->open[left++] = lane->open[i];
        }
    }
    return left;
}

static bool is_named(const struct vr_visit *visit)
{
    return visit->job->request.kind == VR_JOB_RANK;
}

static void prepare(const struct vr_lane *lane, struct vr_visit *visit)
{
    vr_step_viewer(lane, visit);
    if (vr_visit_is_open(visit) && !is_named(visit)) {
        vr_step_lookups(lane, visit);
    }
}

static void merge(const struct vr_lane *lane, struct vr_visit *visit)
{
    struct vr_kit *kit = vr_kit_take(lane->binding);
    vr_step_merge(lane, visit, kit->merge);
    vr_kit_give_back(kit);
}

static void combine(const struct vr_lane *lane, struct vr_visit *visit)
{
    if (is_named(visit)) {
        vr_step_named(lane, visit);
    } else {
        merge(lane, visit);
    }
    if (vr_visit_is_open(visit)) {
        vr_step_candidate_fields(lane, visit);
    }
}

/* The score under the admin's own terms. */
static void score_dry(const struct vr_lane *lane, struct vr_visit *visit)
{
    struct vr_terms *terms;
    enum vr_status status = vr_terms_create(visit->job->request.terms, visit->job->request.term_count, &terms);
    if (status != VR_OK) {
        vr_visit_fail(visit, status);
        return;
    }
    if (!vr_terms_are_linear(terms)) {
        vr_visit_degrade(visit, "terms_nonlinear");
    }
    vr_step_terms(lane, visit, terms);
    vr_terms_destroy(terms);
}

static void score(const struct vr_lane *lane, struct vr_visit *visit)
{
    if (visit->job->request.terms != NULL) {
        score_dry(lane, visit);
        return;
    }
    struct vr_kit *kit = vr_kit_take(lane->binding);
    vr_step_terms(lane, visit, kit->terms);
    vr_kit_give_back(kit);
    if (!lane->binding->linear) {
        vr_visit_degrade(visit, "terms_nonlinear");
    }
}

/* What goes out is remembered, so that it does not come again at once; nobody waits for an answer to a dry run or to a
 * client that has gone. */
static void record_served(const struct vr_lane *lane, struct vr_visit *visit)
{
    const struct vr_job *job = visit->job;
    uint32_t number[VR_COUNT_MAX];
    bool gone = __atomic_load_n(&job->cancelled, __ATOMIC_RELAXED);
    if (!lane->config->rerank.record_served || job->request.dry_run || gone || job->reply.item_count == 0) {
        return;
    }
    for (uint32_t i = 0; i < job->reply.item_count; i++) {
        number[i] = job->model->catalogue->number[job->reply.item[i].row];
    }
    if (vr_state_record_served(lane->state, job->request.user_id, number, job->reply.item_count, job->request.now_ms) !=
        VR_OK) {
        vr_visit_degrade(visit, "served_not_recorded");
    }
}

static void conclude(const struct vr_lane *lane, struct vr_visit *visit)
{
    score(lane, visit);
    if (vr_visit_is_open(visit) && is_named(visit)) {
        vr_step_answer_named(lane, visit);
        return;
    }
    if (vr_visit_is_open(visit)) {
        vr_step_guard(lane, visit, &lane->config->rerank);
    }
    if (vr_visit_is_open(visit)) {
        record_served(lane, visit);
    }
}

/* ---- the whole way ---- */

/* Where a step began: on the clock, and of the thread's CPU. */
struct mark {
    uint64_t us, cpu_ns;
};

static struct mark mark_now(void)
{
    return (struct mark){vr_clock_mono_us(), vr_clock_thread_cpu_ns()};
}

/* Microseconds of the step since *mark, which moves to now; its CPU is counted. */
static uint32_t lap(struct vr_lane *lane, enum vr_stage stage, struct mark *mark)
{
    const struct mark now = mark_now();
    const uint64_t us = now.us - mark->us;
    vr_metrics_count_cpu(&lane->metrics, stage, now.cpu_ns - mark->cpu_ns);
    *mark = now;
    return us < UINT32_MAX ? (uint32_t)us : UINT32_MAX;
}

/* Append the open ones of a kind to lane->open[open]; returns how many there are then. */
static uint32_t gather_open(struct vr_lane *lane, uint32_t open, uint32_t count, enum vr_job_kind kind)
{
    for (uint32_t i = 0; i < count; i++) {
        struct vr_visit *visit = &lane->visit[i];
        if (vr_visit_is_open(visit) && visit->job->request.kind == kind) {
            lane->open[open++] = visit;
        }
    }
    return open;
}

/* The ranker is the most of the work: whoever can only be late, or has gone, is let go before it. */
static uint32_t drop_late(struct vr_lane *lane, uint32_t count)
{
    uint64_t now_us = vr_clock_mono_us();
    uint32_t left = 0;
    for (uint32_t i = 0; i < count; i++) {
        enum vr_status status = refuse(lane, lane->open[i]->job, now_us);
        if (status != VR_OK) {
            vr_visit_fail(lane->open[i], status);
        } else {
            lane->open[left++] = lane->open[i];
        }
    }
    return left;
}

/* Feeds stand before the callers' own candidates. */
static uint32_t count_feeds(const struct vr_lane *lane, uint32_t count)
{
    uint32_t feeds = 0;
    while (feeds < count && !is_named(lane->open[feeds])) {
        feeds++;
    }
    return feeds;
}

static void recommend(struct vr_lane *lane, uint32_t batch)
{
    struct mark mark = mark_now();
    uint32_t count = gather_open(lane, 0, batch, VR_JOB_RECOMMEND);
    count = gather_open(lane, count, batch, VR_JOB_RANK);
    count = run_spread(lane, count, prepare);
    vr_step_search(lane, count_feeds(lane, count));
    uint32_t retrieve_us = lap(lane, VR_STAGE_RETRIEVE, &mark);
    count = run_spread(lane, count, combine);
    uint32_t merge_us = lap(lane, VR_STAGE_MERGE, &mark);
    count = drop_late(lane, count);
    vr_step_rank(lane, count);
    uint32_t rank_us = lap(lane, VR_STAGE_RANK, &mark);
    count = run_spread(lane, count, conclude);
    uint32_t rerank_us = lap(lane, VR_STAGE_RERANK, &mark);
    for (uint32_t i = 0; i < count; i++) {
        vr_device_tell(&lane->run, lane->open[i]);
        struct vr_feed_reply *reply = &lane->open[i]->job->reply;
        reply->retrieve_us = retrieve_us;
        reply->merge_us = merge_us;
        reply->rank_us = rank_us;
        reply->rerank_us = rerank_us;
    }
}

/* After the push the job is the server's: everything is counted before. */
static void hand_back(struct vr_lane *lane, uint32_t count)
{
    uint64_t now_us = vr_clock_mono_us();
    vr_metrics_count_batch(&lane->metrics, count);
    vr_metrics_count_device(&lane->metrics, &lane->run);
    for (uint32_t i = 0; i < count; i++) {
        vr_metrics_count(&lane->metrics, &lane->visit[i], now_us);
    }
    vr_metrics_take(lane, 0, now_us);
    vr_handback_push_batch(lane->batch, count);
}

uint32_t vr_batch_run(struct vr_lane *lane, uint32_t count)
{
    uint64_t now_us = vr_clock_mono_us();
    uint32_t worked = 0;
    vr_metrics_take(lane, count, now_us);
    for (uint32_t i = 0; i < count; i++) {
        open_visit(lane, i, count, now_us);
        worked += vr_visit_is_open(&lane->visit[i]);
    }
    vr_device_begin(lane);
    recommend(lane, count);
    uint32_t similar = gather_open(lane, 0, count, VR_JOB_SIMILAR);
    for (uint32_t i = 0; i < similar; i++) {
        vr_step_similar(lane, lane->open[i]);
        vr_device_tell(&lane->run, lane->open[i]);
    }
    vr_device_end(lane);
    hand_back(lane, count);
    return worked;
}

void vr_batch_bury(struct vr_lane *lane, struct vr_job *dead)
{
    uint64_t now_us = vr_clock_mono_us();
    while (dead != NULL) {
        struct vr_job *next = dead->next;
        struct vr_visit visit;
        begin_visit(&visit, dead, now_us);
        bool gone = __atomic_load_n(&dead->cancelled, __ATOMIC_RELAXED);
        vr_visit_fail(&visit, gone ? vr_fail(VR_ERR_CLOSED, "the client has gone")
                                   : vr_fail(VR_ERR_TIMEOUT, "the deadline passed, or would have, before an answer"));
        vr_metrics_count(&lane->metrics, &visit, now_us);
        vr_handback_push(dead->home, dead);
        dead = next;
    }
}
