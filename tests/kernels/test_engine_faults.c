/* The engine on a device that fails, in the emulator: every call of the CUDA API that a batch makes fails once in each
 * way. The call ends with the status, in time; what the device may still read is not written; once the device is well
 * again the slot answers as before; nothing leaks. */
#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "kernels/seam.h"
#include "support_engine.h"
#include "support_left.h"
#include "vireo/backend_cuda.h"
#include "vireo/clock.h"

#define REQUESTS 3u
#define K 5u
#define HANG_TIMES 3u     /* a call that hangs has so many times the time of one that does not */
#define SLACK_US 2000000u /* what the emulator works, and the machine does else, past a deadline */

static const struct vr_index_config exact = {VR_INDEX_EXACT, 32, 256, 0, 32};

#define SOON_US 10000u

static uint64_t hang_us;

/* ---- a backend that watches what is in flight ---- */

#define FLIGHTS 8u

/* Staging that a copy reads from, and what was in it when it was asked for, until the stream is done. */
static struct {
    const unsigned char *from;
    size_t bytes;
    uint64_t sum;
} flight[FLIGHTS];
static uint32_t flights;
static bool touched;
static const struct vr_backend_ops *plain;

static uint64_t sum_of(const unsigned char *data, size_t bytes) /* FNV-1a */
{
    uint64_t sum = 14695981039346656037u;
    for (size_t i = 0; i < bytes; i++) {
        sum = (sum ^ data[i]) * 1099511628211u;
    }
    return sum;
}

static enum vr_status watched_copy(struct vr_stream *stream, struct vr_view to, struct vr_view from, size_t bytes)
{
    const enum vr_status status = plain->copy(stream, to, from, bytes);
    const unsigned char *host = plain->buffer_host(from.buffer);
    if (host != NULL && status == VR_OK) {
        cr_assert_lt(flights, FLIGHTS);
        flight[flights].from = host + from.offset;
        flight[flights].bytes = bytes;
        flight[flights++].sum = sum_of(host + from.offset, bytes);
    }
    return status;
}

static enum vr_status watched_poll(struct vr_stream *stream, bool *done)
{
    const enum vr_status status = plain->stream_poll(stream, done);
    for (uint32_t i = 0; i < flights; i++) {
        touched = touched || sum_of(flight[i].from, flight[i].bytes) != flight[i].sum;
    }
    flights = status == VR_OK && *done ? 0 : flights;
    return status;
}

/* In place of a product, which takes the emulator 20 ms: a copy that lies inside both matrices. What comes out still
 * depends on all that went in. */
static enum vr_status copied_linear(struct vr_stream *stream, const struct vr_linear *args)
{
    const size_t width = args->in < args->out ? args->in : args->out;
    return plain->copy(stream, args->y, args->x, args->rows * width * sizeof(float));
}

/* ---- a rig, and one batch of each kind ---- */

static struct rig {
    struct vr_bundle *bundle;
    struct vr_backend *cuda;
    struct vr_backend_ops ops;
    struct vr_engine *engine;
    struct vr_engine_slot *slot;
} rig;

static struct engine_case cases[2][REQUESTS]; /* two batches, so that each call fills staging anew */

static void open_rig(void)
{
    rig.bundle = engine_bundle("hard");
    cr_assert_eq(vr_cuda_backend_open(1, &rig.cuda), VR_OK, "%s", vr_error_text());
    plain = rig.cuda->ops;
    rig.ops = *plain;
    rig.ops.linear = copied_linear;
    rig.ops.copy = watched_copy;
    rig.ops.stream_poll = watched_poll;
    rig.cuda->ops = &rig.ops;
    cr_assert_eq(vr_engine_create(rig.cuda, rig.bundle, &exact, &rig.engine), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_engine_slot_create(rig.engine, REQUESTS, 1, K, &rig.slot), VR_OK, "%s", vr_error_text());
    for (uint32_t r = 0; r < 2 * REQUESTS; r++) {
        engine_case_make(rig.engine, r, 1, false, &cases[r / REQUESTS][r % REQUESTS]);
    }
    flights = 0;
}

static void close_rig(void)
{
    vr_engine_slot_destroy(rig.slot);
    vr_engine_destroy(rig.engine);
    vr_backend_destroy(rig.cuda);
    vr_bundle_close(rig.bundle);
    must_leave_nothing();
}

TestSuite(faults, .init = open_rig, .fini = close_rig);

struct answer {
    float user_tower[REQUESTS][256], heads[REQUESTS][VR_HEAD_COUNT];
    int32_t tower[REQUESTS][K], content[REQUESTS][K], similar[K];
};

/* One batch out of `cases`; 0 or 1. */
typedef enum vr_status batch(uint32_t which, uint64_t deadline_us, struct answer *answer);

