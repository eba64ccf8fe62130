/* The engine with indexes of outside libraries (stand-ins, tests/libraries/standin.h) in the emulator: its retrieve
 * step runs without a plan and gives the exact index's answers. The demo bundle, as small ones need no library. */
#include <criterion/criterion.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "kernels/seam.h"
#include "support_engine.h"
#include "tests/libraries/standin.h"
#include "vireo/backend_cuda.h"

#define REQUESTS 3u
#define K 20u
#define EXCLUDED 4000u

static struct engine_case cases[REQUESTS];
static int32_t excluded[EXCLUDED]; /* every fifth row: among the best of everybody */

struct answers {
    int32_t row[REQUESTS][2][K];
    float score[REQUESTS][2][K];
    uint32_t count[REQUESTS][2];
};

static void keep(const struct vr_engine_found *found, uint32_t r, uint32_t which, struct answers *out)
{
    out->count[r][which] = found->count;
    memcpy(out->row[r][which], found->row, found->count * sizeof *found->row);
    memcpy(out->score[r][which], found->score, found->count * sizeof *found->score);
}

/* Batches of `count` from what the slot was made for; how many graphs were launched. */
static uint64_t retrieve(struct vr_engine_slot *slot, const struct vr_engine_user *user, uint32_t count,
                         struct answers *out)
{
    struct vr_engine_retrieved found[REQUESTS];
    const uint64_t graphs = vr_seam_calls(VR_SEAM_GRAPH), memory = vr_seam_calls(VR_SEAM_MEMORY);
    cr_assert_eq(vr_engine_retrieve(slot, count, user, ENGINE_SOON, found), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_seam_calls(VR_SEAM_MEMORY), memory, "nothing is taken");
    for (uint32_t r = 0; r < count; r++) {
        keep(&found[r].tower, r, 0, out);
        keep(&found[r].content, r, 1, out);
    }
    return vr_seam_calls(VR_SEAM_GRAPH) - graphs;
}

/* The answers of all requests, and of the first two again. */
static void answers_of(struct vr_bundle *bundle, enum vr_index_kind kind, struct answers *all, struct answers *two)
{
    struct vr_backend *cuda = NULL;
    struct vr_engine *engine = NULL;
    struct vr_engine_slot *slot = NULL;
    struct vr_engine_user user[REQUESTS];
    const struct vr_index_config index = {kind, 32, 256, 0, 32};
    cr_assert_eq(vr_cuda_backend_open(1, &cuda), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_engine_create(cuda, bundle, &index, &engine), VR_OK, "%s", vr_error_text());
    cr_assert_eq(vr_engine_slot_create(engine, REQUESTS, 4, K, &slot), VR_OK, "%s", vr_error_text());
    for (uint32_t r = 0; r < REQUESTS; r++) {
        engine_case_make(engine, r + 1, 1, false, &cases[r]);
        user[r] = engine_case_user(&cases[r], K, K);
        user[r].exclude = excluded;
        user[r].exclude_count = r == 1 ? 0 : EXCLUDED;
    }
    const uint64_t plans = kind == VR_INDEX_EXACT ? 1 : 0;
    cr_assert_eq(retrieve(slot, user, REQUESTS, all), plans);
    cr_assert_eq(retrieve(slot, user, 2, two), plans);
    struct vr_engine_found similar;
    cr_assert_eq(vr_engine_similar(slot, 4, K, ENGINE_SOON, &similar), VR_OK, "%s", vr_error_text());
    cr_assert_gt(similar.count, 0);
    vr_engine_slot_destroy(slot);
    vr_engine_destroy(engine);
    vr_backend_destroy(cuda);
    cr_assert_eq(vr_emulator_memory_used(), 0);
    cr_assert_eq(standin_alive(), 0);
}

Test(engine_libraries, answers_without_a_plan)
{
    static const enum vr_index_kind kinds[] = {VR_INDEX_FAISS_GPU_IVFPQ, VR_INDEX_CUVS_CAGRA};
    static struct answers want[2], got[2];
    for (uint32_t i = 0; i < EXCLUDED; i++) {
        excluded[i] = (int32_t)i * 5;
    }
    struct vr_bundle *bundle = NULL;
    cr_assert_eq(vr_bundle_open(VIREO_SOURCE_DIR "/models/demo", &bundle), VR_OK, "%s", vr_error_text());
    answers_of(bundle, VR_INDEX_EXACT, &want[0], &want[1]);
    cr_assert_gt(want[0].count[0][0] + want[0].count[0][1], K / 2);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        memset(got, 0, sizeof got);
        answers_of(bundle, kinds[i], &got[0], &got[1]);
        cr_assert_eq(memcmp(got, want, sizeof got), 0, "%s", vr_index_kind_name(kinds[i]));
    }
    cr_assert_gt(standin_searches(), 0);
    vr_bundle_close(bundle);
}
