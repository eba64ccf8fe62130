/* The engine on the CUDA backend, in the emulator: golden outputs of all architectures and of the demo bundle, the CPU
 * backend's answers, the same bits in any batch and in any chunk, and what a batch costs in calls and memory; with the
 * ranker in float32 and in halves. Sizes are small: the emulator takes some 20 ms for a product of 64 rows. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "kernels/linear.h"
#include "kernels/seam.h"
#include "support_engine.h"
#include "vireo/backend_cuda.h"

#define REQUESTS 7u
#define CANDIDATES 12u
#define K 20u
#define MANY 256u

#define INDEX                          \
    {                                  \
        VR_INDEX_EXACT, 32, 256, 0, 32 \
    }

/* What the ranker runs in, and how far it may be from the golden outputs. */
static const struct form {
    const char *name;
    struct vr_engine_options options;
    double probability, watch_s;
    bool library; /* runs what it can of the products */
} forms[] = {
    {"float32", {.index = INDEX, .precision = VR_PRECISION_F32}, 5e-6, 1e-5, false},
    {"halves", {.index = INDEX, .precision = VR_PRECISION_AUTO}, 5e-4, 2e-3, false},
    {"halves, library", {.index = INDEX, .precision = VR_PRECISION_AUTO}, 5e-4, 2e-3, true},
};
static const struct form *const float32 = &forms[0], *const halves = &forms[1], *const with_library = &forms[2];

static enum vr_precision expected(const struct form *form)
{
    return form == float32 ? VR_PRECISION_F32 : VR_PRECISION_F16;
}

/* ---- golden outputs ---- */

/* Shapes of the small PLE's products that the library makes ready, those whose y lies at multiples of 16 bytes: the
 * hoisted part of the experts, second layers, the upper level's first layers of five gates and of one, and towers. */
#define LIBRARY_FAMILIES 5u

static void check_golden(const struct vr_bundle *bundle, const struct form *form)
{
    struct vr_backend *cuda = NULL;
    struct vr_engine *engine = NULL;
    struct vr_golden_report report;
    cr_assert_eq(vr_cuda_backend_open(1, &cuda), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_linear_prefer_library(cuda, form->library), VR_OK, "%s", vr_error_text());
    const uint64_t opened = vr_seam_calls(VR_SEAM_OPEN);
    cr_assert_eq(vr_engine_create_tested(cuda, bundle, &form->options, &report, &engine), VR_OK, "%s: %s", form->name,
                 vr_error_text());
    cr_assert_eq(report.cases, bundle->golden.count);
    cr_expect_eq(report.precision, expected(form), "%s", form->name);
    cr_expect_eq(vr_seam_calls(VR_SEAM_OPEN) - opened, form->library ? LIBRARY_FAMILIES : 0, "%s", form->name);
    cr_expect_eq(vr_engine_precision(engine), expected(form), "%s", form->name);
    cr_expect_lt(report.user_tower, 2e-6, "user tower off by %g", report.user_tower);
    cr_expect_lt(report.probability, form->probability, "%s: off by %g", form->name, report.probability);
    cr_expect_lt(report.watch_s_relative, form->watch_s, "%s: off by %g", form->name, report.watch_s_relative);
    cr_expect(form == float32 || report.probability > float32->probability, "rounded: %g", report.probability);
    cr_expect_geq(report.topk_worst_agreement, 9);
    vr_engine_destroy(engine);
    vr_backend_destroy(cuda);
    cr_assert_eq(vr_emulator_memory_used(), 0);
}

static void check_golden_forms(struct vr_bundle *bundle)
{
    check_golden(bundle, float32);
    check_golden(bundle, halves);
    vr_bundle_close(bundle);
}

Test(engine, golden_hard)
{
    check_golden_forms(engine_bundle("hard"));
}

Test(engine, golden_moe)
{
    check_golden_forms(engine_bundle("moe"));
}

Test(engine, golden_mmoe)
{
    check_golden_forms(engine_bundle("mmoe"));
}

