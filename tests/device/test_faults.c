/* A feed on the emulated device while every call of the CUDA API fails in turn, in each way that it can: each request
 * comes back exactly once, with the feed that the CPU alone would have given, and says why. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "kernels/emulator/emulator.h"
#include "kernels/seam.h"
#include "support_feed.h"
#include "vireo/backend_cuda.h"

#define GUESTS 3u
#define ANY VR_SEAM_CALLS

static const char *const user[GUESTS] = {"3", "6", "nobody"};

static uint32_t device_timeout_ms = 60000; /* an emulated batch takes a second under the sanitizers, or many */

static struct feed_rig rig; /* its feed is on the CPU */
static struct vr_backend *device;
static struct vr_model *model; /* on the device */
static struct vr_feed *feed;   /* on the device; the rig's hand-back list is its home too */
static struct vr_job *plain[GUESTS];

/* Few candidates: the emulator takes its time. */
static void small(struct vr_feed_config *config)
{
    static const uint32_t count[VR_SOURCE_COUNT] = {6, 6, 4, 2, 2};
    for (uint32_t s = 0; s < VR_SOURCE_COUNT; s++) {
        config->source[s].count = count[s];
    }
    config->lanes.count = 1;
    config->lanes.pool_workers = 0;
    config->lanes.max_batch = GUESTS + 1;
    config->device_timeout_ms = device_timeout_ms;
}

static struct vr_job *new_job(uint32_t guest)
{
    struct vr_job *job = feed_job(&rig, user[guest]);
    job->request.count = 6;
    return job;
}

static bool open_all(void)
{
    if (feed_bundle(1) == NULL) {
        cr_skip("skipped: no data (the small bundle is made by the Python environment)");
        return false;
    }
    feed_rig_open(&rig, small);
    cr_assert_eq(vr_cuda_backend_open(1, &device), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_model_on_device(rig.model, device, rig.config, &model), VR_OK, "%s", vr_error_text());
    for (uint32_t g = 0; g < GUESTS; g++) {
        plain[g] = new_job(g);
        feed_ask(&rig, plain[g]);
        cr_assert_geq(plain[g]->reply.item_count, 4u);
    }
    return true;
}

static void close_all(void)
{
    for (uint32_t g = 0; g < GUESTS; g++) {
        feed_job_free(plain[g]);
    }
    vr_model_release(model);
    feed_rig_close(&rig);
    vr_backend_destroy(device);
}

static void ask_device(struct vr_job *job)
{
    cr_assert_eq(vr_feed_submit(feed, job), VR_OK);
    feed_wait(&rig, 1);
}

/* A feed whose lane has its slot on the device. */
static void open_feed(void)
{
    cr_assert_eq(vr_feed_create(&rig.feed_config, device, rig.state, model, &feed), VR_OK);
    vr_feed_device_set(feed, VR_DEVICE_UP, VR_DEVICE_FAILED);
}

/* As the device would be after a new start. */
static void close_feed(void)
{
    vr_seam_heal();
    vr_feed_destroy(feed);
    cr_assert_null(vr_handback_drain(rig.home), "a job came back twice");
}

static struct vr_device_status fares(void)
{
    struct vr_device_status status;
    vr_feed_device_read(feed, &status);
    return status;
}

static uint32_t says(const struct vr_job *job, const char *what)
{
    uint32_t times = 0;
    for (uint32_t i = 0; i < job->reply.degraded_count; i++) {
        times += strcmp(job->reply.degraded[i], what) == 0;
    }
    return times;
}

static uint32_t says_anything_of_the_device(const struct vr_job *job)
{
    uint32_t times = 0;
    for (uint32_t i = 0; i < job->reply.degraded_count; i++) {
        times += strncmp(job->reply.degraded[i], "device_", strlen("device_")) == 0;
    }
    return times;
}

/* The same videos in the same places: the two engines' scores may differ in their last bits. */
static void expect_plain(const struct vr_job *job, uint32_t guest, const char *when)
{
    const struct vr_feed_reply *want = &plain[guest]->reply, *got = &job->reply;
    cr_assert_eq(got->status, VR_OK, "%s: %s", when, got->error);
    cr_assert_eq(got->item_count, want->item_count, "%s", when);
    for (uint32_t p = 0; p < want->item_count; p++) {
        cr_assert_eq(got->item[p].row, want->item[p].row, "%s: position %u", when, p);
        cr_assert_float_eq(got->item[p].score, want->item[p].score, 1e-3, "%s: position %u", when, p);
    }
}

