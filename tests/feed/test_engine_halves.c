/* The engine with its ranker in halves, on the CPU backend, which has every form in plain C: golden outputs of all
 * architectures and of the whole demo bundle, the same bits alone and in a batch, when halves are taken and when not,
 * and how many operations a batch is. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support_engine.h"

#define REQUESTS 9u
#define CANDIDATES 60u
#define EXACT                          \
    {                                  \
        VR_INDEX_EXACT, 32, 256, 0, 32 \
    }

static const struct vr_engine_options in_halves = {.index = EXACT, .precision = VR_PRECISION_F16};
static const struct vr_engine_options automatic = {.index = EXACT, .precision = VR_PRECISION_AUTO};
static const struct vr_engine_options in_float32 = {.index = EXACT, .precision = VR_PRECISION_F32};

/* ---- a rig: a bundle, and a CPU backend whose table can be changed ---- */

static const struct vr_backend_ops *plain;
static struct rig {
    struct vr_bundle *bundle;
    struct vr_backend *cpu;
    struct vr_backend_ops ops;
} rig;

static void rig_open(struct vr_bundle *bundle)
{
    rig.bundle = bundle;
    cr_assert_eq(vr_backend_open("cpu", 1, &rig.cpu), VR_OK);
    plain = rig.cpu->ops;
    rig.ops = *plain;
    rig.ops.weights_bytes = NULL; /* a backend that reads rows, as the one that halves are for */
    rig.ops.preferred_experts = 0;
    rig.cpu->ops = &rig.ops;
}

static void rig_close(void)
{
    rig.cpu->ops = plain;
    vr_backend_destroy(rig.cpu);
    vr_bundle_close(rig.bundle);
}

static struct vr_engine *engine_of(const struct vr_engine_options *options)
{
    struct vr_engine *engine = NULL;
    cr_assert_eq(vr_engine_create_with(rig.cpu, rig.bundle, options, &engine), VR_OK, "%s", vr_error_text());
    return engine;
}

static struct vr_engine_slot *slot_of(struct vr_engine *engine, uint32_t requests)
{
    struct vr_engine_slot *slot = NULL;
    cr_assert_eq(vr_engine_slot_create(engine, requests, CANDIDATES, 1, &slot), VR_OK, "%s", vr_error_text());
    return slot;
}

/* ---- golden outputs ---- */

/* docs/bundle.md: halves are within 5e-4 and 5e-3 relative, and so far off that they are halves. */
static void check_golden(struct vr_bundle *bundle)
{
    struct vr_engine *engine = NULL;
    struct vr_golden_report report;
    rig_open(bundle);
    cr_assert_eq(vr_engine_create_tested(rig.cpu, bundle, &in_halves, &report, &engine), VR_OK, "%s", vr_error_text());
    cr_expect_eq(report.precision, VR_PRECISION_F16);
    cr_expect_eq(vr_engine_precision(engine), VR_PRECISION_F16);
    cr_expect_eq(report.cases, bundle->golden.count);
    cr_expect_lt(report.user_tower, 2e-6, "user tower off by %g", report.user_tower);
    cr_expect(report.probability > 5e-6 && report.probability < 5e-4, "probabilities off by %g", report.probability);
    cr_expect_lt(report.watch_s_relative, 2e-3, "watch_s off by %g", report.watch_s_relative);
    cr_expect_geq(report.topk_worst_agreement, 9);
    vr_engine_destroy(engine);
    rig_close();
}

Test(engine_halves, golden_of_all_architectures)
{
    const char *const architecture[] = {"hard", "moe", "mmoe", "ple"};
    for (size_t i = 0; i < 4; i++) {
        check_golden(engine_bundle(architecture[i]));
    }
}

Test(engine_halves, golden_demo)
{
    struct vr_bundle *bundle = NULL;
    cr_assert_eq(vr_bundle_open(VIREO_SOURCE_DIR "/models/demo", &bundle), VR_OK, "%s", vr_error_text());
    check_golden(bundle);
}