Test(engine, golden_ple)
{
    struct vr_bundle *bundle = engine_bundle("ple");
    check_golden(bundle, with_library);
    check_golden_forms(bundle);
}

/* Its first cases: the networks are those of the yardstick's kind, and 20,000 videos are scanned with a threshold. */
Test(engine, golden_demo)
{
    struct vr_bundle *bundle = NULL;
    cr_assert_eq(vr_bundle_open(VIREO_SOURCE_DIR "/models/demo", &bundle), VR_OK, "%s", vr_error_text());
    bundle->golden.count = 16;
    bundle->golden.topk_count = 16;
    check_golden_forms(bundle);
}

/* ---- a rig ---- */

struct rig {
    struct vr_bundle *bundle;
    struct vr_backend *cuda;
    struct vr_backend_ops ops; /* of the backend, to be changed */
    struct vr_engine *engine;
};

static void rig_open(struct rig *rig, const char *architecture, const struct form *form)
{
    rig->bundle = engine_bundle(architecture);
    cr_assert_eq(vr_cuda_backend_open(1, &rig->cuda), VR_OK, "%s", vr_error_text());
    rig->ops = *rig->cuda->ops;
    rig->cuda->ops = &rig->ops;
    cr_assert_eq(vr_engine_create_with(rig->cuda, rig->bundle, &form->options, &rig->engine), VR_OK, "%s",
                 vr_error_text());
    cr_assert_eq(vr_engine_precision(rig->engine), expected(form), "%s", form->name);
}

static void rig_close(struct rig *rig)
{
    vr_engine_destroy(rig->engine);
    vr_backend_destroy(rig->cuda);
    vr_bundle_close(rig->bundle);
    cr_assert_eq(vr_emulator_memory_used(), 0);
}

static struct vr_engine_slot *slot_of(struct vr_engine *engine, uint32_t requests, uint32_t candidates)
{
    struct vr_engine_slot *slot = NULL;
    cr_assert_eq(vr_engine_slot_create(engine, requests, candidates, K, &slot), VR_OK, "%s", vr_error_text());
    return slot;
}

static void retrieve(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_user *user,
                     struct vr_engine_retrieved *found)
{
    cr_assert_eq(vr_engine_retrieve(slot, requests, user, ENGINE_SOON, found), VR_OK, "%s", vr_error_text());
}

static void score(struct vr_engine_slot *slot, uint32_t requests, const struct vr_engine_rank *rank,
                  struct vr_engine_ranked *ranked)
{
    cr_assert_eq(vr_engine_score(slot, requests, rank, ENGINE_SOON, ranked), VR_OK, "%s", vr_error_text());
}

/* ---- the CPU backend's answers ---- */

static struct engine_case cases[MANY];

/* The same but for rounding: whose place the scores leave open may stand in another's. */
static void check_found(const struct vr_engine_found *a, const struct vr_engine_found *b, const char *what)
{
    cr_assert_eq(a->count, b->count, "%s: %u and %u found", what, a->count, b->count);
    for (uint32_t i = 0; i < a->count; i++) {
        cr_assert_float_eq(a->score[i], b->score[i], 2e-6, "%s: place %u", what, i);
        bool tie = false;
        for (uint32_t j = 0; j < b->count; j++) {
            tie = tie || (b->row[j] == a->row[i] && fabsf(b->score[j] - a->score[i]) < 2e-6f);
        }
        cr_assert(tie || a->score[i] - a->score[a->count - 1] < 2e-6f, "%s: row %d", what, a->row[i]);
    }
}

static void check_close(const float *a, const float *b, size_t count, double bound, const char *what)
{
    for (size_t i = 0; i < count; i++) {
        cr_assert_float_eq(a[i], b[i], bound * fmax(1.0, fabs((double)b[i])), "%s[%zu]: %.9g and %.9g", what, i,
                           (double)a[i], (double)b[i]);
    }
}

