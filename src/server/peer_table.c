/* The table of peer_table.h: linear probing at half load at most; a removal moves the entries behind it up (Knuth,
 * volume 3, 6.4, algorithm R), so that there are no tombstones. */
#include "peer_table.h"

#include <stdlib.h>

#include "vireo/hash.h"

struct peer {
    uint64_t peer; /* 0: free */
    uint32_t count;
};

struct vr_peer_table {
    struct vr_hash_key key;
    size_t mask;
    struct peer entry[]; /* [mask + 1] */
};

enum vr_status vr_peer_table_create(uint32_t most, struct vr_peer_table **out)
{
    size_t entries = 16;
    while (entries < 2 * (size_t)most) {
        entries *= 2;
    }
    struct vr_peer_table *table = calloc(1, sizeof *table + entries * sizeof *table->entry);
    if (table == NULL) {
        return vr_fail(VR_ERR_NOMEM, "no memory for a table of %u addresses", most);
    }
    vr_hash_key_draw(&table->key);
    table->mask = entries - 1;
    *out = table;
    return VR_OK;
}

void vr_peer_table_destroy(struct vr_peer_table *table)
{
    free(table);
}

static size_t home_of(const struct vr_peer_table *table, uint64_t peer)
{
    return (size_t)vr_hash_keyed(&table->key, &peer, sizeof peer) & table->mask;
}

/* Where the peer is, or the free place where it would be. */
static size_t find(const struct vr_peer_table *table, uint64_t peer)
{
    size_t at = home_of(table, peer);
    while (table->entry[at].peer != 0 && table->entry[at].peer != peer) {
        at = (at + 1) & table->mask;
    }
    return at;
}

uint32_t vr_peer_table_add(struct vr_peer_table *table, uint64_t peer)
{
    struct peer *entry = &table->entry[find(table, peer)];
    entry->peer = peer;
    return ++entry->count;
}

uint32_t vr_peer_table_count(const struct vr_peer_table *table, uint64_t peer)
{
    return table->entry[find(table, peer)].count;
}

/* Free a place: whatever was pushed past it moves up. */
static void clear(struct vr_peer_table *table, size_t hole)
{
    for (size_t at = (hole + 1) & table->mask; table->entry[at].peer != 0; at = (at + 1) & table->mask) {
        size_t from_home = (at - home_of(table, table->entry[at].peer)) & table->mask;
        size_t from_hole = (at - hole) & table->mask;
        if (from_home >= from_hole) {
            table->entry[hole] = table->entry[at];
            hole = at;
        }
    }
    table->entry[hole] = (struct peer){0};
}

void vr_peer_table_drop(struct vr_peer_table *table, uint64_t peer)
{
    size_t at = find(table, peer);
    if (table->entry[at].count > 1) {
        table->entry[at].count--;
    } else if (table->entry[at].count == 1) {
        clear(table, at);
    }
}
