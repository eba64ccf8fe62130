/* The engine on the small bundle: golden outputs made by NumPy in float64 for all four architectures, retrieval against
 * a plain search in float64, the same answer alone and in any batch, faults, and no allocation after creation. */
#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "support_engine.h"
#include "vireo/half.h"

#define REQUESTS 9u
#define CANDIDATES 60u
#define K 40u

struct rig {
    struct vr_bundle *bundle;
    struct vr_backend *backend;
    struct vr_engine *engine;
    struct vr_engine_slot *slot;
};

static const struct vr_index_config exact = {VR_INDEX_EXACT, 32, 256, 0, 32};

static void rig_open(struct rig *rig, const char *architecture, struct vr_index_config index)
{
    rig->bundle = engine_bundle(architecture);
    cr_assert_eq(vr_backend_open("cpu", 1, &rig->backend), VR_OK);
    cr_assert_eq(vr_engine_create(rig->backend, rig->bundle, &index, &rig->engine), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_engine_slot_create(rig->engine, REQUESTS, CANDIDATES, K, &rig->slot), VR_OK, "%s", vr_error_text());
}

static void rig_close(struct rig *rig)
{
    vr_engine_slot_destroy(rig->slot);
    vr_engine_destroy(rig->engine);
    vr_backend_destroy(rig->backend);
    vr_bundle_close(rig->bundle);
}

static void check_golden(const char *architecture)
{
    struct rig rig;
    struct vr_golden_report report;
    rig_open(&rig, architecture, exact);
    cr_assert_eq(vr_engine_selftest(rig.engine, &report), VR_OK, "%s: %s", architecture, vr_error_text());
    cr_assert_eq(report.cases, rig.bundle->golden.count);
    cr_assert_lt(report.user_tower, 2e-6, "user tower off by %g", report.user_tower);
    cr_assert_lt(report.probability, 5e-6, "probabilities off by %g", report.probability);
    cr_assert_lt(report.watch_s_relative, 1e-5, "watch_s off by %g", report.watch_s_relative);
    cr_assert_geq(report.topk_worst_agreement, 9);
    cr_assert_gt(vr_engine_bytes(rig.engine), rig.bundle->videos.count * 64 * 2);
    rig_close(&rig);
}

Test(engine, golden_mmoe)
{
    check_golden("mmoe");
}

Test(engine, golden_hard)
{
    check_golden("hard");
}

Test(engine, golden_moe)
{
    check_golden("moe");
}

Test(engine, golden_ple)
{
    check_golden("ple");
}

Test(engine, golden_on_the_reference_backend)
{
    struct vr_bundle *bundle = engine_bundle("ple");
    struct vr_backend *backend = NULL;
    struct vr_engine *engine = NULL;
    struct vr_golden_report report;
    cr_assert_eq(vr_backend_open_reference(&backend), VR_OK);
    cr_assert_eq(vr_engine_create(backend, bundle, &exact, &engine), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_engine_selftest(engine, &report), VR_OK, "%s", vr_error_text());
    cr_assert_lt(report.probability, 5e-6);
    vr_engine_destroy(engine);
    vr_backend_destroy(backend);
    vr_bundle_close(bundle);
}

/* A copy of `count` doubles with one of them moved. */
static double *moved(const double *data, size_t count, size_t at, double by)
{
    double *copy = malloc(count * sizeof *copy);
    cr_assert(copy != NULL);
    memcpy(copy, data, count * sizeof *copy);
    copy[at] += by;
    return copy;
}

