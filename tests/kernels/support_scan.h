/* The scan index of the CUDA backend against the CPU backend's exact scan, bit for bit: both add one chain of fused
 * multiply-adds (on processors with AVX2), so rows and scores must be the same even where scores are as near as floats
 * can be. A few queries are also held to plain search in float64. Functions fail the Criterion test that calls them. */
#ifndef VIREO_TESTS_KERNELS_SUPPORT_SCAN_H
#define VIREO_TESTS_KERNELS_SUPPORT_SCAN_H

#include "kernels/scan.h"
#include "support_index.h"

#define SEEDS 4u /* of the emulator's dice */

extern struct vr_backend *cuda;
void open_cuda(void);  /* a test's .init */
void close_cuda(void); /* its .fini: nothing is left in device memory */

/* `backend` becomes one whose device gives a block so much shared memory: compute capability 8.6 and 8.9 have 99
 * KiB, 8.0 has 163. */
#define SHARED_OF_86 (99u * 1024)
#define SHARED_OF_80 (163u * 1024)
void reopen_with_shared(struct vr_backend **backend, size_t bytes);

/* The same vectors and queries in both backends. */
struct pair {
    struct setting setting;
    struct world cuda, cpu;
    struct vr_scan_counts before; /* of pair_counts */
};

void pair_open(struct pair *pair, const struct setting *setting); /* setting->kind is the CUDA backend's */
void pair_close(struct pair *pair);

/* Search all queries in both; exclude_offset NULL: nothing is excluded. */
void pair_compare(struct pair *pair, const uint32_t *exclude_offset, const int32_t *exclude);

/* Take a smaller sample than an index of so few rows does, so that thresholds are tested without many rows. */
void pair_sample(struct pair *pair, uint32_t slots);

/* How queries were answered since the last call. */
struct vr_scan_counts pair_counts(struct pair *pair);

/* The row that each slot holds; the caller frees. */
int32_t *pair_rows_of_slots(const struct pair *pair);

/* Bytes of device memory. */
void read_device(struct vr_stream *stream, const void *from, size_t bytes, void *out);

/* Shapes of a setting: unit vectors without clusters; around `CENTRES` points; copies of a few. */
#define CENTRES 40u
void shape_unit(struct world *w, const struct setting *s, struct dice *dice);
void shape_clustered(struct world *w, const struct setting *s, struct dice *dice);

/* For each coding: an index, and `check` of it under some seeds, which leaves the pair as it may be checked again. */
void pair_with_seeds(struct setting s, uint64_t first, uint64_t last, void (*check)(struct pair *pair));
void pair_each(struct setting s, void (*check)(struct pair *pair)); /* under all seeds */
/* Each type of table under a seed of its own, and one under two. */
void pair_each_table(struct setting s, void (*check)(struct pair *pair));

/* Halves of 32 dimensions. */
struct setting pair_setting(uint32_t rows, uint32_t queries, uint32_t k,
                            void (*shape)(struct world *, const struct setting *, struct dice *));

#define SAMPLE 1024u /* slots, where a test makes it smaller than an index of its size has it */

/* Each pair of a coding and what it is called. */
extern const enum vr_index_kind scan_kinds[2];

#endif
