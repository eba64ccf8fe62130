/* bfloat16 and int8 panels by AMX (panels.h): 32 rows by one panel are four tiles of sums; a tile of x is 16 rows of 16
 * groups, a tile of weights 16 groups of 16 outputs. Sums go to memory once and are finished there by AVX-512. The
 * kernel saves tiles at every switch of threads while they are in use, so they are released at the end of a call. */
#include <cpuid.h>
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "rows_avx512.h"

#define TARGET "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16,amx-int8"
#define AS_BF16(floats) ((__m256i)_mm512_cvtneps_pbh(floats))

#include "panel_finish_avx512.h"

#define TILE_ROWS 16u
#define ROW_BYTES 64u
#define BLOCK_ROWS 32u
#define PIECE_LINES 4u /* of a later panel, fetched beside each step of tiles */

/* ---- the processor ---- */

#define ARCH_REQ_XCOMP_PERM 0x1023 /* Linux: arch/x86/include/uapi/asm/prctl.h */
#define XFEATURE_XTILEDATA 18

/* CPUID leaf 7: bit 22 amx-bf16, 24 amx-tile, 25 amx-int8. Tile registers are the process's only once it has asked:
 * the system may refuse, and threads that begin later have them too. */
static bool runs(void)
{
    uint32_t a = 0, b = 0, c = 0, d = 0;
    const uint32_t wanted = 1u << 22 | 1u << 24 | 1u << 25;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & wanted) == wanted &&
           __builtin_cpu_supports("avx512bf16") && __builtin_cpu_supports("avx512bw") &&
           __builtin_cpu_supports("avx512vl") && __builtin_cpu_supports("avx512dq") &&
           syscall(SYS_arch_prctl, ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA) == 0;
}

/* ---- tiles: 0 1 / 2 3 sums, 4 / 5 rows of x, 6 7 outputs of weights ---- */

struct tile_config {
    uint8_t palette, start_row, reserved[14];
    uint16_t row_bytes[16];
    uint8_t rows[16];
};

__attribute__((target(TARGET))) static void configure(uint32_t upper, uint32_t lower)
{
    struct tile_config config = {.palette = 1};
    const uint32_t rows[8] = {upper, upper, lower, lower, upper, lower, TILE_ROWS, TILE_ROWS};
    for (uint32_t t = 0; t < 8; t++) {
        config.row_bytes[t] = ROW_BYTES;
        config.rows[t] = (uint8_t)rows[t];
    }
    _tile_loadconfig(&config);
}

#define PANEL_STRIDE (VR_PANEL_LANES * VR_PANEL_GROUP)

INLINE void load_weights(const char *weight)
{
    _tile_loadd(6, weight, PANEL_STRIDE);
    _tile_loadd(7, weight + ROW_BYTES, PANEL_STRIDE);
}

INLINE void multiply_upper(bool codes)
{
    if (codes) {
        _tile_dpbusd(0, 4, 6);
        _tile_dpbusd(1, 4, 7);
    } else {
        _tile_dpbf16ps(0, 4, 6);
        _tile_dpbf16ps(1, 4, 7);
    }
}

INLINE void multiply_lower(bool codes)
{
    if (codes) {
        _tile_dpbusd(2, 5, 6);
        _tile_dpbusd(3, 5, 7);
    } else {
        _tile_dpbf16ps(2, 5, 6);
        _tile_dpbf16ps(3, 5, 7);
    }
}

/* Tiles 0 .. 3: sums of up to 32 rows at x, more than 16 where `two`, and one panel; `codes` and `two` are constants.
 * Meanwhile a piece of what is multiplied later is fetched: weights come from the third level, once. */
INLINE void add_up(const char *x, size_t stride, const char *weight, uint32_t groups, const char *later, bool codes,
                   bool two)
{
    _tile_zero(0);
    _tile_zero(1);
    if (two) {
        _tile_zero(2);
        _tile_zero(3);
    }
    for (size_t g = 0; g < groups; g += VR_PANEL_TILE_GROUPS, later += PIECE_LINES * ROW_BYTES) {
        _tile_loadd(4, x + g * VR_PANEL_GROUP, stride);
        load_weights(weight + g * PANEL_STRIDE);
        multiply_upper(codes);
        if (two) {
            _tile_loadd(5, x + TILE_ROWS * stride + g * VR_PANEL_GROUP, stride);
            multiply_lower(codes);
        }
        for (uint32_t line = 0; line < PIECE_LINES; line++) {
            _mm_prefetch(later + (size_t)line * ROW_BYTES, _MM_HINT_T1);
        }
    }
}