static enum vr_status retrieve(uint32_t which, uint64_t deadline_us, struct answer *answer)
{
    struct vr_engine_user user[REQUESTS];
    struct vr_engine_retrieved found[REQUESTS];
    for (uint32_t r = 0; r < REQUESTS; r++) {
        user[r] = engine_case_user(&cases[which][r], K, K);
    }
    const enum vr_status status = vr_engine_retrieve(rig.slot, REQUESTS, user, deadline_us, found);
    for (uint32_t r = 0; status == VR_OK && r < REQUESTS; r++) {
        memcpy(answer->user_tower[r], found[r].user_tower, rig.bundle->tower_dim * sizeof(float));
        memcpy(answer->tower[r], found[r].tower.row, found[r].tower.count * sizeof(int32_t));
        memcpy(answer->content[r], found[r].content.row, found[r].content.count * sizeof(int32_t));
    }
    return status;
}

static enum vr_status rank_with(uint32_t which, bool vectors, uint64_t deadline_us, struct answer *answer)
{
    static float given[256]; /* zeros: any will do */
    struct vr_engine_rank request[REQUESTS];
    struct vr_engine_ranked ranked[REQUESTS];
    for (uint32_t r = 0; r < REQUESTS; r++) {
        request[r] = engine_case_rank(&cases[which][r]);
        request[r].want_gates = true;
        request[r].user_tower = request[r].hist_tower = request[r].hist_content = vectors ? given : NULL;
    }
    const enum vr_status status = vr_engine_score(rig.slot, REQUESTS, request, deadline_us, ranked);
    for (uint32_t r = 0; status == VR_OK && r < REQUESTS; r++) {
        memcpy(answer->heads[r], ranked[r].heads, VR_HEAD_COUNT * sizeof(float));
    }
    return status;
}

static enum vr_status rank(uint32_t which, uint64_t deadline_us, struct answer *answer)
{
    return rank_with(which, true, deadline_us, answer);
}

static enum vr_status rank_alone(uint32_t which, uint64_t deadline_us, struct answer *answer)
{
    return rank_with(which, false, deadline_us, answer);
}

static enum vr_status similar(uint32_t which, uint64_t deadline_us, struct answer *answer)
{
    struct vr_engine_found found;
    const enum vr_status status = vr_engine_similar(rig.slot, 10 + (int32_t)which, K, deadline_us, &found);
    if (status == VR_OK) {
        cr_assert_eq(found.count, K);
        memcpy(answer->similar, found.row, sizeof answer->similar);
    }
    return status;
}

static const enum vr_status status_of[] = {
    [VR_SEAM_FAIL_ONCE] = VR_ERR_BACKEND,
    [VR_SEAM_FAIL_NOMEM] = VR_ERR_NOMEM,
    [VR_SEAM_FAIL_LOST] = VR_ERR_DEVICE_LOST,
    [VR_SEAM_FAIL_HANG] = VR_ERR_TIMEOUT,
};

/* Batch 0 with its n-th call of a kind failing, then batch 1 on a device that is well. False when there was no n-th
 * call. */
static bool fail_at(batch *run, enum vr_seam_call call, uint64_t n, enum vr_seam_failure failure,
                    const struct answer *well)
{
    char what[64];
    struct answer answer = {0};
    const uint64_t deadline_us = failure == VR_SEAM_FAIL_HANG ? vr_clock_mono_us() + hang_us : ENGINE_SOON;
    snprintf(what, sizeof what, "call %d number %u, failure %d", (int)call, (unsigned)n, (int)failure);
    vr_seam_fail(call, n, failure);
    const enum vr_status status = run(0, deadline_us, &answer);
    if (status != VR_OK) {
        cr_assert_eq(status, status_of[failure], "%s: %s (%s)", what, vr_status_name(status), vr_error_text());
        cr_assert(failure != VR_SEAM_FAIL_HANG || vr_clock_mono_us() < deadline_us + SLACK_US, "%s: late", what);
    }
    if (failure == VR_SEAM_FAIL_LOST && status != VR_OK) {
        cr_assert_eq(run(1, ENGINE_SOON, &answer), VR_ERR_DEVICE_LOST, "%s: what is lost stays lost", what);
    }
    const bool reached = failure == VR_SEAM_FAIL_HANG ? vr_seam_hangs() : status != VR_OK;
    vr_seam_heal();
    memset(&answer, 0, sizeof answer);
    cr_assert_eq(run(1, ENGINE_SOON, &answer), VR_OK, "%s: %s", what, vr_error_text());
    cr_assert_eq(memcmp(&answer, well, sizeof answer), 0, "%s: another answer", what);
    cr_assert(!touched, "%s: staging was written while it was in flight", what);
    return reached;
}

/* The first n that is not reached. Polls are alike: the first, and fewer and fewer of the later ones. */
static uint64_t fail_each(batch *run, enum vr_seam_call call, enum vr_seam_failure failure, const struct answer *well)
{
    uint64_t n = 1;
    while (fail_at(run, call, n, failure, well)) {
        n = call == VR_SEAM_POLL ? n * 5 : n + 1;
    }
    return n;
}