/* Request 2 has no history, 3 wants no content, 1 and 5 exclude rows. */
static void make_users(const struct vr_engine *engine, uint64_t seed, struct vr_engine_user *user)
{
    static const int32_t exclude[] = {0, 3, 4, 17, 18, 19, 20, 250, 299};
    for (uint32_t r = 0; r < REQUESTS; r++) {
        engine_case_make(engine, seed * 100 + r, r == 4 ? 0 : 1 + (r * 5) % CANDIDATES, r % 2 == 1, &cases[r]);
        user[r] = engine_case_user(&cases[r], r == 6 ? 3 : K, r == 3 ? 0 : K - 1);
        user[r].recent_count = r == 2 ? 0 : user[r].recent_count;
        user[r].exclude = exclude;
        user[r].exclude_count = r % 4 == 1 ? sizeof exclude / sizeof exclude[0] : 0;
    }
}

/* Some requests give their vectors, some lack one or all; one wants gates. */
static void make_ranks(const struct vr_engine_retrieved *found, struct vr_engine_rank *rank)
{
    for (uint32_t r = 0; r < REQUESTS; r++) {
        rank[r] = engine_case_rank(&cases[r]);
        rank[r].recent_count = r == 2 ? 0 : rank[r].recent_count;
        rank[r].user_tower = r % 2 == 0 ? found[r].user_tower : NULL;
        rank[r].hist_content = r % 3 == 0 ? found[r].hist_content : NULL;
        rank[r].hist_tower = r % 4 == 0 ? found[r].hist_tower : NULL;
        rank[r].want_gates = r == 3;
    }
}

static void compare_retrieval(const struct vr_bundle *bundle, const struct vr_engine_retrieved *a,
                              const struct vr_engine_retrieved *b)
{
    for (uint32_t r = 0; r < REQUESTS; r++) {
        check_close(a[r].hist_tower, b[r].hist_tower, bundle->tower_dim, 1e-6, "hist_tower");
        check_close(a[r].hist_content, b[r].hist_content, bundle->content_dim, 1e-6, "hist_content");
        check_close(a[r].user_tower, b[r].user_tower, bundle->tower_dim, 2e-6, "user_tower");
        check_found(&a[r].tower, &b[r].tower, "tower");
        check_found(&a[r].content, &b[r].content, "content");
        cr_assert((r == 2 || r == 3) == (a[r].content.count == 0));
    }
}

/* Who is compared with what the CPU runs in, and how far heads and gate weights may be apart: where both have halves,
 * another order of a sum moves a few of them by one rounding; these random networks are worse off than trained ones. */
struct pairing {
    const struct form *form;
    struct vr_engine_options cpu;
    double heads, gates;
};
static const struct pairing pairings[] = {
    {&forms[0], {.index = INDEX, .precision = VR_PRECISION_F32}, 5e-6, 5e-6},
    {&forms[1], {.index = INDEX, .precision = VR_PRECISION_F16}, 3e-4, 2e-4},
    {&forms[1], {.index = INDEX, .precision = VR_PRECISION_F32}, 1e-3, 5e-4},
};

static void compare_ranking(const struct vr_bundle *bundle, const struct pairing *pairing,
                            const struct vr_engine_ranked *a, const struct vr_engine_ranked *b)
{
    const struct vr_level *last = &bundle->ranker.level[bundle->ranker.level_count - 1];
    for (uint32_t r = 0; r < REQUESTS; r++) {
        check_close(a[r].heads, b[r].heads, (size_t)cases[r].candidates * VR_HEAD_COUNT, pairing->heads, "heads");
        cr_assert((a[r].gates != NULL) == (r == 3) && (b[r].gates != NULL) == (r == 3));
        if (r == 3) {
            check_close(a[r].gates, b[r].gates, (size_t)cases[r].candidates * last->gates * last->experts,
                        pairing->gates, "gates");
        }
    }
}

