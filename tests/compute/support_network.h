/* A whole ranker of one level (experts, gates, towers of one output) through a backend's operations, in float32 or in
 * halves: the calls in the order in which a caller makes them. */
#ifndef VIREO_TESTS_COMPUTE_SUPPORT_NETWORK_H
#define VIREO_TESTS_COMPUTE_SUPPORT_NETWORK_H

#include "support_ops.h"

struct network {
    uint32_t requests, rows;         /* rows of all requests; row r belongs to request r % requests */
    uint32_t hoisted, own;           /* columns of a row that are its request's, and its own */
    uint32_t experts, hidden, width; /* hidden and width are multiples of 8 */
    uint32_t gates, tower;           /* a tower a gate; tower is a multiple of 8 */
};

/* heads [rows, gates], probabilities. The weights and inputs come from `seed` and are the same for both elements. */
void network_run(struct rig *rig, const struct network *network, enum vr_element element, uint64_t seed, float *heads);

#endif