/* Batch 1 on a device that is well, for comparison; and its time. */
static void run_well(batch *run, struct answer *well)
{
    const uint64_t start_us = vr_clock_mono_us();
    memset(well, 0, sizeof *well);
    cr_assert_eq(run(1, ENGINE_SOON, well), VR_OK, "%s", vr_error_text());
    hang_us = HANG_TIMES * (vr_clock_mono_us() - start_us);
}

/* Every call of a kind. A hanging device may time out before its later calls, on a machine that is slow just then. */
static void check_kind(batch *run, enum vr_seam_call call, uint32_t calls, enum vr_seam_failure failure,
                       const struct answer *well)
{
    const uint64_t failed = fail_each(run, call, failure, well) - 1;
    cr_assert(failure == VR_SEAM_FAIL_HANG ? failed <= calls && failed >= (calls > 0 ? 1 : 0) : failed == calls,
              "%u of %u calls", (unsigned)failed, calls);
}

/* A batch of so many copies and plans, and of nothing else but polls. */
static void check_failures(batch *run, uint32_t copies, uint32_t plans, uint32_t launches)
{
    const enum vr_seam_failure failures[] = {VR_SEAM_FAIL_ONCE, VR_SEAM_FAIL_NOMEM, VR_SEAM_FAIL_LOST,
                                             VR_SEAM_FAIL_HANG};
    struct answer well;
    const uint64_t launched = vr_seam_calls(VR_SEAM_LAUNCH);
    run_well(run, &well);
    cr_assert_eq(vr_seam_calls(VR_SEAM_LAUNCH) - launched, launches);
    for (size_t i = 0; i < sizeof failures / sizeof failures[0]; i++) {
        check_kind(run, VR_SEAM_COPY, copies, failures[i], &well);
        check_kind(run, VR_SEAM_GRAPH, plans, failures[i], &well);
        check_kind(run, VR_SEAM_LAUNCH, launches, failures[i], &well);
        cr_assert_gt(fail_each(run, VR_SEAM_POLL, failures[i], &well), 1);
    }
}

Test(faults, of_a_retrieval)
{
    check_failures(retrieve, 1, 1, 0);
}

Test(faults, of_a_ranking)
{
    check_failures(rank, 4, 2, 0);
}

Test(faults, of_a_look_for_neighbours)
{
    check_failures(similar, 3, 0, 5);
}

/* Two waits more: for the history, for the users. */
Test(faults, of_a_ranking_without_vectors)
{
    struct answer well;
    run_well(rank_alone, &well);
    check_kind(rank_alone, VR_SEAM_COPY, 8, VR_SEAM_FAIL_ONCE, &well);
    check_kind(rank_alone, VR_SEAM_GRAPH, 4, VR_SEAM_FAIL_HANG, &well);
}

/* A slot that hangs is destroyed all the same. */
Test(faults, a_slot_goes_while_the_device_hangs)
{
    struct answer answer;
    vr_seam_fail(VR_SEAM_CALLS, 1, VR_SEAM_FAIL_HANG);
    cr_assert_eq(retrieve(0, vr_clock_mono_us() + SOON_US, &answer), VR_ERR_TIMEOUT);
    const uint64_t copies = vr_seam_calls(VR_SEAM_COPY);
    cr_assert_eq(retrieve(0, vr_clock_mono_us() + SOON_US, &answer), VR_ERR_TIMEOUT);
    cr_assert_eq(vr_seam_calls(VR_SEAM_COPY), copies, "nothing is begun on it");
}

/* Engine and slot are made in a few hundred calls; one in 29 of them fails, each time another one. */
Test(faults, of_the_making)
{
    const enum vr_seam_failure failures[] = {VR_SEAM_FAIL_ONCE, VR_SEAM_FAIL_NOMEM};
    const size_t used = vr_emulator_memory_used();
    enum vr_status status = VR_ERR_BACKEND;
    rig.ops.copy = plain->copy;
    rig.ops.stream_poll = plain->stream_poll;
    uint64_t n = 1;
    for (; status != VR_OK; n += 29) {
        const enum vr_seam_failure failure = failures[n % 2];
        struct vr_engine *engine = NULL;
        struct vr_engine_slot *slot = NULL;
        vr_seam_fail(VR_SEAM_CALLS, n, failure);
        status = vr_engine_create(rig.cuda, rig.bundle, &exact, &engine);
        if (status == VR_OK) {
            status = vr_engine_slot_create(engine, 2, 1, K, &slot);
        }
        cr_assert(status == VR_OK || status == status_of[failure], "call %u: %s", (unsigned)n, vr_error_text());
        vr_seam_heal();
        vr_engine_slot_destroy(slot);
        vr_engine_destroy(engine);
        cr_assert_eq(vr_emulator_memory_used(), used, "call %u", (unsigned)n);
    }
    cr_assert_gt(n, 200);
}