/* All guests in one batch. */
static void ask_all(struct vr_job *job[GUESTS])
{
    vr_feed_hold(feed, GUESTS);
    for (uint32_t g = 0; g < GUESTS; g++) {
        job[g] = new_job(g);
        cr_assert_eq(vr_feed_submit(feed, job[g]), VR_OK);
    }
    feed_wait(&rig, GUESTS);
}

/* Each has the CPU's feed and was told of the device: `word`, once, and nothing else; NULL: nothing. */
static void check_all(struct vr_job *job[GUESTS], const char *word, const char *when)
{
    for (uint32_t g = 0; g < GUESTS; g++) {
        expect_plain(job[g], g, when);
        cr_assert_eq(job[g]->reply.batch, GUESTS, "%s", when);
        cr_assert_eq(says_anything_of_the_device(job[g]), word != NULL ? 1u : 0u, "%s", when);
        cr_assert(word == NULL || says(job[g], word) == 1, "%s: not told of %s", when, word);
        feed_job_free(job[g]);
    }
}

static void run_batch(const char *word, const char *when)
{
    struct vr_job *job[GUESTS];
    ask_all(job);
    check_all(job, word, when);
}

static void count_batches(uint64_t on_device, uint64_t replayed, const char *when)
{
    struct vr_feed_metrics *metrics = malloc(sizeof *metrics);
    cr_assert_not_null(metrics);
    vr_feed_metrics_read(feed, metrics);
    cr_assert_eq(metrics->device_batches, on_device, "%s", when);
    cr_assert_eq(metrics->replayed_batches, replayed, "%s", when);
    cr_assert_eq(metrics->errors, 0u, "%s", when);
    free(metrics);
}

/* Fail call number `at` of a batch; false when the batch made fewer. */
static bool fail_at(enum vr_seam_failure failure, uint64_t at, const char *word)
{
    char when[64];
    snprintf(when, sizeof when, "failure %d at call %u", (int)failure, (unsigned)at);
    open_feed();
    uint64_t before = vr_seam_calls(ANY);
    vr_seam_fail(ANY, at, failure);
    bool lasting = failure == VR_SEAM_FAIL_LOST || failure == VR_SEAM_FAIL_HANG;
    struct vr_job *job[GUESTS];
    ask_all(job);
    bool reached = vr_seam_calls(ANY) - before >= at;
    check_all(job, reached ? word : NULL, when);
    count_batches(reached ? 0 : 1, reached ? 1 : 0, when);
    enum vr_device_state after = lasting ? VR_DEVICE_LOST : VR_DEVICE_SUSPECT;
    cr_assert_eq(fares().state, reached ? after : VR_DEVICE_UP, "%s", when);
    close_feed();
    return reached;
}

/* Each call of a batch fails once; returns how many there were: at least two copies in, one out, three plans, and a
 * poll for each of the two waits. */
static uint32_t fail_each(enum vr_seam_failure failure, const char *word)
{
    uint32_t count = 0;
    while (fail_at(failure, 1 + count, word)) {
        count++;
    }
    return count;
}
#define CALLS_LEAST 8u

Test(device_faults, an_error_at_every_call)
{
    if (open_all()) {
        cr_expect_geq(fail_each(VR_SEAM_FAIL_ONCE, "device_error"), CALLS_LEAST);
        close_all();
    }
}

Test(device_faults, no_memory_at_every_call)
{
    if (open_all()) {
        cr_expect_geq(fail_each(VR_SEAM_FAIL_NOMEM, "device_no_memory"), CALLS_LEAST);
        close_all();
    }
}

Test(device_faults, the_device_is_lost_at_every_call)
{
    if (open_all()) {
        cr_expect_geq(fail_each(VR_SEAM_FAIL_LOST, "device_lost"), CALLS_LEAST);
        close_all();
    }
}

Test(device_faults, a_hang_in_each_of_the_waits)
{
    device_timeout_ms = 3000;
    if (open_all()) {
        cr_expect(fail_at(VR_SEAM_FAIL_HANG, 1, "device_hang"));
        cr_expect(fail_at(VR_SEAM_FAIL_HANG, CALLS_LEAST, "device_hang"));
        close_all();
    }
}

