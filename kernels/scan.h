/* Exact search in one pass (scan*.cu): the index, the scratch of a search, and what the files share.
 *
 * A scan of all scores would write [queries, rows] floats and read them again to select. Instead:
 * - prepare: queries as codes, scaled by a power of two, with the bound of what coding costs (scan_query.cu)
 * - sample: scores of the first `sample` slots; slots are in random order, so they are a sample (scan.cu)
 * - threshold: the r-th best of each query's sample, less a margin in bounds (scan_threshold.cu)
 * - collect: scores of all slots; those at or above the threshold are noted (scan.cu)
 * - select: what was noted is scored again exactly, in float32, sorted, and its best k given out (scan_select.cu)
 * - safe: queries for which that is not provably the exact top k are scanned without a threshold (scan_safe.cu)
 *
 * Vectors are coded as halves (index "exact") or as int8 with one unit for all ("exact_int8"): half the memory traffic
 * at twice the mma rate, and a wider bound. Either way the answer is the exact top k of the table's own values, which
 * are kept beside the codes unless they are the codes (halves of a table of halves).
 * A table of int8 has a scale a row; its rows are coded anew with the one unit too. Its own bytes would make scores of
 * different rows no multiples of one number: a multiplication and a conversion for each score, and thresholds that are
 * not whole. What the coding loses is in the bound, and nothing is lost where all scales are the same and a value is
 * 127.
 *
 * Why it is exact: a slot that was not noted has an approximate score below the threshold T, so its true score is below
 * T + bound. If the k-th best true score among the noted is at least T + bound, no other slot belongs in the answer.
 * r is the smallest number with P(Binomial(k, sample / rows) >= r) < 1e-7: fewer than r of the true top k are in the
 * sample, then the r-th best of the sample is not above the k-th best of all. Overflow, ties in great number, queries
 * that are not finite, and the one case in ten million all end in the safe pass: slower, and right.
 *
 * Rows that are not finite: halves of one score NaN, which is always noted, and the exact score decides. int8 has no
 * such code: those rows, and rows so large that their squares leave float32, lie apart behind the others. They are not
 * scanned, and their true scores join what was noted for every query.
 *
 * Scores are one chain of fused multiply-adds in the order of the dimensions: the same bits in any batch, in either
 * coding, and the same as the CPU backend's exact scan on processors with AVX2 or AVX-512 (its plain C adds without
 * fusing and may differ in the last bits).
 *
 * Rows that are taken out of an index (scan_remove.cu) lose their slot's row number in device memory, which is looked
 * at where exclusions are: when a score is noted, and in the sample. So captured searches see it. */
#ifndef VIREO_KERNELS_SCAN_H
#define VIREO_KERNELS_SCAN_H

#include "device.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VR_SCAN_TILE 128u      /* slots of a tile */
#define VR_SCAN_QUERIES 128u   /* of one pass */
#define VR_SCAN_CAPACITY 8192u /* slots noted for a query */
#define VR_SCAN_SAMPLE 32768u  /* slots of the sample, at least */
#define VR_SCAN_K_MAX 1000u
#define VR_SCAN_DIM_MAX 256u

enum vr_scan_coding {
    VR_SCAN_F16 = 0, /* halves; the unit is 1 */
    VR_SCAN_S8,      /* whole numbers from -127 to 127, times the unit; sums are exact in int32 */
};

/* Coded vectors, tile after tile, each tile the image that shared memory holds: chunks of 16 bytes, chunk c of row r at
 * place c ^ swizzle(r) of the row, so that reading one chunk of 8 rows meets no bank twice. */
struct vr_scan_vectors {
    unsigned char *tile;  /* [tiles, VR_SCAN_TILE, row_bytes] */
    int32_t *row_of_slot; /* [rows + apart]; -1: no row, never one or no more */
    int32_t *slot_of_row; /* [the table's rows] */
    uint32_t rows, apart; /* slots that are scanned; behind them, slots without codes */
    uint32_t tiles;
    uint32_t dim, row_bytes; /* of a coded row with zeros behind: 64, 128, 256 or 512 */
    enum vr_scan_coding coding;
    float unit;                 /* a decoded value is code * unit */
    bool all_finite;            /* every row is, and rows are 0 .. rows - 1: queries of zeros need no scan */
    float largest_norm;         /* of a decoded row */
    float largest_residual;     /* norm of (row - decoded row) */
    struct vr_cuda_table exact; /* the vectors as they were given, for true scores; data NULL: the tiles are */
};

/* How queries were answered and how many rows removed, since the index was made; in device memory, added to by every
 * search. */
struct vr_scan_counts {
    unsigned long long whole;      /* all that was not excluded was noted: no threshold, or few rows left */
    unsigned long long proved;     /* by the threshold */
    unsigned long long overflowed; /* safe pass: more than VR_SCAN_CAPACITY slots, with those apart, to be scored */
    unsigned long long unproved;   /* safe pass: the k-th best was too near the threshold, or missing */
    unsigned long long zeros;      /* a query of zeros: the first rows */
    unsigned long long unbounded;  /* safe pass: the query is not finite, or zeros and rows are not finite */
    unsigned long long noted;      /* slots, of the queries that were not unbounded */
    unsigned long long removed;    /* rows, from the index */
};

struct vr_scan_index {
    struct vr_scan_vectors vectors;
    struct vr_scan_counts *counts;
    uint32_t sample; /* slots, a multiple of VR_SCAN_TILE or `rows`; 0: no more rows than can be noted, no threshold */
};