static void check_parity(const char *architecture, const struct pairing *pairing, uint64_t first_seed,
                         uint64_t last_seed)
{
    struct rig rig;
    struct vr_backend *cpu = NULL;
    struct vr_engine *on_cpu = NULL;
    rig_open(&rig, architecture, pairing->form);
    cr_assert_eq(vr_backend_open("cpu", 1, &cpu), VR_OK);
    cr_assert_eq(vr_engine_create_with(cpu, rig.bundle, &pairing->cpu, &on_cpu), VR_OK, "%s", vr_error_text());
    struct vr_engine_slot *slot[2] = {slot_of(rig.engine, REQUESTS, CANDIDATES), slot_of(on_cpu, REQUESTS, CANDIDATES)};
    for (uint64_t seed = first_seed; seed <= last_seed; seed++) {
        struct vr_engine_user user[REQUESTS];
        struct vr_engine_rank rank[REQUESTS];
        struct vr_engine_retrieved found[2][REQUESTS];
        struct vr_engine_ranked ranked[2][REQUESTS];
        struct vr_engine_found similar[2];
        vr_emulator_seed(seed);
        make_users(rig.engine, seed, user);
        for (uint32_t i = 0; i < 2; i++) {
            retrieve(slot[i], REQUESTS, user, found[i]);
        }
        compare_retrieval(rig.bundle, found[0], found[1]);
        for (uint32_t i = 0; i < 2; i++) {
            make_ranks(found[i], rank);
            score(slot[i], REQUESTS, rank, ranked[i]);
        }
        compare_ranking(rig.bundle, pairing, ranked[0], ranked[1]);
        for (uint32_t i = 0; i < 2; i++) {
            cr_assert_eq(vr_engine_similar(slot[i], (int32_t)seed * 31, 9, ENGINE_SOON, &similar[i]), VR_OK);
        }
        check_found(&similar[0], &similar[1], "similar");
    }
    vr_engine_slot_destroy(slot[0]);
    vr_engine_slot_destroy(slot[1]);
    vr_engine_destroy(on_cpu);
    vr_backend_destroy(cpu);
    rig_close(&rig);
}

Test(engine, equals_the_cpu_mmoe)
{
    for (size_t i = 0; i < sizeof pairings / sizeof pairings[0]; i++) {
        check_parity("mmoe", &pairings[i], 1, 2);
    }
}

Test(engine, equals_the_cpu_ple)
{
    for (size_t i = 0; i < sizeof pairings / sizeof pairings[0]; i++) {
        check_parity("ple", &pairings[i], 3, 4);
    }
}

/* ---- the same bits in any batch ---- */

/* What one request got, copied. */
struct answer {
    float user_tower[256], heads[4 * VR_HEAD_COUNT];
    int32_t tower[K], content[K];
    float tower_score[K], content_score[K];
    uint32_t tower_count, content_count;
};

static void keep_found(const struct vr_engine_found *found, uint32_t *count, int32_t *row, float *at)
{
    *count = found->count;
    memcpy(row, found->row, found->count * sizeof *row);
    memcpy(at, found->score, found->count * sizeof *at);
}

/* The answers of requests 0 .. count of `cases`, in one batch. */
static void answer_all(const struct vr_bundle *bundle, struct vr_engine_slot *slot, uint32_t count,
                       struct answer *answer)
{
    static struct vr_engine_user user[MANY];
    static struct vr_engine_rank rank[MANY];
    static struct vr_engine_retrieved found[MANY];
    static struct vr_engine_ranked ranked[MANY];
    for (uint32_t r = 0; r < count; r++) {
        user[r] = engine_case_user(&cases[r], K, K);
    }
    retrieve(slot, count, user, found);
    memset(answer, 0, count * sizeof *answer);
    for (uint32_t r = 0; r < count; r++) {
        memcpy(answer[r].user_tower, found[r].user_tower, bundle->tower_dim * sizeof(float));
        keep_found(&found[r].tower, &answer[r].tower_count, answer[r].tower, answer[r].tower_score);
        keep_found(&found[r].content, &answer[r].content_count, answer[r].content, answer[r].content_score);
        rank[r] = engine_case_rank(&cases[r]);
        rank[r].user_tower = found[r].user_tower;
        rank[r].hist_tower = found[r].hist_tower;
        rank[r].hist_content = found[r].hist_content;
    }
    score(slot, count, rank, ranked);
    for (uint32_t r = 0; r < count; r++) {
        memcpy(answer[r].heads, ranked[r].heads, cases[r].candidates * VR_HEAD_COUNT * sizeof(float));
    }
}