Test(device_faults, after_one_error_the_next_batch_is_on_the_device_again)
{
    if (!open_all()) {
        return;
    }
    open_feed();
    run_batch(NULL, "whole");
    vr_seam_fail(VR_SEAM_GRAPH, 2, VR_SEAM_FAIL_ONCE);
    run_batch("device_error", "a plan failed");
    cr_expect_eq(fares().state, VR_DEVICE_SUSPECT);
    run_batch(NULL, "healed");
    cr_expect_eq(fares().state, VR_DEVICE_UP);
    cr_expect_eq(fares().failures[VR_DEVICE_FAILED], 1u);
    count_batches(2, 1, "after one error");
    close_feed();
    close_all();
}

Test(device_faults, three_errors_in_a_row_take_it_out_of_use_until_it_is_set_up_again)
{
    if (!open_all()) {
        return;
    }
    open_feed();
    for (uint32_t i = 0; i < 3; i++) {
        cr_expect_neq(fares().state, VR_DEVICE_DOWN);
        vr_seam_fail(VR_SEAM_COPY, 2, VR_SEAM_FAIL_NOMEM);
        run_batch("device_no_memory", "in a row");
    }
    cr_expect_eq(fares().state, VR_DEVICE_DOWN);
    uint64_t calls = vr_seam_calls(ANY);
    run_batch("device_down", "out of use");
    cr_expect_eq(vr_seam_calls(ANY), calls, "the device was touched");
    vr_feed_device_set(feed, VR_DEVICE_UP, VR_DEVICE_FAILED);
    run_batch(NULL, "in use again");
    count_batches(1, 3, "three errors");
    close_feed();
    close_all();
}

Test(device_faults, a_lost_device_is_not_touched_again)
{
    if (!open_all()) {
        return;
    }
    open_feed();
    vr_seam_fail(VR_SEAM_GRAPH, 1, VR_SEAM_FAIL_LOST);
    run_batch("device_lost", "lost");
    uint64_t calls = vr_seam_calls(ANY);
    run_batch("device_down", "gone");
    vr_feed_device_set(feed, VR_DEVICE_UP, VR_DEVICE_FAILED); /* nothing brings it back in this process */
    run_batch("device_down", "still gone");
    cr_expect_eq(vr_seam_calls(ANY), calls, "the device was touched");
    cr_expect_eq(fares().state, VR_DEVICE_LOST);
    uint64_t notice = 0;
    cr_expect_eq(read(vr_feed_device_fd(feed), &notice, sizeof notice), (ssize_t)sizeof notice);
    close_feed();
    close_all();
}

Test(device_faults, similar_runs_again_too)
{
    if (!open_all()) {
        return;
    }
    open_feed();
    struct vr_job *job[2];
    for (uint32_t i = 0; i < 2; i++) {
        job[i] = feed_job(&rig, "");
        job[i]->request.kind = VR_JOB_SIMILAR;
        job[i]->request.video_id = vr_str_of("v3");
        job[i]->request.count = 10;
    }
    feed_ask(&rig, job[0]);
    vr_seam_fail(VR_SEAM_LAUNCH, 1, VR_SEAM_FAIL_ONCE);
    ask_device(job[1]);
    cr_expect_eq(job[1]->reply.status, VR_OK, "%s", job[1]->reply.error);
    cr_expect_eq(says(job[1], "device_error"), 1u);
    cr_expect(feed_same(&job[0]->reply, &job[1]->reply));
    for (uint32_t i = 0; i < 2; i++) {
        feed_job_free(job[i]);
    }
    close_feed();
    close_all();
}

/* The lanes' memory on the device cannot be had: what served before serves on. */
Test(device_faults, no_room_for_a_slot_leaves_the_stand_by)
{
    if (!open_all()) {
        return;
    }
    cr_assert_eq(vr_feed_create(&rig.feed_config, device, rig.state, rig.model, &feed), VR_OK);
    vr_seam_fail(VR_SEAM_MEMORY, 1, VR_SEAM_FAIL_NOMEM);
    cr_assert_eq(vr_feed_set_model(feed, model), VR_ERR_NOMEM);
    vr_feed_device_set(feed, VR_DEVICE_DOWN, VR_DEVICE_NO_MEMORY);
    run_batch("device_down", "no slot");
    cr_assert_eq(vr_feed_set_model(feed, model), VR_OK, "%s", vr_error_text());
    vr_feed_device_set(feed, VR_DEVICE_UP, VR_DEVICE_FAILED);
    run_batch(NULL, "a slot");
    close_feed();
    close_all();
}

