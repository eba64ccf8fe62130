/* Rows that are taken out of an index while it is searched, on any backend: what is left is found as if the others had
 * never been there. Functions fail the Criterion test that calls them. */
#ifndef VIREO_TESTS_COMPUTE_SUPPORT_REMOVAL_H
#define VIREO_TESTS_COMPUTE_SUPPORT_REMOVAL_H

#include "support_index.h"

#define REMOVAL_US 50000000u /* that a removal may take */

/* Take rows out, and let the checks expect it. */
void world_remove(struct world *w, const int32_t *row, uint32_t count);

/* How much is asked of the answers: of a graph only that they hold nothing that was removed. */
enum removal_check { REMOVAL_EXACT = 0, REMOVAL_SOUND };

/* Bad rows, the best rows of a query, random ones, repeated ones, all but a few, all; batches, with exclusions and
 * without, k above what is left. */
void check_removals(struct vr_backend *backend, enum vr_index_kind kind, enum removal_check check, uint64_t seed);

#endif
