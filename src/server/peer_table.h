/* How many connections each address has: an open-addressing table of fixed size, keyed by numbers that strangers
 * choose. Not safe for use from two threads at a time. */
#ifndef VIREO_SERVER_PEER_TABLE_H
#define VIREO_SERVER_PEER_TABLE_H

#include <stdint.h>

#include "vireo/status.h"

struct vr_peer_table;

/* Room for `most` connections at one time. The caller frees with vr_peer_table_destroy. VR_ERR_NOMEM. */
enum vr_status vr_peer_table_create(uint32_t most, struct vr_peer_table **out);
void vr_peer_table_destroy(struct vr_peer_table *table); /* NULL is accepted */

/* Count one more of `peer` (not 0) and return how many it has now; no more than `most` may be counted in all. */
uint32_t vr_peer_table_add(struct vr_peer_table *table, uint64_t peer);
/* One less of a counted peer; with the last one it is forgotten. */
void vr_peer_table_drop(struct vr_peer_table *table, uint64_t peer);
uint32_t vr_peer_table_count(const struct vr_peer_table *table, uint64_t peer);

#endif