/* Whoever leaves a device that is down gives back what the model and the lanes hold there. */
Test(device_faults, without_its_model_the_device_is_empty)
{
    if (!open_all()) {
        return;
    }
    open_feed();
    size_t full = vr_emulator_memory_used();
    vr_model_release(model); /* the feed's reference is the last */
    cr_assert_eq(vr_feed_set_model(feed, rig.model), VR_OK);
    run_batch("device_down", "left");
    cr_expect_gt(full, (size_t)100000);
    cr_expect_eq(vr_emulator_memory_used(), (size_t)0);
    model = NULL;
    close_feed();
    close_all();
}

static uint32_t count_neighbour(struct vr_engine *engine, int32_t row)
{
    struct vr_engine_slot *slot = NULL;
    struct vr_engine_found found;
    uint32_t count = 0;
    cr_assert_eq(vr_engine_slot_create(engine, 1, 1, 50, &slot), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_engine_similar(slot, 0, 50, UINT64_MAX, &found), VR_OK, "%s", vr_error_text());
    cr_assert_geq(found.count, 10u);
    for (uint32_t i = 0; i < found.count; i++) {
        count += row < 0 ? i == 0 && vr_engine_bundle(engine)->videos.safety[found.row[i]] == VR_SAFETY_SAFE
                         : found.row[i] == row;
    }
    vr_engine_slot_destroy(slot);
    return count;
}

/* A video that is removed leaves the indexes on the device as well, of a model that is there and of one made later. */
Test(device_faults, a_removed_video_leaves_the_device)
{
    if (!open_all()) {
        return;
    }
    const int32_t row = plain[0]->reply.item[0].row;
    const int32_t other = plain[1]->reply.item[0].row;
    struct vr_model *later = NULL;
    cr_assert_eq(count_neighbour(model->device, -1), 1, "what is never shown is not there either");
    const uint32_t before = count_neighbour(model->device, row) + count_neighbour(model->device, other);
    cr_expect_gt(before, 0u, "the twin");
    cr_assert_eq(vr_model_remove_video(rig.model, plain[0]->reply.item[0].id), VR_OK);
    cr_assert_eq(vr_model_remove_video(model, plain[1]->reply.item[0].id), VR_OK);
    cr_assert_eq(vr_model_on_device(rig.model, device, rig.config, &later), VR_OK, "%s", vr_error_text());
    struct vr_engine *const engine[] = {rig.model->engine, model->device, later->device};
    for (size_t i = 0; i < 3; i++) {
        cr_expect_eq(count_neighbour(engine[i], row) + count_neighbour(engine[i], other), 0u);
    }
    vr_model_release(later);
    open_feed();
    vr_seam_fail(VR_SEAM_LAUNCH, 1, VR_SEAM_FAIL_ONCE);
    cr_expect_eq(vr_model_remove_video(model, plain[0]->reply.item[1].id), VR_OK, "the guardrails know it");
    vr_seam_heal();
    cr_expect(vr_model_has_removed(rig.model, plain[0]->reply.item[1].row));
    close_feed();
    close_all();
}

/* A device that does not open, or on which the bundle does not fit, leaves the model that serves as it was. */
Test(device_faults, a_model_that_does_not_get_onto_the_device_costs_nothing)
{
    if (!open_all()) {
        return;
    }
    static const enum vr_seam_failure failure[] = {VR_SEAM_FAIL_ONCE, VR_SEAM_FAIL_NOMEM, VR_SEAM_FAIL_LOST};
    static const enum vr_status status[] = {VR_ERR_BACKEND, VR_ERR_NOMEM, VR_ERR_DEVICE_LOST};
    for (size_t i = 0; i < 3; i++) {
        for (uint64_t at = 1; at < 80; at += 13) {
            struct vr_model *other = NULL;
            vr_seam_fail(ANY, at, failure[i]);
            cr_expect_eq(vr_model_on_device(rig.model, device, rig.config, &other), status[i], "%s", vr_error_text());
            vr_seam_heal();
        }
    }
    struct vr_backend *none = NULL;
    vr_seam_fail(VR_SEAM_OPEN, 1, VR_SEAM_FAIL_ABSENT);
    cr_expect_eq(vr_cuda_backend_open(1, &none), VR_ERR_UNSUPPORTED);
    feed = rig.feed;
    run_batch(NULL, "the CPU goes on");
    close_all();
}