/* ---- experts and gates in another order ---- */

/* [outer, count, inner] with its middle in another order; the caller frees. */
static float *reorder(const float **data, uint32_t outer, uint32_t count, size_t inner, const uint32_t *order)
{
    float *copy = malloc(outer * count * inner * sizeof *copy);
    cr_assert(copy != NULL);
    for (uint32_t o = 0; o < outer; o++) {
        for (uint32_t i = 0; i < count; i++) {
            const size_t to = o * count + i, from = o * count + order[i];
            memcpy(copy + to * inner, *data + from * inner, inner * sizeof *copy);
        }
    }
    *data = copy;
    return copy;
}

/* Which gates read which expert, and which task which gate. */
static void rewire(struct vr_ranker *ranker, struct vr_level *level, const uint32_t *expert, const uint32_t *gate)
{
    const struct vr_level before = *level;
    for (uint32_t e = 0; e < level->experts; e++) {
        level->expert_input[e] = before.expert_input[expert[e]];
    }
    for (uint32_t g = 0; g < level->gates; g++) {
        level->gate[g] = before.gate[gate[g]];
        level->gate[g].experts = 0;
        for (uint32_t e = 0; e < level->experts; e++) {
            level->gate[g].experts |= (before.gate[gate[g]].experts >> expert[e] & 1u) << e;
        }
        ranker->task[gate[g]].gate = g; /* task t read gate t */
    }
}

/* Layers that read blocks at even distances run as one operation: these read 0, 2 and 4; 4; 1 and 3, and the tasks 3,
 * 0, 2, 1. The network stays what it was, and so do its golden outputs. */
Test(engine_halves, golden_in_another_order)
{
    static const uint32_t expert[] = {0, 2, 4, 5, 1, 3}, gate[] = {1, 3, 2, 0};
    struct vr_bundle *bundle = engine_bundle("ple");
    struct vr_level *level = &bundle->ranker.level[1];
    const struct vr_engine_options *const options[] = {&in_float32, &in_halves};
    struct vr_engine *engine = NULL;
    struct vr_golden_report report;
    cr_assert(level->experts == 6 && level->gates == 4);
    rewire(&bundle->ranker, level, expert, gate);
    float *const copy[] = {
        reorder(&level->w1, 1, 6, (size_t)level->hidden * level->in, expert),
        reorder(&level->b1, 1, 6, level->hidden, expert),
        reorder(&level->w2, 1, 6, (size_t)level->width * level->hidden, expert),
        reorder(&level->b2, 1, 6, level->width, expert),
        reorder(&level->gate_w, 4, 6, level->in, expert),
        reorder(&level->gate_b, 4, 6, 1, expert),
        reorder(&level->gate_w, 1, 4, (size_t)6 * level->in, gate),
        reorder(&level->gate_b, 1, 4, 6, gate),
    };
    rig_open(bundle);
    for (size_t i = 0; i < 2; i++) {
        cr_assert_eq(vr_engine_create_tested(rig.cpu, bundle, options[i], &report, &engine), VR_OK, "%s",
                     vr_error_text());
        cr_expect_lt(report.probability, i == 0 ? 5e-6 : 5e-4);
        vr_engine_destroy(engine);
    }
    for (size_t i = 0; i < sizeof copy / sizeof copy[0]; i++) {
        free(copy[i]);
    }
    rig_close();
}

/* ---- answers ---- */

static struct engine_case cases[REQUESTS];

static void make_ranks(const struct vr_engine *engine, struct vr_engine_rank *rank)
{
    for (uint32_t r = 0; r < REQUESTS; r++) {
        engine_case_make(engine, 100 + r, r == 4 ? 0 : 1 + r * 7, r % 2 == 1, &cases[r]);
        rank[r] = engine_case_rank(&cases[r]);
        rank[r].want_gates = true;
    }
}

/* Of a row. */
static size_t gate_floats(void)
{
    const struct vr_level *last = &rig.bundle->ranker.level[rig.bundle->ranker.level_count - 1];
    return (size_t)last->gates * last->experts;
}

