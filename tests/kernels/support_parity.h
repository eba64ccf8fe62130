/* The parity table that `make test` prints (tests/harness/parity.py): how far the kernels were from their reference,
 * operation by operation. A row is written once a comparison has passed, to the file that VIREO_PARITY names; without
 * it, as where a test is run by hand, nothing is written. */
#ifndef VIREO_TESTS_KERNELS_SUPPORT_PARITY_H
#define VIREO_TESTS_KERNELS_SUPPORT_PARITY_H

#include "support_ops.h"

/* `cases` comparisons under `seed`; `error`: the worst difference, in bounds; `bound`: in words. One write, so rows of
 * several processes stand whole. Fails the Criterion test where the file cannot be written. */
void parity_row(const char *operation, uint32_t cases, uint64_t seed, double error, const char *bound);

/* The same bits as the reference: the error is 0, the bound too. */
void parity_same_bits(const char *operation, uint32_t cases, uint64_t seed);

/* The rows of vr_ops_check; `engine` stands behind the operations' names ("" or " (library)"). */
void parity_ops(const struct op_report report[OP_COUNT], const char *engine, uint64_t seed);

#endif