/* One query of a pass, made by prepare. Scores of codes are true scores * scale. */
struct vr_scan_query {
    float scale;     /* a power of two / the units of query and vectors */
    float bound;     /* of |approximate - true| score, both scaled */
    float threshold; /* scaled; -infinity: everything is noted */
    uint32_t noted;  /* slots found at or above the threshold, also past the capacity */
    uint32_t unsafe; /* 1: the safe pass has to answer */
    uint32_t zeros;  /* 1: the query is zeros, and all_finite: no scan is needed */
};

/* Exclusions of a search; offset NULL: none. What lies past `bound` is not read. */
struct vr_scan_exclude {
    const uint32_t *offset; /* [queries + 1] */
    const int32_t *row;     /* [offset[queries]], ascending in each query */
    uint32_t bound;         /* of elements in row */
};

/* A pass over up to VR_SCAN_QUERIES queries, passed to kernels by value. */
struct vr_scan_pass {
    struct vr_scan_vectors vectors;
    struct vr_scan_exclude exclude;
    uint32_t first, queries, k, sample, rank; /* first: of the pass in the search */
    const float *query;                       /* [queries, dim] of this pass */
    int32_t *row;                             /* [queries, k] of this pass */
    float *score;                             /* [queries, k] */
    unsigned char *code;                      /* [VR_SCAN_QUERIES, row_bytes] */
    struct vr_scan_query *state;              /* [VR_SCAN_QUERIES] */
    float *sampled;                           /* [VR_SCAN_QUERIES, sample] */
    uint32_t *noted;                          /* [VR_SCAN_QUERIES, VR_SCAN_CAPACITY] slots */
    uint64_t *part;                           /* [VR_SCAN_QUERIES, VR_SCAN_CAPACITY] keys of the safe pass */
    struct vr_scan_counts *counts;
};

/* Each puts its kernels on the stream. */
enum vr_status vr_scan_prepare(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_sample(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_threshold(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_collect(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_select(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_safe(struct vr_stream *stream, const struct vr_scan_pass *pass);
enum vr_status vr_scan_safe_merge(struct vr_stream *stream, const struct vr_scan_pass *pass); /* its second half */

/* Rows of the table, row [count] of the host, out of the index. */
enum vr_status vr_scan_remove(struct vr_stream *stream, const struct vr_scan_vectors *vectors,
                              struct vr_scan_counts *counts, const int32_t *row, uint32_t count);

/* Let the kernels have the shared memory that they ask for, of at most `most` bytes a block; once, before the first
 * search. */
enum vr_status vr_scan_tiles_allow_shared(size_t most);
enum vr_status vr_scan_select_allow_shared(size_t most);
enum vr_status vr_scan_safe_allow_shared(size_t most);

/* What the build finds, in device memory, zeroed before: bits of floats that are not negative, which rise with them. */
struct vr_scan_found {
    uint32_t largest;  /* value, VR_SCAN_S8 only: of the rows that are scanned */
    uint32_t apart;    /* rows, VR_SCAN_S8 only: a number */
    uint32_t unit;     /* of the coding */
    uint32_t norm;     /* squared, see vr_scan_vectors */
    uint32_t residual; /* squared */
    uint32_t odd;      /* 1: a row is not finite */
};

/* Before a build of VR_SCAN_S8: found->largest and apart over rows 0 .. vectors->rows - 1 of a table, and the numbers
 * of the rows that have to lie apart in list [rows], in any order. */
enum vr_status vr_scan_survey(struct vr_stream *stream, const struct vr_scan_vectors *vectors,
                              const struct vr_cuda_table *table, struct vr_scan_found *found, int32_t *list);

/* Fill vectors->tile and slot_of_row from a table by row_of_slot. */
enum vr_status vr_scan_build(struct vr_stream *stream, const struct vr_scan_vectors *vectors,
                             const struct vr_cuda_table *table, struct vr_scan_found *found);

/* The state of an index of this file's kinds, and its counts; the latter waits for a copy from the device. */
struct vr_scan_index *vr_scan_index_of(const struct vr_index *index);
enum vr_status vr_scan_index_counts(struct vr_backend *backend, const struct vr_index *index,
                                    struct vr_scan_counts *out);

/* Slots of the sample of an index: one in 128, so that 8,192 hold what reaches the threshold for k up to 1,000
 * (tests/kernels/test_scan_rank.c), and at least VR_SCAN_SAMPLE; 0 where all slots can be noted. */
uint32_t vr_scan_sample_of(uint32_t rows);

/* r of the threshold, see above. */
uint32_t vr_scan_rank(uint32_t rows, uint32_t sample, uint32_t k);

/* For whoever builds vr_scan_vectors (scan_index.c): bytes of a coded row; the rows 0 .. rows - 1 in random order, the
 * same for the same number of rows; the table as it is where codes are not (else *copy stays), as the caller of
 * index_create keeps its own; what the build found. vr_scan_free_table frees a copy, a failed one and a zeroed one too.
 */
uint32_t vr_scan_row_bytes(uint32_t dim, enum vr_scan_coding coding);
void vr_scan_shuffle(int32_t *row, uint32_t rows);
enum vr_status vr_scan_copy_table(struct vr_stream *stream, const struct vr_cuda_table *table,
                                  enum vr_scan_coding coding, struct vr_cuda_table *copy);
void vr_scan_free_table(struct vr_cuda_table *copy);
uint64_t vr_scan_table_bytes(const struct vr_index_spec *spec, enum vr_scan_coding coding); /* of such a copy */
void vr_scan_take_found(struct vr_scan_vectors *vectors, const struct vr_scan_found *found);

#ifdef __cplusplus
}
#endif
#endif
