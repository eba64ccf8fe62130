/* The shared dictionary of id_table.h. Writers are preferred: new ids are rare, and a flood of readers must not keep
 * one out. */
#include "id_table.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

struct vr_id_table {
    pthread_rwlock_t lock;
    struct vr_dict *dict;
    uint32_t limit;
    const char *what;
};

enum vr_status vr_id_table_create(uint32_t limit, const char *what, struct vr_id_table **out)
{
    struct vr_id_table *table = calloc(1, sizeof *table);
    if (table == NULL) {
        return vr_fail(VR_ERR_NOMEM, "id table: no memory");
    }
    enum vr_status status = vr_dict_create(0, &table->dict);
    if (status != VR_OK) {
        free(table);
        return status;
    }
    table->limit = limit;
    table->what = what;
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&table->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    *out = table;
    return VR_OK;
}

/* The number of a known id, or VR_DICT_NONE, and whether a new one would find no place. */
static uint32_t find(struct vr_id_table *table, struct vr_str id, bool *full)
{
    pthread_rwlock_rdlock(&table->lock);
    uint32_t number = vr_dict_find(table->dict, id);
    *full = vr_dict_count(table->dict) >= table->limit;
    pthread_rwlock_unlock(&table->lock);
    return number;
}

uint32_t vr_id_table_find(struct vr_id_table *table, struct vr_str id)
{
    bool full;
    return find(table, id, &full);
}

static enum vr_status fail_full(const struct vr_id_table *table)
{
    return vr_fail(VR_ERR_BUSY, "full: %u %s are known, the most that may be", table->limit, table->what);
}

/* A new id that finds the table full is turned away under the read lock: a flood of them stops nobody. */
enum vr_status vr_id_table_intern(struct vr_id_table *table, struct vr_str id, uint32_t *number)
{
    bool full;
    uint32_t known = find(table, id, &full);
    if (known != VR_DICT_NONE) {
        *number = known;
        return VR_OK;
    }
    if (full) {
        return fail_full(table);
    }
    pthread_rwlock_wrlock(&table->lock);
    full = vr_dict_find(table->dict, id) == VR_DICT_NONE && vr_dict_count(table->dict) >= table->limit; /* by now */
    enum vr_status status = full ? fail_full(table) : vr_dict_intern(table->dict, id, number);
    pthread_rwlock_unlock(&table->lock);
    return status;
}

uint32_t vr_id_table_count(struct vr_id_table *table)
{
    pthread_rwlock_rdlock(&table->lock);
    uint32_t count = vr_dict_count(table->dict);
    pthread_rwlock_unlock(&table->lock);
    return count;
}

size_t vr_id_table_copy(struct vr_id_table *table, uint32_t number, char *out, size_t capacity)
{
    pthread_rwlock_rdlock(&table->lock);
    struct vr_str name = vr_dict_name(table->dict, number);
    memcpy(out, name.data, name.len < capacity ? name.len : capacity);
    pthread_rwlock_unlock(&table->lock);
    return name.len;
}

size_t vr_id_table_bytes(struct vr_id_table *table)
{
    pthread_rwlock_rdlock(&table->lock);
    size_t bytes = vr_dict_bytes(table->dict);
    pthread_rwlock_unlock(&table->lock);
    return bytes;
}

void vr_id_table_destroy(struct vr_id_table *table)
{
    if (table == NULL) {
        return;
    }
    pthread_rwlock_destroy(&table->lock);
    vr_dict_destroy(table->dict);
    free(table);
}