Test(engine, selftest_refuses_what_is_off)
{
    struct rig rig;
    rig_open(&rig, "mmoe", exact);
    struct vr_golden *golden = &rig.bundle->golden;
    const struct vr_golden before = *golden;
    const size_t heads = (size_t)golden->count * VR_HEAD_COUNT;
    const size_t tower = (size_t)golden->count * rig.bundle->tower_dim;
    const struct {
        size_t at;
        double by;
        const char *names;
    } wrong[] = {{0, 2e-4, "click"}, {5, 1.0, "watch_s"}, {4 * 7 + 2, NAN, "like"}, {heads - 1, -2e-4, "finish"}};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        double *copy = moved(before.heads, heads, wrong[i].at, wrong[i].by);
        golden->heads = copy;
        cr_assert_eq(vr_engine_selftest(rig.engine, NULL), VR_ERR_CHECKSUM, "%s", wrong[i].names);
        cr_assert(strstr(vr_error_text(), wrong[i].names) != NULL, "%s", vr_error_text());
        free(copy);
    }
    *golden = before;
    double *copy = moved(before.user_tower, tower, tower - 1, 2e-4);
    golden->user_tower = copy;
    cr_assert_eq(vr_engine_selftest(rig.engine, NULL), VR_ERR_CHECKSUM);
    cr_assert(strstr(vr_error_text(), "user_tower") != NULL, "%s", vr_error_text());
    free(copy);
    *golden = before;
    const int32_t rows[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    golden->topk = rows;
    golden->topk_count = 1;
    cr_assert_eq(vr_engine_selftest(rig.engine, NULL), VR_ERR_CHECKSUM);
    cr_assert(strstr(vr_error_text(), "top 10") != NULL, "%s", vr_error_text());
    *golden = before;
    cr_assert_eq(vr_engine_selftest(rig.engine, NULL), VR_OK, "%s", vr_error_text());
    rig_close(&rig);
}

/* ---- retrieval ---- */

static double tower_score(const struct vr_bundle *bundle, const float *user, int32_t row)
{
    double sum = 0.0;
    for (uint32_t i = 0; i < bundle->tower_dim; i++) {
        sum += (double)user[i] * (double)vr_half_to_float(bundle->videos.tower[(size_t)row * bundle->tower_dim + i]);
    }
    return sum;
}

static double content_score(const struct vr_engine *engine, const float *history, int32_t row)
{
    float vector[256];
    double sum = 0.0;
    vr_engine_content_vector(engine, row, vector);
    for (uint32_t i = 0; i < vr_engine_bundle(engine)->content_dim; i++) {
        sum += (double)history[i] * (double)vector[i];
    }
    return sum;
}

static bool listed(const int32_t *list, uint32_t count, int32_t row)
{
    for (uint32_t i = 0; i < count; i++) {
        if (list[i] == row) {
            return true;
        }
    }
    return false;
}

/* The k-th best allowed score in float64 is not above the worst one found. */
static void check_found(const struct rig *rig, const struct vr_engine_retrieved *got, bool content,
                        const int32_t *exclude, uint32_t excluded, uint32_t k)
{
    const struct vr_engine_found *found = content ? &got->content : &got->tower;
    cr_assert_eq(found->count, k);
    uint32_t better = 0;
    for (int32_t row = 0; row < (int32_t)rig->bundle->videos.count; row++) {
        const double score = content ? content_score(rig->engine, got->hist_content, row)
                                     : tower_score(rig->bundle, got->user_tower, row);
        const bool known = !content || rig->bundle->videos.content_scale[row] > 0.0f;
        better += known && !listed(exclude, excluded, row) && score > (double)found->score[k - 1] + 1e-6;
    }
    cr_assert_lt(better, k);
    for (uint32_t i = 0; i < k; i++) {
        cr_assert(!listed(exclude, excluded, found->row[i]));
        cr_assert(i == 0 || found->score[i] <= found->score[i - 1]);
    }
}

