/* The shared dictionary of id_table.h. Writers are preferred: new ids are rare, and a flood of readers must not keep
 * one out. */
#include "id_table.h"

#include <pthread.h>
#include <stdlib.h>

#define OVERHEAD_BYTES 20u /* of an id in the dictionary: an offset, and table slots of 8 bytes at half load */

struct vr_id_table {
    pthread_rwlock_t lock;
    struct vr_dict *dict;
    size_t text_bytes;
};

enum vr_status vr_id_table_create(struct vr_id_table **out)
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
    pthread_rwlockattr_t attributes;
    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&table->lock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    *out = table;
    return VR_OK;
}

uint32_t vr_id_table_find(struct vr_id_table *table, struct vr_str id)
{
    pthread_rwlock_rdlock(&table->lock);
    uint32_t number = vr_dict_find(table->dict, id);
    pthread_rwlock_unlock(&table->lock);
    return number;
}

enum vr_status vr_id_table_intern(struct vr_id_table *table, struct vr_str id, uint32_t *number)
{
    uint32_t known = vr_id_table_find(table, id);
    if (known != VR_DICT_NONE) {
        *number = known;
        return VR_OK;
    }
    pthread_rwlock_wrlock(&table->lock);
    uint32_t before = vr_dict_count(table->dict);
    enum vr_status status = vr_dict_intern(table->dict, id, number);
    if (vr_dict_count(table->dict) != before) {
        table->text_bytes += id.len;
    }
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

size_t vr_id_table_bytes(struct vr_id_table *table)
{
    pthread_rwlock_rdlock(&table->lock);
    size_t bytes = table->text_bytes + (size_t)vr_dict_count(table->dict) * OVERHEAD_BYTES;
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