static void check_same(const struct vr_engine_ranked *a, const struct vr_engine_ranked *b, uint32_t r)
{
    const size_t rows = cases[r].candidates;
    cr_assert_eq(memcmp(a->heads, b->heads, rows * VR_HEAD_COUNT * sizeof(float)), 0, "heads of request %u", r);
    cr_assert_eq(memcmp(a->gates, b->gates, rows * gate_floats() * sizeof(float)), 0, "gates of request %u", r);
}

/* Chunks of 32 rows and of 512. */
Test(engine_halves, same_answer_alone_in_a_batch_and_in_any_chunk)
{
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_ranked whole[REQUESTS], other[REQUESTS], one;
    rig_open(engine_bundle("ple"));
    struct vr_engine *engine = engine_of(&in_halves);
    struct vr_engine_slot *large = slot_of(engine, REQUESTS), *alone = slot_of(engine, 1);
    rig.ops.preferred_rows = 32;
    struct vr_engine_slot *small = slot_of(engine, REQUESTS);
    make_ranks(engine, rank);
    cr_assert_eq(vr_engine_score(large, REQUESTS, rank, ENGINE_SOON, whole), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_engine_score(small, REQUESTS, rank, ENGINE_SOON, other), VR_OK, "%s", vr_error_text());
    for (uint32_t r = 0; r < REQUESTS; r++) {
        cr_assert_eq(vr_engine_score(alone, 1, &rank[r], ENGINE_SOON, &one), VR_OK, "%s", vr_error_text());
        check_same(&whole[r], &one, r);
        check_same(&whole[r], &other[r], r);
    }
    vr_engine_slot_destroy(large);
    vr_engine_slot_destroy(alone);
    vr_engine_slot_destroy(small);
    vr_engine_destroy(engine);
    rig_close();
}

/* ---- when halves are taken ---- */

/* What an engine with these options runs in: memory is told for it, too. -1: refused as unsupported, in words that
 * hold `names`. */
static int runs_in(const struct vr_engine_options *options, const char *names)
{
    const struct vr_engine_shape shape = {1, 2, 8, 1};
    struct vr_engine_memory memory;
    struct vr_engine *engine = NULL;
    const enum vr_status told = vr_engine_memory_needed(rig.cpu, rig.bundle, options, &shape, &memory);
    const enum vr_status status = vr_engine_create_with(rig.cpu, rig.bundle, options, &engine);
    cr_assert_eq(told, status);
    if (status != VR_OK) {
        cr_assert_eq(status, VR_ERR_UNSUPPORTED, "%s", vr_error_text());
        cr_assert(strstr(vr_error_text(), names) != NULL, "%s", vr_error_text());
        return -1;
    }
    const enum vr_precision precision = vr_engine_precision(engine);
    cr_assert_eq(vr_engine_bytes(engine), memory.engine);
    vr_engine_destroy(engine);
    return (int)precision;
}

/* Halves where they fit, unless float32 is asked for. */
static void check_fit(void)
{
    rig.ops.halves = VR_HALF_FAST;
    cr_expect_eq(runs_in(&automatic, ""), VR_PRECISION_F16);
    cr_expect_eq(runs_in(&in_halves, ""), VR_PRECISION_F16);
    cr_expect_eq(runs_in(&in_float32, ""), VR_PRECISION_F32);
}

/* Where they do not, they are refused where they were insisted on. */
static void check_no_fit(const char *names)
{
    rig.ops.halves = VR_HALF_FAST;
    cr_expect_eq(runs_in(&automatic, ""), VR_PRECISION_F32, "%s", names);
    cr_expect_eq(runs_in(&in_halves, names), -1, "%s", names);
    cr_expect_eq(runs_in(&in_float32, ""), VR_PRECISION_F32, "%s", names);
}