Test(engine, retrieval_equals_a_plain_search)
{
    struct rig rig;
    rig_open(&rig, "mmoe", exact);
    static struct engine_case cases[REQUESTS];
    struct vr_engine_user user[REQUESTS];
    struct vr_engine_retrieved got[REQUESTS];
    static int32_t exclude[100];
    for (uint32_t i = 0; i < 100; i++) {
        exclude[i] = (int32_t)(3 * i);
    }
    for (uint32_t r = 0; r < REQUESTS; r++) {
        engine_case_make(rig.engine, r, 0, false, &cases[r]);
        user[r] = engine_case_user(&cases[r], r % 2 == 0 ? K : 7, r % 3 == 0 ? 5 : K);
        user[r].exclude = r % 2 == 0 ? exclude : NULL;
        user[r].exclude_count = r % 2 == 0 ? 100 : 0;
    }
    cr_assert_eq(vr_engine_retrieve(rig.slot, REQUESTS, user, ENGINE_SOON, got), VR_OK, "%s", vr_error_text());
    for (uint32_t r = 0; r < REQUESTS; r++) {
        check_found(&rig, &got[r], false, exclude, user[r].exclude_count, user[r].tower_k);
        check_found(&rig, &got[r], true, exclude, user[r].exclude_count, user[r].content_k);
    }
    rig_close(&rig);
}

Test(engine, history_vectors_are_weighted_means)
{
    struct rig rig;
    rig_open(&rig, "mmoe", exact);
    static struct engine_case c;
    struct vr_engine_retrieved got;
    engine_case_make(rig.engine, 3, 0, false, &c);
    const struct vr_engine_user user = engine_case_user(&c, 5, 5);
    cr_assert_eq(vr_engine_retrieve(rig.slot, 1, &user, ENGINE_SOON, &got), VR_OK);
    double total = 0.0, tower[256] = {0}, content[256] = {0};
    for (uint32_t i = 0; i < c.recent_count; i++) { /* docs/bundle.md, "Recent watches" */
        const uint32_t flags = c.recent[i].flags, rank = c.recent_count - 1 - i;
        const bool positive = (flags & (VR_WATCH_LONG_VIEW | VR_WATCH_LIKE | VR_WATCH_FINISH)) != 0;
        const double weight = (positive ? 1.0 : (flags & VR_WATCH_CLICK) != 0 ? 0.1 : 0.0) * pow(0.5, rank / 16.0);
        float vector[256];
        if (c.recent[i].video < 0) {
            continue;
        }
        total += weight;
        vr_engine_content_vector(rig.engine, c.recent[i].video, vector);
        for (uint32_t d = 0; d < rig.bundle->tower_dim; d++) {
            const size_t at = (size_t)c.recent[i].video * rig.bundle->tower_dim + d;
            tower[d] += weight * (double)vr_half_to_float(rig.bundle->videos.tower[at]);
        }
        for (uint32_t d = 0; d < rig.bundle->content_dim; d++) {
            content[d] += weight * (double)vector[d];
        }
    }
    for (uint32_t d = 0; d < rig.bundle->tower_dim; d++) {
        cr_assert_float_eq(got.hist_tower[d], tower[d] / total, 1e-6);
    }
    for (uint32_t d = 0; d < rig.bundle->content_dim; d++) {
        cr_assert_float_eq(got.hist_content[d], content[d] / total, 1e-6);
    }
    rig_close(&rig);
}

Test(engine, a_viewer_without_history_finds_no_content)
{
    struct rig rig;
    rig_open(&rig, "mmoe", exact);
    static struct engine_case c;
    struct vr_engine_retrieved got;
    engine_case_make(rig.engine, 3, 0, false, &c);
    struct vr_engine_user user = engine_case_user(&c, K, K);
    user.recent_count = 0;
    cr_assert_eq(vr_engine_retrieve(rig.slot, 1, &user, ENGINE_SOON, &got), VR_OK);
    cr_assert_eq(got.content.count, 0);
    cr_assert_eq(got.tower.count, K);
    user.tower_k = 0;
    user.content_k = 0;
    user.recent_count = c.recent_count;
    cr_assert_eq(vr_engine_retrieve(rig.slot, 1, &user, ENGINE_SOON, &got), VR_OK);
    cr_assert_eq(got.content.count + got.tower.count, 0);
    cr_assert_eq(vr_engine_retrieve(rig.slot, 0, NULL, ENGINE_SOON, NULL), VR_OK);
    rig_close(&rig);
}

