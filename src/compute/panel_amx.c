/* bfloat16 and int8 panels by AMX (panels.h): 32 rows by one panel are four tiles of sums; a tile of x is 16 rows of 16
 * groups, a tile of weights 16 groups of 16 outputs. Sums go to memory once and are finished there by AVX-512. The
 * kernel saves tiles at every switch of threads while they are in use, so they are released at the end of a call. */
#include <cpuid.h>
#include <immintrin.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "i8_avx512.h"
#include "rows_avx512.h"

#define TARGET "avx512f,avx512bw,avx512vl,avx512dq,avx512bf16,amx-tile,amx-bf16,amx-int8"
#define AS_BF16(floats) ((__m256i)_mm512_cvtneps_pbh(floats))

#include "panel_finish_avx512.h"

#define TILE_ROWS 16u
#define ROW_BYTES 64u
#define BLOCK_ROWS 32u

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

/* Sums of up to 32 rows at x, more than 16 where `two`, and one panel; `codes` and `two` are constants. */
INLINE void sums_of(const char *x, size_t stride, const char *weight, uint32_t groups, bool codes, bool two,
                    int32_t sum[BLOCK_ROWS][VR_PANEL_LANES])
{
    _tile_zero(0);
    _tile_zero(1);
    if (two) {
        _tile_zero(2);
        _tile_zero(3);
    }
    for (size_t g = 0; g < groups; g += VR_PANEL_TILE_GROUPS) {
        _tile_loadd(4, x + g * VR_PANEL_GROUP, stride);
        load_weights(weight + g * PANEL_STRIDE);
        multiply_upper(codes);
        if (two) {
            _tile_loadd(5, x + TILE_ROWS * stride + g * VR_PANEL_GROUP, stride);
            multiply_lower(codes);
        }
    }
    _tile_stored(0, &sum[0][0], PANEL_STRIDE);
    _tile_stored(1, &sum[0][16], PANEL_STRIDE);
    if (two) {
        _tile_stored(2, &sum[TILE_ROWS][0], PANEL_STRIDE);
        _tile_stored(3, &sum[TILE_ROWS][16], PANEL_STRIDE);
    }
}

INLINE void finish_block(const struct vr_panel_product *p, uint32_t first, uint32_t rows, uint32_t lane, bool codes,
                         int32_t sum[BLOCK_ROWS][VR_PANEL_LANES])
{
    for (uint32_t r = 0; r < rows; r++) {
        for (uint32_t side = 0; side < VR_PANEL_LANES; side += 16) {
            const __m512i bits = _mm512_load_si512(&sum[r][side]);
            const __m512 value = codes ? as_floats(p, first + r, lane + side, bits) : _mm512_castsi512_ps(bits);
            finish(p, first + r, lane + side, value);
        }
    }
}

INLINE void multiply_rows(const struct vr_panel_product *p, uint32_t first, uint32_t rows, bool codes, bool two)
{
    const size_t panel_bytes = (size_t)p->groups * PANEL_STRIDE;
    const char *x = p->x + first * p->stride, *weight = p->weight;
    int32_t sum[BLOCK_ROWS][VR_PANEL_LANES] __attribute__((aligned(64)));
    for (uint32_t lane = 0; lane < p->out; lane += VR_PANEL_LANES, weight += panel_bytes) {
        sums_of(x, p->stride, weight, p->groups, codes, two, sum);
        finish_block(p, first, rows, lane, codes, sum);
    }
}

INLINE void multiply_all(const struct vr_panel_product *p, bool codes)
{
    for (uint32_t first = 0; first < p->rows; first += BLOCK_ROWS) {
        const uint32_t rows = p->rows - first < BLOCK_ROWS ? p->rows - first : BLOCK_ROWS;
        const bool two = rows > TILE_ROWS;
        configure(two ? TILE_ROWS : rows, two ? rows - TILE_ROWS : TILE_ROWS);
        if (two) {
            multiply_rows(p, first, rows, codes, true);
        } else {
            multiply_rows(p, first, rows, codes, false);
        }
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

const struct vr_panel_form vr_panel_bf16_amx = {"amx_bf16", true, 64, runs, take_bf16, multiply_bf16};
const struct vr_panel_form vr_panel_i8_amx = {"amx_int8", true, 64, runs, take_i8, multiply_i8};