/* Batches of 1, 7 and 256 take plans of 1, 8 and 256; after the largest, staging is full of others' numbers. */
static void check_batches(const struct form *form)
{
    static struct answer whole[MANY], part[REQUESTS];
    struct rig rig;
    rig_open(&rig, "hard", form);
    struct vr_engine_slot *slot = slot_of(rig.engine, MANY, 1);
    for (uint32_t r = 0; r < MANY; r++) {
        engine_case_make(rig.engine, r, r % 3 == 0 ? 1 : 0, false, &cases[r]);
    }
    answer_all(rig.bundle, slot, MANY, whole);
    for (uint32_t count = 1; count <= REQUESTS; count += REQUESTS - 1) {
        answer_all(rig.bundle, slot, count, part);
        for (uint32_t r = 0; r < count; r++) {
            cr_assert_eq(memcmp(&whole[r], &part[r], sizeof part[r]), 0, "request %u of %u", r, count);
        }
    }
    cr_assert_gt(whole[0].tower_count, 0);
    vr_engine_slot_destroy(slot);
    rig_close(&rig);
}

Test(engine, same_bits_in_any_batch)
{
    check_batches(float32);
    check_batches(halves);
}

/* 300 rows in chunks of 128 take a tail of 44, padded to 64, and two whole chunks; or one chunk of 300, padded. */
static void check_chunks(const struct form *form)
{
    struct rig rig;
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_ranked ranked[REQUESTS], other[REQUESTS];
    rig_open(&rig, "mmoe", form);
    rig.ops.preferred_rows = 128;
    struct vr_engine_slot *small = slot_of(rig.engine, REQUESTS, 60);
    rig.ops.preferred_rows = 2560;
    struct vr_engine_slot *large = slot_of(rig.engine, REQUESTS, 60);
    for (uint32_t r = 0; r < REQUESTS; r++) {
        engine_case_make(rig.engine, r, r == 6 ? 6 : 49, false, &cases[r]);
        rank[r] = engine_case_rank(&cases[r]);
        rank[r].want_gates = true;
    }
    score(small, REQUESTS, rank, ranked);
    score(large, REQUESTS, rank, other);
    const struct vr_level *last = &rig.bundle->ranker.level[rig.bundle->ranker.level_count - 1];
    for (uint32_t r = 0; r < REQUESTS; r++) {
        const size_t rows = cases[r].candidates;
        cr_assert_eq(memcmp(ranked[r].heads, other[r].heads, rows * VR_HEAD_COUNT * sizeof(float)), 0, "request %u", r);
        cr_assert_eq(memcmp(ranked[r].gates, other[r].gates, rows * last->gates * last->experts * sizeof(float)), 0);
    }
    vr_engine_slot_destroy(small);
    vr_engine_slot_destroy(large);
    rig_close(&rig);
}

Test(engine, same_bits_in_any_chunk)
{
    check_chunks(float32);
    check_chunks(halves);
}

/* ---- what a batch costs ---- */

static uint64_t calls_since(uint32_t call, uint64_t before)
{
    return vr_seam_calls(call) - before;
}

/* AddressSanitizer's own hook counts every malloc of the process; the emulator's, inside the backend, are left out. */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *)) __attribute__((weak));
static volatile unsigned long allocations;
static volatile bool in_backend;
static const struct vr_backend_ops *plain;

static void count_malloc(const volatile void *block, size_t bytes)
{
    (void)block;
    (void)bytes;
    allocations += in_backend ? 0 : 1;
}

static void ignore_free(const volatile void *block)
{
    (void)block;
}

#define INSIDE(name, signature, call)                   \
    static enum vr_status inside_##name signature       \
    {                                                   \
        in_backend = true;                              \
        const enum vr_status status = plain->name call; \
        in_backend = false;                             \
        return status;                                  \
    }