Test(engine, similar_leaves_the_video_out)
{
    struct rig rig;
    rig_open(&rig, "mmoe", exact);
    for (int32_t row = 0; row < (int32_t)rig.bundle->videos.count; row += 7) {
        struct vr_engine_found found;
        float vector[256];
        cr_assert_eq(vr_engine_similar(rig.slot, row, 20, ENGINE_SOON, &found), VR_OK, "%s", vr_error_text());
        if (rig.bundle->videos.content_scale[row] <= 0.0f) {
            cr_assert_eq(found.count, 0);
            continue;
        }
        vr_engine_content_vector(rig.engine, row, vector);
        struct vr_engine_retrieved as = {.hist_content = vector, .content = found};
        check_found(&rig, &as, true, &row, 1, 20);
    }
    struct vr_engine_found found;
    cr_assert_eq(vr_engine_similar(rig.slot, -1, 5, ENGINE_SOON, &found), VR_ERR_INVALID);
    cr_assert_eq(vr_engine_similar(rig.slot, (int32_t)rig.bundle->videos.count, 5, ENGINE_SOON, &found),
                 VR_ERR_INVALID);
    cr_assert_eq(vr_engine_similar(rig.slot, 0, K + 1, ENGINE_SOON, &found), VR_ERR_INVALID);
    rig_close(&rig);
}

/* ---- the same answer alone and in any batch ---- */

static struct engine_case batch_case[REQUESTS];

static void make_batch(const struct vr_engine *engine, struct vr_engine_user *user, struct vr_engine_rank *rank)
{
    for (uint32_t r = 0; r < REQUESTS; r++) {
        engine_case_make(engine, 100 + r, r == 4 ? 0 : 1 + r * 7, r % 2 == 1, &batch_case[r]);
        user[r] = engine_case_user(&batch_case[r], K, K);
        rank[r] = engine_case_rank(&batch_case[r]);
    }
}

static void check_same_found(const struct vr_engine_found *a, const struct vr_engine_found *b)
{
    cr_assert_eq(a->count, b->count);
    cr_assert_eq(memcmp(a->row, b->row, a->count * sizeof *a->row), 0);
    cr_assert_eq(memcmp(a->score, b->score, a->count * sizeof *a->score), 0);
}

static void check_batch(const char *architecture)
{
    struct rig rig;
    struct vr_engine_slot *alone = NULL;
    struct vr_engine_user user[REQUESTS];
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_retrieved found[REQUESTS], found_alone;
    struct vr_engine_ranked scored[REQUESTS], scored_alone;
    rig_open(&rig, architecture, exact);
    cr_assert_eq(vr_engine_slot_create(rig.engine, 1, CANDIDATES, K, &alone), VR_OK);
    make_batch(rig.engine, user, rank);
    cr_assert_eq(vr_engine_retrieve(rig.slot, REQUESTS, user, ENGINE_SOON, found), VR_OK);
    for (uint32_t r = 0; r < REQUESTS; r++) {
        cr_assert_eq(vr_engine_retrieve(alone, 1, &user[r], ENGINE_SOON, &found_alone), VR_OK);
        check_same_found(&found[r].tower, &found_alone.tower);
        check_same_found(&found[r].content, &found_alone.content);
    }
    for (uint32_t r = 0; r < REQUESTS; r++) { /* the vectors given for some requests, computed for others */
        rank[r].user_tower = r % 2 == 0 ? found[r].user_tower : NULL;
        rank[r].hist_content = r % 3 == 0 ? found[r].hist_content : NULL;
        rank[r].hist_tower = r % 4 == 0 ? found[r].hist_tower : NULL;
        rank[r].want_gates = r == 3;
    }
    cr_assert_eq(vr_engine_score(rig.slot, REQUESTS, rank, ENGINE_SOON, scored), VR_OK, "%s", vr_error_text());
    for (uint32_t r = 0; r < REQUESTS; r++) {
        struct vr_engine_rank one = engine_case_rank(&batch_case[r]);
        cr_assert_eq(vr_engine_score(alone, 1, &one, ENGINE_SOON, &scored_alone), VR_OK);
        cr_assert_eq(memcmp(scored[r].heads, scored_alone.heads, one.candidates * VR_HEAD_COUNT * sizeof(float)), 0,
                     "%s: request %u", architecture, r);
        cr_assert((scored[r].gates != NULL) == (r == 3) && scored_alone.gates == NULL);
    }
    vr_engine_slot_destroy(alone);
    rig_close(&rig);
}

