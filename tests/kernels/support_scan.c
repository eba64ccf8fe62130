/* See support_scan.h. */
#include "support_scan.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "kernels/emulator/emulator.h"
#include "support_left.h"
#include "vireo/backend_cuda.h"
#include "vireo/clock.h"

struct vr_backend *cuda;
const enum vr_index_kind scan_kinds[2] = {VR_INDEX_EXACT, VR_INDEX_EXACT_INT8};

void open_cuda(void)
{
    cr_assert_eq(vr_cuda_backend_open(1, &cuda), VR_OK, "%s", vr_error_text());
}

void close_cuda(void)
{
    vr_backend_destroy(cuda);
    must_leave_nothing();
}

void reopen_with_shared(struct vr_backend **backend, size_t bytes)
{
    vr_backend_destroy(*backend);
    vr_emulator_shared_limit(bytes);
    cr_assert_eq(vr_cuda_backend_open(1, backend), VR_OK, "%s", vr_error_text());
    (*backend)->device->seam.shared_bytes = bytes; /* a GPU has what it has: the launches keep within less */
}

void pair_open(struct pair *pair, const struct setting *setting)
{
    static struct vr_backend *cpu; /* for the process */
    if (cpu == NULL) {
        cr_assert_eq(vr_backend_open("cpu", 1, &cpu), VR_OK);
    }
    if (!__builtin_cpu_supports("fma") || !__builtin_cpu_supports("avx2")) {
        cr_skip("the CPU backend's sums are fused on processors with AVX2 only");
    }
    *pair = (struct pair){.setting = *setting};
    world_open(&pair->cuda, cuda, setting);
    struct setting exact = *setting;
    exact.kind = VR_INDEX_EXACT;
    world_open(&pair->cpu, cpu, &exact);
}

void pair_close(struct pair *pair)
{
    world_close(&pair->cuda);
    world_close(&pair->cpu);
}

static void compare_query(const struct pair *pair, uint32_t q)
{
    const uint32_t k = pair->setting.k;
    for (size_t i = (size_t)q * k; i < (size_t)(q + 1) * k; i++) {
        cr_assert_eq(pair->cuda.row[i], pair->cpu.row[i], "query %u place %zu: row %d, not %d (%.9g, not %.9g)", q,
                     i - (size_t)q * k, pair->cuda.row[i], pair->cpu.row[i], pair->cuda.score[i], pair->cpu.score[i]);
        cr_assert_eq(memcmp(&pair->cuda.score[i], &pair->cpu.score[i], sizeof(float)), 0,
                     "query %u row %d: score %.9g, not %.9g", q, pair->cuda.row[i], pair->cuda.score[i],
                     pair->cpu.score[i]);
    }
}

void pair_compare(struct pair *pair, const uint32_t *exclude_offset, const int32_t *exclude)
{
    const struct setting *s = &pair->setting;
    const enum vr_status status = search(&pair->cuda, s->queries, s->k, pair->cuda.query, exclude_offset, exclude);
    cr_assert_eq(status, VR_OK, "%s", vr_error_text());
    cr_assert_eq(search(&pair->cpu, s->queries, s->k, pair->cpu.query, exclude_offset, exclude), VR_OK);
    for (uint32_t q = 0; q < s->queries; q++) {
        compare_query(pair, q);
    }
}

void pair_sample(struct pair *pair, uint32_t slots)
{
    vr_scan_index_of(pair->cuda.index)->sample = slots;
}

struct vr_scan_counts pair_counts(struct pair *pair)
{
    struct vr_scan_counts now, since;
    cr_assert_eq(vr_scan_index_counts(cuda, pair->cuda.index, &now), VR_OK, "%s", vr_error_text());
    since = (struct vr_scan_counts){
        .whole = now.whole - pair->before.whole,
        .proved = now.proved - pair->before.proved,
        .overflowed = now.overflowed - pair->before.overflowed,
        .unproved = now.unproved - pair->before.unproved,
        .zeros = now.zeros - pair->before.zeros,
        .unbounded = now.unbounded - pair->before.unbounded,
        .noted = now.noted - pair->before.noted,
    };
    pair->before = now;
    return since;
}