INSIDE(copy, (struct vr_stream * s, struct vr_view to, struct vr_view from, size_t n), (s, to, from, n))
INSIDE(plan_launch, (struct vr_stream * s, struct vr_plan *plan), (s, plan))
INSIDE(stream_poll, (struct vr_stream * s, bool *done), (s, done))

/* One copy in, one plan with the copy out: retrieval. Two copies in (requests, rows), one plan for the requests and one
 * for each chunk, one copy out: ranking. No memory of either side after the slot is made. */
static void check_costs(const struct form *form)
{
    struct rig rig;
    struct vr_engine_user user[REQUESTS];
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_retrieved found[REQUESTS];
    struct vr_engine_ranked ranked[REQUESTS];
    const struct vr_backend_ops *ops = NULL;
    rig_open(&rig, "hard", form);
    plain = ops = vr_backend_ops_of(rig.cuda);
    struct vr_backend_ops counted = *ops;
    counted.copy = inside_copy;
    counted.plan_launch = inside_plan_launch;
    counted.stream_poll = inside_stream_poll;
    struct vr_engine_slot *slot = slot_of(rig.engine, REQUESTS, CANDIDATES);
    make_users(rig.engine, 1, user);
    rig.cuda->ops = &counted;
    const unsigned long before = allocations;
    if (__sanitizer_install_malloc_and_free_hooks != NULL) {
        free(malloc(1));
        cr_assert_eq(allocations, before + 1, "the hook counts");
    }
    const unsigned long allocated = allocations;
    const uint64_t memory = vr_seam_calls(VR_SEAM_MEMORY), launches = vr_seam_calls(VR_SEAM_LAUNCH);
    for (uint32_t count = REQUESTS; count <= REQUESTS; count -= 2) { /* 7, 5, 3, 1 */
        uint64_t copies = vr_seam_calls(VR_SEAM_COPY), graphs = vr_seam_calls(VR_SEAM_GRAPH);
        enum vr_status status = vr_engine_retrieve(slot, count, user, ENGINE_SOON, found);
        const uint64_t in = calls_since(VR_SEAM_COPY, copies), plans = calls_since(VR_SEAM_GRAPH, graphs);
        for (uint32_t r = 0; r < count; r++) {
            rank[r] = engine_case_rank(&cases[r]);
            rank[r].user_tower = found[r].user_tower;
            rank[r].hist_tower = found[r].hist_tower;
            rank[r].hist_content = found[r].hist_content;
        }
        copies = vr_seam_calls(VR_SEAM_COPY);
        graphs = vr_seam_calls(VR_SEAM_GRAPH);
        status = status == VR_OK ? vr_engine_score(slot, count, rank, ENGINE_SOON, ranked) : status;
        const unsigned long taken = allocations - allocated;
        cr_assert_eq(status, VR_OK, "%s", vr_error_text());
        cr_assert_eq(taken, 0, "%lu allocations", taken);
        cr_assert_eq(in, 1);
        cr_assert_eq(plans, 1);
        cr_assert_eq(calls_since(VR_SEAM_COPY, copies), 3);
        cr_assert_eq(calls_since(VR_SEAM_GRAPH, graphs), 2);
        allocations = allocated; /* what the assertions took */
    }
    cr_assert_eq(calls_since(VR_SEAM_MEMORY, memory), 0);
    cr_assert_eq(calls_since(VR_SEAM_LAUNCH, launches), 0, "every kernel is in a plan");
    rig.cuda->ops = ops;
    vr_engine_slot_destroy(slot);
    rig_close(&rig);
}

Test(engine, calls_and_memory_of_a_batch)
{
    if (__sanitizer_install_malloc_and_free_hooks != NULL) {
        cr_assert_gt(__sanitizer_install_malloc_and_free_hooks(count_malloc, ignore_free), 0);
    }
    check_costs(float32);
    check_costs(halves);
}

static void check_share(uint64_t told, uint64_t taken, const char *what)
{
    const double off = fabs((double)told - (double)taken);
    cr_expect_leq(off, 0.02 * (double)taken, "%s: %llu told, %llu taken", what, (unsigned long long)told,
                  (unsigned long long)taken);
}