Test(engine, same_answer_alone_and_in_a_batch)
{
    check_batch("mmoe");
    check_batch("ple");
}

Test(engine, gates_are_weights_of_the_listed_experts)
{
    struct rig rig;
    rig_open(&rig, "ple", exact);
    static struct engine_case c;
    struct vr_engine_ranked got;
    engine_case_make(rig.engine, 5, 30, true, &c);
    struct vr_engine_rank rank = engine_case_rank(&c);
    rank.want_gates = true;
    cr_assert_eq(vr_engine_score(rig.slot, 1, &rank, ENGINE_SOON, &got), VR_OK);
    const struct vr_level *last = &rig.bundle->ranker.level[rig.bundle->ranker.level_count - 1];
    for (uint32_t i = 0; i < 30 * last->gates; i++) {
        double sum = 0.0;
        for (uint32_t e = 0; e < last->experts; e++) {
            const float weight = got.gates[i * last->experts + e];
            const bool takes_part = (last->gate[i % last->gates].experts >> e & 1u) != 0;
            cr_assert(takes_part ? weight > 0.0f : weight == 0.0f);
            sum += (double)weight;
        }
        cr_assert_float_eq(sum, 1.0, 1e-5);
    }
    for (uint32_t i = 0; i < 30 * VR_HEAD_COUNT; i++) {
        cr_assert(isfinite(got.heads[i]), "the unknown video and missing fields give finite heads");
    }
    rig_close(&rig);
}

Test(engine, sizes_past_the_slot_are_refused)
{
    struct rig rig;
    rig_open(&rig, "hard", exact);
    struct vr_engine_user user[REQUESTS + 1];
    struct vr_engine_rank rank[REQUESTS + 1];
    struct vr_engine_retrieved found[REQUESTS + 1];
    struct vr_engine_ranked scored[REQUESTS + 1];
    make_batch(rig.engine, user, rank);
    cr_assert_eq(vr_engine_retrieve(rig.slot, REQUESTS + 1, user, ENGINE_SOON, found), VR_ERR_INVALID);
    cr_assert_eq(vr_engine_score(rig.slot, REQUESTS + 1, rank, ENGINE_SOON, scored), VR_ERR_INVALID);
    user[0].tower_k = K + 1;
    cr_assert_eq(vr_engine_retrieve(rig.slot, 1, user, ENGINE_SOON, found), VR_ERR_INVALID);
    user[0].tower_k = K;
    user[0].exclude_count = VR_ENGINE_EXCLUDE_MAX + 1;
    cr_assert_eq(vr_engine_retrieve(rig.slot, 1, user, ENGINE_SOON, found), VR_ERR_TOO_LARGE);
    rank[0].candidates = REQUESTS * CANDIDATES + 1;
    cr_assert_eq(vr_engine_score(rig.slot, 1, rank, ENGINE_SOON, scored), VR_ERR_INVALID);
    struct vr_engine_slot *slot = NULL;
    cr_assert_eq(vr_engine_slot_create(rig.engine, 0, 1, 1, &slot), VR_ERR_INVALID);
    cr_assert_eq(vr_engine_slot_create(rig.engine, 1, 1, 1001, &slot), VR_ERR_INVALID);
    cr_assert_eq(vr_engine_score(rig.slot, 3, rank + 1, 0, scored), VR_ERR_TIMEOUT, "a deadline in the past");
    cr_assert_eq(vr_engine_score(rig.slot, 3, rank + 1, ENGINE_SOON, scored), VR_OK);
    rig_close(&rig);
}