void read_device(struct vr_stream *stream, const void *from, size_t bytes, void *out)
{
    void *staging = NULL;
    cr_assert_eq(vr_seam_memory_create(true, bytes, &staging), VR_OK);
    cr_assert_eq(vr_seam_copy(stream->seam, staging, from, bytes), VR_OK);
    cr_assert_eq(vr_stream_wait(cuda, stream, vr_clock_mono_us() + 50000000), VR_OK, "%s", vr_error_text());
    memcpy(out, staging, bytes);
    vr_seam_memory_destroy(true, staging);
}

int32_t *pair_rows_of_slots(const struct pair *pair)
{
    const size_t bytes = pair->setting.rows * sizeof(int32_t);
    int32_t *row = must_alloc(bytes);
    read_device(pair->cuda.rig.stream, vr_scan_index_of(pair->cuda.index)->vectors.row_of_slot, bytes, row);
    return row;
}

static void to_unit(float *vector, uint32_t dim)
{
    double squares = 1e-30;
    for (uint32_t i = 0; i < dim; i++) {
        squares += (double)vector[i] * vector[i];
    }
    for (uint32_t i = 0; i < dim; i++) {
        vector[i] = (float)(vector[i] / sqrt(squares));
    }
}

void shape_unit(struct world *w, const struct setting *s, struct dice *dice)
{
    (void)dice;
    for (size_t r = 0; r < s->rows; r++) {
        to_unit(w->vector + r * w->dim, w->dim);
    }
    for (size_t q = 0; q < s->queries; q++) {
        to_unit(w->query + q * w->dim, w->dim);
    }
}

void shape_clustered(struct world *w, const struct setting *s, struct dice *dice)
{
    float *centre = must_alloc((size_t)CENTRES * w->dim * sizeof *centre);
    dice_floats(dice, centre, (size_t)CENTRES * w->dim);
    for (size_t i = 0; i < (size_t)s->rows * w->dim; i++) {
        w->vector[i] = 0.4f * w->vector[i] + centre[i / w->dim % CENTRES * w->dim + i % w->dim];
    }
    for (size_t i = 0; i < (size_t)s->queries * w->dim; i++) {
        w->query[i] = 0.4f * w->query[i] + centre[i / w->dim * 7 % CENTRES * w->dim + i % w->dim];
    }
    free(centre);
    shape_unit(w, s, dice);
}

void pair_with_seeds(struct setting s, uint64_t first, uint64_t last, void (*check)(struct pair *pair))
{
    const bool turns = first < last && getenv("VIREO_LONG") == NULL; /* shortly, the codings take turns */
    for (unsigned kind = 0; kind < 2; kind++) {
        struct pair pair;
        bool opened = false;
        s.kind = scan_kinds[kind];
        for (uint64_t seed = first; seed <= last; seed++) {
            if (turns && seed % 2 != kind) {
                continue;
            }
            vr_emulator_seed(seed);
            if (!opened) {
                pair_open(&pair, &s);
                opened = true;
            }
            check(&pair);
        }
        if (opened) {
            pair_close(&pair);
        }
    }
}

void pair_each(struct setting s, void (*check)(struct pair *pair))
{
    pair_with_seeds(s, 1, SEEDS, check);
}

void pair_each_table(struct setting s, void (*check)(struct pair *pair))
{
    s.dtype = VR_TABLE_F16;
    pair_with_seeds(s, 1, 2, check);
    s.dtype = VR_TABLE_F32;
    pair_with_seeds(s, 3, 3, check);
    s.dtype = VR_TABLE_I8;
    pair_with_seeds(s, 4, 4, check);
}

struct setting pair_setting(uint32_t rows, uint32_t queries, uint32_t k,
                            void (*shape)(struct world *, const struct setting *, struct dice *))
{
    return (struct setting){.dtype = VR_TABLE_F16, .rows = rows, .queries = queries, .k = k, .dim = 32, .shape = shape};
}
