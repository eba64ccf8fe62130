/* The CUDA backend's searches in the emulator: what every exact kind passes, under several seeds of the emulator's
 * dice. Sizes and paths of the scan have tests of their own (test_scan*.c). */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "support_index.h"
#include "support_left.h"
#include "vireo/backend_cuda.h"

#define SEEDS 4u

static struct vr_backend *cuda;

static void open_cuda(void)
{
    cr_assert_eq(vr_cuda_backend_open(1, &cuda), VR_OK, "%s", vr_error_text());
}

static void close_cuda(void)
{
    vr_backend_destroy(cuda);
    must_leave_nothing();
}

TestSuite(index, .init = open_cuda, .fini = close_cuda);

/* The settings take turns with the seeds: the scan has tests of its own under all of them. */
static void check_kind(enum vr_index_kind kind)
{
    for (uint32_t seed = 1; seed <= SEEDS; seed++) {
        vr_emulator_seed(seed);
        check_some(cuda, kind, seed - 1, SEEDS);
    }
}

Test(index, exact)
{
    check_kind(VR_INDEX_EXACT);
}

Test(index, exact_int8)
{
    check_kind(VR_INDEX_EXACT_INT8);
}

/* A kind that the backend does not have is refused, and one that it has is not. */
Test(index, kinds)
{
    static const float vector[2] = {1.0f, 2.0f};
    for (int kind = VR_INDEX_EXACT; kind < (int)VR_INDEX_KINDS; kind++) {
        struct rig rig;
        struct vr_index *index = NULL;
        rig_open(&rig, cuda);
        struct vr_index_spec spec = {.config.kind = (enum vr_index_kind)kind, .rows = 2, .dim = 1};
        spec.vectors = (struct vr_table){rig_put(&rig, vector, sizeof vector), {NULL, 0}, 2, 1, VR_TABLE_F32};
        const bool own = kind == VR_INDEX_EXACT || kind == VR_INDEX_EXACT_INT8 || kind == VR_INDEX_IVF;
        const bool has = own || vr_index_kind_is_in(cuda->ops->unplanned, spec.config.kind);
        cr_assert_eq(has, vr_index_kind_is_in(cuda->ops->index_kinds, spec.config.kind));
        cr_assert_eq(cuda->ops->index_create(cuda, &spec, &index), has ? VR_OK : VR_ERR_UNSUPPORTED, "%d", kind);
        cuda->ops->index_destroy(index);
        rig_close(&rig);
    }
}

/* FAISS and cuVS, as far as the build has them (stand-ins in the emulator): order, scores and exclusions are right, and
 * most of the best are found among uniform vectors, the worst case for lists and codes. */
Test(index, outside_libraries)
{
    for (unsigned kind = 0; kind < VR_INDEX_KINDS; kind++) {
        if (!vr_index_kind_is_in(cuda->ops->unplanned, (enum vr_index_kind)kind)) {
            continue;
        }
        const struct setting s = {
            .kind = (enum vr_index_kind)kind, .dtype = VR_TABLE_F16, .rows = 3000, .queries = 4, .k = 50};
        struct world w = {0};
        uint32_t *offset = NULL, hits = 0;
        int32_t *exclude = exclusions(&s, 3, &offset);
        world_open(&w, cuda, &s);
        cr_assert_eq(search(&w, s.queries, s.k, w.query, offset, exclude), VR_OK, "%s", vr_error_text());
        for (uint32_t q = 0; q < s.queries; q++) {
            const uint32_t found = check_answer(&w, &s, q, offset, exclude);
            for (uint32_t i = 0; i < found; i++) {
                hits += clearly_above(&w, &s, q, dot64(&w, q, w.row[q * s.k + i]), offset, exclude) < s.k;
            }
        }
        cr_assert_gt(hits, s.queries * s.k / 2, "%s: %u", vr_index_kind_name(s.kind), hits);
        free(exclude);
        free(offset);
        world_close(&w);
    }
}

Test(index, odd_queries)
{
    check_odd_queries(cuda, VR_INDEX_EXACT);
}

Test(index, ties)
{
    check_ties(cuda, 9001);
}

/* A viewer without history asks with zeros: every score is 0, so the first rows that are not excluded are the answer,
 * with the scan's threshold (9,001 rows) and without (500). */
Test(index, zeros_find_the_first_rows)
{
    const uint32_t rows[] = {500, 9001};
    for (size_t i = 0; i < 2; i++) {
        const struct setting s = {
            .kind = VR_INDEX_EXACT, .dtype = VR_TABLE_F32, .rows = rows[i], .queries = 2, .k = 40};
        struct world w = {0};
        uint32_t *offset = NULL;
        int32_t *exclude = exclusions(&s, 3, &offset);
        world_open(&w, cuda, &s);
        memset(w.query, 0, (size_t)s.queries * DIM * sizeof(float));
        cr_assert_eq(search(&w, s.queries, s.k, w.query, offset, exclude), VR_OK, "%s", vr_error_text());
        for (uint32_t j = 0; j < s.k; j++) {
            cr_assert_eq(w.row[j], (int32_t)j);
            cr_assert_eq(w.row[s.k + j], (int32_t)(j / 2 * 3 + 1 + j % 2), "rows 0, 3, 6 .. are excluded");
            cr_assert_eq(w.score[j], 0.0f);
        }
        free(exclude);
        free(offset);
        world_close(&w);
    }
}