static void check_memory(const struct form *form)
{
    const struct vr_engine_shape shapes[] = {{2, REQUESTS, CANDIDATES, K}, {1, 2, 40, 100}};
    for (size_t i = 0; i < 2; i++) {
        const struct vr_engine_shape *shape = &shapes[i];
        struct rig rig = {.bundle = engine_bundle(i == 0 ? "ple" : "hard")};
        struct vr_engine_memory memory;
        struct vr_engine_slot *slot[2] = {NULL, NULL};
        cr_assert_eq(vr_cuda_backend_open(1, &rig.cuda), VR_OK);
        cr_assert_eq(vr_engine_memory_needed(rig.cuda, rig.bundle, &form->options, shape, &memory), VR_OK);
        cr_assert_eq(vr_emulator_memory_used(), 0, "nothing is taken");
        cr_assert_eq(memory.device, memory.engine + shape->lanes * memory.lane);
        cr_assert_eq(vr_engine_create_with(rig.cuda, rig.bundle, &form->options, &rig.engine), VR_OK);
        const size_t engine = vr_emulator_memory_used();
        check_share(memory.engine, engine, "engine");
        cr_assert_eq(vr_engine_bytes(rig.engine), memory.engine);
        for (uint32_t lane = 0; lane < shape->lanes; lane++) {
            const size_t before = vr_emulator_memory_used();
            cr_assert_eq(vr_engine_slot_create(rig.engine, shape->max_requests, shape->max_candidates, shape->max_k,
                                               &slot[lane]),
                         VR_OK);
            check_share(memory.lane + memory.lane_pinned, vr_emulator_memory_used() - before, "lane");
        }
        vr_engine_slot_destroy(slot[0]);
        vr_engine_slot_destroy(slot[1]);
        rig_close(&rig);
    }
}

Test(engine, memory_is_told_before_it_is_taken)
{
    check_memory(float32);
    check_memory(halves);
}

/* With a tenth less than was told there is no lane, and nothing is left behind; with a twentieth more there is. */
Test(engine, a_device_that_is_too_small_has_no_lane)
{
    const struct vr_engine_shape shape = {1, 2, 4, K};
    struct rig rig;
    struct vr_engine_memory memory;
    struct vr_engine_slot *slot = NULL;
    rig_open(&rig, "hard", float32);
    cr_assert_eq(vr_engine_memory_needed(rig.cuda, rig.bundle, &float32->options, &shape, &memory), VR_OK);
    const size_t used = vr_emulator_memory_used(), lane = (size_t)(memory.lane + memory.lane_pinned);
    vr_emulator_memory_limit(used + lane / 10 * 9);
    cr_assert_eq(vr_engine_slot_create(rig.engine, shape.max_requests, shape.max_candidates, K, &slot), VR_ERR_NOMEM);
    cr_assert_eq(vr_emulator_memory_used(), used);
    vr_emulator_memory_limit(used + lane / 20 * 21);
    cr_assert_eq(vr_engine_slot_create(rig.engine, shape.max_requests, shape.max_candidates, K, &slot), VR_OK, "%s",
                 vr_error_text());
    vr_engine_slot_destroy(slot);
    rig_close(&rig);
}

Test(engine, a_shape_that_no_slot_has_needs_no_memory)
{
    struct vr_bundle *bundle = engine_bundle("hard");
    struct vr_backend *cpu = NULL;
    struct vr_engine_memory memory;
    const struct vr_engine_shape none = {1, 1, 1, 1001}, one = {1, 1, 1, 1000};
    cr_assert_eq(vr_backend_open("cpu", 1, &cpu), VR_OK);
    cr_assert_eq(vr_engine_memory_needed(cpu, bundle, &float32->options, &none, &memory), VR_ERR_INVALID);
    cr_assert_eq(vr_engine_memory_needed(cpu, bundle, &float32->options, &one, &memory), VR_OK, "%s", vr_error_text());
    cr_assert_gt(memory.engine, (uint64_t)bundle->videos.count * bundle->tower_dim * 2);
    vr_backend_destroy(cpu);
    vr_bundle_close(bundle);
}