Test(engine_halves, are_a_matter_of_the_backend)
{
    rig_open(engine_bundle("mmoe"));
    cr_expect_eq(rig.ops.halves, VR_HALF_PLAIN, "the CPU's are no quicker");
    cr_expect_eq(runs_in(&automatic, ""), VR_PRECISION_F32);
    cr_expect_eq(runs_in(&in_halves, ""), VR_PRECISION_F16);
    check_fit();
    rig.ops.halves = VR_HALF_NONE;
    cr_expect_eq(runs_in(&automatic, ""), VR_PRECISION_F32);
    cr_expect_eq(runs_in(&in_halves, "the backend has no halves"), -1);
    struct vr_engine *engine = NULL;
    rig.ops.halves = VR_HALF_FAST;
    cr_assert_eq(vr_engine_create(rig.cpu, rig.bundle, &in_halves.index, &engine), VR_OK);
    cr_expect_eq(vr_engine_precision(engine), VR_PRECISION_F32, "nobody asked for halves");
    vr_engine_destroy(engine);
    rig_close();
}

/* Fewer outputs of the same weights are another network, as good as the first. */
Test(engine_halves, need_widths_of_whole_pieces)
{
    rig_open(engine_bundle("ple"));
    struct vr_ranker *ranker = &rig.bundle->ranker;
    cr_assert_neq(ranker->tower_hidden % 8, 0, "that of the towers is padded");
    ranker->level[1].hidden = 20;
    check_no_fit("level 1 of the ranker is 20 and 16 wide");
    ranker->level[1].hidden = 24;
    check_fit();
    ranker->level[1].width = 12;
    check_no_fit("level 1 of the ranker is 24 and 12 wide");
    rig_close();
}

static float *copy_of(const float *data, size_t count)
{
    float *copy = malloc(count * sizeof *copy);
    cr_assert(copy != NULL);
    memcpy(copy, data, count * sizeof *copy);
    return copy;
}

/* The last of a matrix, in each place that is stored in halves; a bias that is added in float32 may be any number. */
Test(engine_halves, need_weights_in_their_range)
{
    rig_open(engine_bundle("ple"));
    struct vr_level *first = &rig.bundle->ranker.level[0], *last = &rig.bundle->ranker.level[1];
    struct vr_task *task = &rig.bundle->ranker.task[3];
    const size_t hidden = (size_t)last->experts * last->hidden, width = (size_t)last->experts * last->width;
    const struct {
        const float **weights;
        size_t count;
        bool fits;
    } place[] = {
        {&first->w1, hidden * first->in, false},
        {&first->gate_w, (size_t)first->gates * first->experts * first->in, false},
        {&first->b1, hidden, true},
        {&last->w1, hidden * last->in, false},
        {&last->b1, hidden, false},
        {&last->w2, width * last->hidden, false},
        {&last->gate_b, (size_t)last->gates * last->experts, true},
        {&task->w1, (size_t)rig.bundle->ranker.tower_hidden * last->width, false},
        {&task->w2, rig.bundle->ranker.tower_hidden, false},
        {&task->b2, 1, true},
    };
    for (size_t i = 0; i < sizeof place / sizeof place[0]; i++) {
        const float *before = *place[i].weights;
        float *copy = copy_of(before, place[i].count);
        *place[i].weights = copy;
        copy[place[i].count - 1] = -65519.0f; /* is rounded to the largest half */
        check_fit();
        copy[place[i].count - 1] = -65520.0f;
        if (place[i].fits) {
            check_fit();
        } else {
            check_no_fit("the weight -65520 is out of the range of halves");
        }
        *place[i].weights = before;
        free(copy);
    }
    rig_close();
}