Test(engine, other_indexes_serve_too)
{
    static const enum vr_index_kind kinds[] = {VR_INDEX_FAISS_FLAT, VR_INDEX_FAISS_HNSW, VR_INDEX_FAISS_IVF,
                                               VR_INDEX_IVF, VR_INDEX_EXACT_INT8};
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        struct vr_index_config index = exact;
        struct vr_golden_report report;
        struct rig rig;
        index.kind = kinds[i];
        index.ivf_probes = 1000;
        rig_open(&rig, "hard", index);
        cr_assert_eq(vr_engine_selftest(rig.engine, &report), VR_OK, "%s", vr_error_text());
        cr_assert_geq(report.topk_worst_agreement, 9, "kind %d: %u", (int)kinds[i], report.topk_worst_agreement);
        rig_close(&rig);
    }
}

/* ---- a device that is not done when a call ends ---- */

static const struct vr_backend_ops *plain_ops;
static bool in_flight, touched_in_flight, call_begins;

static enum vr_status slow_linear(struct vr_stream *stream, const struct vr_linear *args)
{
    in_flight = true;
    return plain_ops->linear(stream, args);
}

static enum vr_status slow_poll(struct vr_stream *stream, bool *done)
{
    in_flight = false;
    return plain_ops->stream_poll(stream, done);
}

/* The first copy of a call reads staging that the call has just filled. */
static enum vr_status slow_copy(struct vr_stream *stream, struct vr_view to, struct vr_view from, size_t bytes)
{
    touched_in_flight = touched_in_flight || (call_begins && in_flight);
    call_begins = false;
    return plain_ops->copy(stream, to, from, bytes);
}

Test(engine, staging_is_not_filled_while_a_failed_calls_work_is_in_flight)
{
    struct rig rig;
    struct vr_engine_user user[REQUESTS];
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_retrieved found[REQUESTS];
    struct vr_engine_ranked scored[REQUESTS];
    rig_open(&rig, "hard", exact);
    make_batch(rig.engine, user, rank);
    plain_ops = rig.backend->ops;
    struct vr_backend_ops slow = *plain_ops;
    slow.linear = slow_linear;
    slow.stream_poll = slow_poll;
    slow.copy = slow_copy;
    rig.backend->ops = &slow;
    cr_assert_eq(vr_engine_score(rig.slot, 3, rank, 0, scored), VR_ERR_TIMEOUT);
    cr_assert(in_flight, "the deadline passed with work on the stream");
    call_begins = true;
    cr_assert_eq(vr_engine_retrieve(rig.slot, 3, user, ENGINE_SOON, found), VR_OK);
    cr_assert(!call_begins && !touched_in_flight);
    rig.backend->ops = plain_ops;
    rig_close(&rig);
}

/* ---- faults ---- */

/* Everything an engine does once; the first failure ends it. */
static enum vr_status whole_life(struct vr_backend *backend, const struct vr_bundle *bundle,
                                 enum vr_precision precision)
{
    struct vr_engine *engine = NULL;
    struct vr_engine_slot *slot = NULL;
    static struct engine_case c;
    struct vr_engine_retrieved found;
    struct vr_engine_ranked scored;
    const struct vr_engine_options options = {.index = exact, .precision = precision};
    enum vr_status status = vr_engine_create_with(backend, bundle, &options, &engine);
    if (status == VR_OK) {
        status = vr_engine_slot_create(engine, 2, 30, 10, &slot);
    }
    if (status == VR_OK) {
        engine_case_make(engine, 1, 30, false, &c);
        const struct vr_engine_user user = engine_case_user(&c, 10, 10);
        status = vr_engine_retrieve(slot, 1, &user, ENGINE_SOON, &found);
    }
    if (status == VR_OK) {
        struct vr_engine_rank rank = engine_case_rank(&c);
        rank.want_gates = true;
        status = vr_engine_score(slot, 1, &rank, ENGINE_SOON, &scored);
    }
    if (status == VR_OK) {
        struct vr_engine_found similar;
        status = vr_engine_similar(slot, 0, 5, ENGINE_SOON, &similar);
    }
    vr_engine_slot_destroy(slot);
    vr_engine_destroy(engine);
    return status;
}

