/* A dictionary of ids that many threads share: finding takes a read lock, a new id the write lock. It holds a stated
 * number of ids, so that strangers who invent them cannot fill the memory. */
#ifndef VIREO_STATE_ID_TABLE_H
#define VIREO_STATE_ID_TABLE_H

#include "vireo/arena.h"
#include "vireo/dict.h"

struct vr_id_table;

/* Room for at most `limit` ids; `what` they are is for messages, borrowed. VR_ERR_NOMEM. */
enum vr_status vr_id_table_create(uint32_t limit, const char *what, struct vr_id_table **out);
void vr_id_table_destroy(struct vr_id_table *table); /* NULL is accepted */

/* As vr_dict_intern, vr_dict_find, vr_dict_count and vr_dict_bytes; VR_ERR_BUSY for a new id at the limit. */
enum vr_status vr_id_table_intern(struct vr_id_table *table, struct vr_str id, uint32_t *number);
uint32_t vr_id_table_find(struct vr_id_table *table, struct vr_str id);
uint32_t vr_id_table_count(struct vr_id_table *table);
/* Copy the string of a number < vr_id_table_count, at most `capacity` bytes; its length. */
size_t vr_id_table_copy(struct vr_id_table *table, uint32_t number, char *out, size_t capacity);
size_t vr_id_table_bytes(struct vr_id_table *table);

#endif