/* A number of a table that the ranker reads. */
Test(engine_halves, need_features_in_their_range)
{
    rig_open(engine_bundle("hard"));
    const struct vr_feature_block *block = &rig.bundle->ranker.block[VR_ENTITY_VIDEO];
    const struct vr_tensor *table = NULL;
    for (uint32_t c = 0; c < block->count; c++) {
        const struct vr_tensor *found = block->column[c].table;
        table = found != NULL && found->dtype == VR_DTYPE_F32 ? found : table;
    }
    cr_assert(table != NULL);
    const size_t count = table->bytes / sizeof(float);
    const void *before = table->data;
    float *copy = copy_of(before, count);
    ((struct vr_tensor *)table)->data = (void *)copy; /* the test's own bundle */
    copy[count - 1] = -65504.0f;
    check_fit();
    copy[count - 1] = -65505.0f;
    check_no_fit("features of the ranker reach 65505");
    ((struct vr_tensor *)table)->data = before;
    free(copy);
    rig_close();
}

/* ---- halves that miss the golden outputs ---- */

static enum vr_status without_bias(struct vr_stream *stream, const struct vr_linear *args)
{
    struct vr_linear wrong = *args;
    wrong.has_bias = args->has_bias && args->x_element == VR_ELEMENT_F32;
    return plain->linear(stream, &wrong);
}

Test(engine_halves, that_miss_the_golden_outputs_give_way_to_float32)
{
    struct vr_engine *engine = NULL;
    struct vr_golden_report report;
    rig_open(engine_bundle("mmoe"));
    rig.ops.halves = VR_HALF_FAST;
    cr_assert_eq(vr_engine_create_tested(rig.cpu, rig.bundle, &automatic, &report, &engine), VR_OK);
    cr_expect_eq(report.precision, VR_PRECISION_F16);
    vr_engine_destroy(engine);
    engine = NULL;
    rig.ops.linear = without_bias;
    cr_assert_eq(vr_engine_create_tested(rig.cpu, rig.bundle, &in_halves, &report, &engine), VR_ERR_CHECKSUM);
    cr_expect(engine == NULL);
    cr_assert_eq(vr_engine_create_tested(rig.cpu, rig.bundle, &automatic, &report, &engine), VR_OK, "%s",
                 vr_error_text());
    cr_expect_eq(report.precision, VR_PRECISION_F32);
    cr_expect_eq(vr_engine_precision(engine), VR_PRECISION_F32);
    cr_expect_lt(report.probability, 5e-6);
    vr_engine_destroy(engine);
    rig_close();
}

/* The bounds of docs/bundle.md, from a golden output that is moved past and short of them. */
Test(engine_halves, selftest_refuses_what_is_off)
{
    static const struct {
        double click, watch_s;
        enum vr_status halves, float32;
    } off[] = {
        {0.0, 0.0, VR_OK, VR_OK},
        {2e-4, 0.0, VR_OK, VR_ERR_CHECKSUM},
        {0.0, 2.5e-3, VR_OK, VR_ERR_CHECKSUM},
        {1e-3, 0.0, VR_ERR_CHECKSUM, VR_ERR_CHECKSUM},
        {0.0, 8e-3, VR_ERR_CHECKSUM, VR_ERR_CHECKSUM},
    };
    rig_open(engine_bundle("mmoe"));
    struct vr_engine *halves = engine_of(&in_halves), *float32 = engine_of(&in_float32);
    const double *before = rig.bundle->golden.heads;
    double heads[VR_HEAD_COUNT];
    rig.bundle->golden.count = 1;
    rig.bundle->golden.heads = heads;
    for (size_t i = 0; i < sizeof off / sizeof off[0]; i++) {
        memcpy(heads, before, sizeof heads);
        heads[VR_HEAD_CLICK] += off[i].click;
        heads[VR_HEAD_WATCH_S] *= 1.0 + off[i].watch_s;
        cr_expect_eq(vr_engine_selftest(halves, NULL), off[i].halves, "%zu in halves", i);
        cr_expect_eq(vr_engine_selftest(float32, NULL), off[i].float32, "%zu in float32", i);
    }
    rig.bundle->golden.heads = before;
    vr_engine_destroy(halves);
    vr_engine_destroy(float32);
    rig_close();
}

/* ---- operations of a call ---- */

static uint32_t products;
static const float no_vector[256];