INLINE void store_sums(int32_t sum[BLOCK_ROWS][VR_PANEL_LANES], bool two)
{
    _tile_stored(0, &sum[0][0], PANEL_STRIDE);
    _tile_stored(1, &sum[0][16], PANEL_STRIDE);
    if (two) {
        _tile_stored(2, &sum[TILE_ROWS][0], PANEL_STRIDE);
        _tile_stored(3, &sum[TILE_ROWS][16], PANEL_STRIDE);
    }
}

/* Blocks of up to 32 rows from `first` on: a panel stays in the cache while they run over it. The tiles are configured
 * for all of them alike. The sums of one block are finished while the tiles work on the next one. */
INLINE void multiply_blocks(const struct vr_panel_product *p, uint32_t first, uint32_t end, bool codes, bool two)
{
    const size_t panel_bytes = (size_t)p->groups * PANEL_STRIDE;
    const size_t piece = (size_t)p->groups / VR_PANEL_TILE_GROUPS * PIECE_LINES * ROW_BYTES; /* of a block */
    const char *weight = p->weight;
    int32_t sum[BLOCK_ROWS][VR_PANEL_LANES] __attribute__((aligned(64)));
    uint32_t done_row = 0, done_rows = 0, done_lane = 0;
    for (uint32_t lane = 0; lane < p->out; lane += VR_PANEL_LANES, weight += panel_bytes) {
        const char *later = weight + panel_bytes;
        for (uint32_t r = first; r < end; r += BLOCK_ROWS, later += piece) {
            add_up(p->x + r * p->stride, p->stride, weight, p->groups, later, codes, two);
            finish_rows(p, done_row, done_rows, done_lane, VR_PANEL_LANES, &sum[0][0], codes);
            store_sums(sum, two);
            done_row = r;
            done_rows = end - r < BLOCK_ROWS ? end - r : BLOCK_ROWS;
            done_lane = lane;
        }
    }
    finish_rows(p, done_row, done_rows, done_lane, VR_PANEL_LANES, &sum[0][0], codes);
}

INLINE void multiply_all(const struct vr_panel_product *p, bool codes)
{
    const uint32_t whole = p->rows / BLOCK_ROWS * BLOCK_ROWS, rest = p->rows - whole;
    if (p->groups == 0) {
        finish_alone(p, codes);
        return;
    }
    if (whole > 0) {
        configure(TILE_ROWS, TILE_ROWS);
        multiply_blocks(p, 0, whole, codes, true);
    }
    if (rest > TILE_ROWS) {
        configure(TILE_ROWS, rest - TILE_ROWS);
        multiply_blocks(p, whole, p->rows, codes, true);
    } else if (rest > 0) {
        configure(rest, TILE_ROWS);
        multiply_blocks(p, whole, p->rows, codes, false);
    }
    _tile_release();
}

/* ---- forms ---- */

__attribute__((target(VR_AVX512))) static void take_bf16(const struct vr_panel_rows *rows)
{
    rows_take_bf16(rows);
}
__attribute__((target(VR_AVX512))) static void take_i8(const struct vr_panel_rows *rows)
{
    rows_take_i8(rows);
}
__attribute__((target(TARGET))) static void multiply_bf16(const struct vr_panel_product *product)
{
    multiply_all(product, false);
}
__attribute__((target(TARGET))) static void multiply_i8(const struct vr_panel_product *product)
{
    multiply_all(product, true);
}

const struct vr_panel_form vr_panel_bf16_amx = {"amx_bf16", true, runs, take_bf16, multiply_bf16};
const struct vr_panel_form vr_panel_i8_amx = {"amx_int8", true, runs, take_i8, multiply_i8};