static void check_faults(struct engine_faulty *faulty, const struct vr_bundle *bundle, enum vr_precision precision)
{
    engine_faulty_arm(-1);
    cr_assert_eq(whole_life(&faulty->backend, bundle, precision), VR_OK, "%s", vr_error_text());
    const long calls = engine_faulty_calls();
    cr_assert_gt(calls, 100);
    for (long nth = 0; nth < calls; nth++) {
        engine_faulty_arm(nth);
        cr_assert_eq(whole_life(&faulty->backend, bundle, precision), VR_ERR_BACKEND, "fault %ld of %ld", nth, calls);
        cr_assert(strstr(vr_error_text(), "injected fault") != NULL);
    }
}

Test(engine, every_fault_of_the_backend_is_an_error_and_leaks_nothing, .timeout = 60)
{
    struct vr_bundle *bundle = engine_bundle("ple");
    struct vr_backend *cpu = NULL;
    struct engine_faulty faulty;
    cr_assert_eq(vr_backend_open("cpu", 1, &cpu), VR_OK);
    engine_faulty_make(&faulty, cpu);
    check_faults(&faulty, bundle, VR_PRECISION_F32);
    check_faults(&faulty, bundle, VR_PRECISION_F16);
    vr_backend_destroy(cpu);
    vr_bundle_close(bundle);
}

/* ---- no allocation after creation ---- */

/* AddressSanitizer's own hook counts every malloc of the process, libraries included. */
int __sanitizer_install_malloc_and_free_hooks(void (*on_malloc)(const volatile void *, size_t),
                                              void (*on_free)(const volatile void *)) __attribute__((weak));
static volatile unsigned long allocations;

static void count_malloc(const volatile void *block, size_t bytes)
{
    (void)block;
    (void)bytes;
    allocations++;
}

static void ignore_free(const volatile void *block)
{
    (void)block;
}

Test(engine, nothing_is_allocated_after_creation)
{
    if (__sanitizer_install_malloc_and_free_hooks == NULL) {
        cr_skip_test("skipped: allocations are counted under AddressSanitizer");
    }
    struct rig rig;
    struct vr_engine_user user[REQUESTS];
    struct vr_engine_rank rank[REQUESTS];
    struct vr_engine_retrieved found[REQUESTS];
    struct vr_engine_ranked scored[REQUESTS];
    struct vr_engine_found similar;
    rig_open(&rig, "ple", exact);
    make_batch(rig.engine, user, rank);
    cr_assert_gt(__sanitizer_install_malloc_and_free_hooks(count_malloc, ignore_free), 0);
    free(malloc(1));
    cr_assert_eq(allocations, 1, "the hook counts");
    enum vr_status status = vr_engine_retrieve(rig.slot, REQUESTS, user, ENGINE_SOON, found);
    status = status == VR_OK ? vr_engine_score(rig.slot, REQUESTS, rank, ENGINE_SOON, scored) : status;
    status = status == VR_OK ? vr_engine_similar(rig.slot, 1, 10, ENGINE_SOON, &similar) : status;
    const unsigned long counted = allocations;
    cr_assert_eq(status, VR_OK);
    cr_assert_eq(counted, 1, "%lu allocations in the calls", counted - 1);
    rig_close(&rig);
}