static enum vr_status counted_linear(struct vr_stream *stream, const struct vr_linear *args)
{
    products++;
    return plain->linear(stream, args);
}

/* One call of one chunk whose vectors are given: two products for the requests; then for each level the first layers
 * (one, but of a PLE's upper level: one for the tasks' own experts and the first shared one, which read gates 0 to 4,
 * and one for the second, which reads gate 4, too), the second layers and the gates; the towers; the last layers of
 * click, of watch_s, and of like and finish together. */
static void check_products(const char *architecture, const struct vr_engine_options *options, uint32_t expected)
{
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_ranked ranked[REQUESTS];
    rig_open(engine_bundle(architecture));
    struct vr_engine *engine = engine_of(options);
    struct vr_engine_slot *slot = slot_of(engine, REQUESTS);
    make_ranks(engine, rank);
    for (uint32_t r = 0; r < REQUESTS; r++) {
        rank[r].user_tower = rank[r].hist_tower = rank[r].hist_content = no_vector;
    }
    rig.ops.linear = counted_linear;
    products = 0;
    cr_assert_eq(vr_engine_score(slot, REQUESTS, rank, ENGINE_SOON, ranked), VR_OK);
    cr_expect_eq(products, expected, "%s: %u products", architecture, products);
    vr_engine_slot_destroy(slot);
    vr_engine_destroy(engine);
    rig_close();
}

Test(engine_halves, products_of_a_call)
{
    check_products("hard", &in_float32, 2 + 3 + 1 + 3);
    check_products("hard", &in_halves, 2 + 3 + 1 + 3);
    check_products("mmoe", &in_float32, 2 + 3 + 1 + 3);
    check_products("mmoe", &in_halves, 2 + 3 + 1 + 3);
    check_products("ple", &in_float32, 2 + 3 + 4 + 1 + 3);
    check_products("ple", &in_halves, 2 + 3 + 4 + 1 + 3);
}

/* With one bin of watch_s all tasks are alike: one product for the last layers. The other heads keep their bits. */
static void check_alike(const struct vr_engine_options *options)
{
    static const uint32_t bins[] = {8, 1}, expected[] = {3, 1};
    static float heads[2][CANDIDATES][VR_HEAD_COUNT];
    struct vr_engine_rank rank;
    struct vr_engine_ranked ranked;
    for (size_t i = 0; i < 2; i++) {
        rig.bundle->ranker.task[VR_HEAD_WATCH_S].outputs = bins[i];
        struct vr_engine *engine = engine_of(options);
        struct vr_engine_slot *slot = slot_of(engine, 1);
        engine_case_make(engine, 5, CANDIDATES, false, &cases[0]);
        rank = engine_case_rank(&cases[0]);
        rank.user_tower = rank.hist_tower = rank.hist_content = no_vector;
        products = 0;
        cr_assert_eq(vr_engine_score(slot, 1, &rank, ENGINE_SOON, &ranked), VR_OK);
        cr_expect_eq(products, 2 + 3 + 1 + expected[i]);
        memcpy(heads[i], ranked.heads, CANDIDATES * sizeof heads[i][0]);
        vr_engine_slot_destroy(slot);
        vr_engine_destroy(engine);
    }
    for (uint32_t c = 0; c < CANDIDATES; c++) {
        for (uint32_t h = 0; h < VR_HEAD_COUNT; h++) {
            cr_expect(heads[0][c][h] == heads[1][c][h] || h == VR_HEAD_WATCH_S, "candidate %u, head %u", c, h);
        }
        cr_expect_lt(heads[1][c][VR_HEAD_WATCH_S], heads[0][c][VR_HEAD_WATCH_S]);
    }
}

Test(engine_halves, tasks_that_are_alike_run_as_one)
{
    rig_open(engine_bundle("mmoe"));
    cr_assert_eq(rig.bundle->ranker.task[VR_HEAD_WATCH_S].outputs, 8);
    rig.ops.linear = counted_linear;
    check_alike(&in_float32);
    check_alike(&in_halves);
    rig_close();
}
