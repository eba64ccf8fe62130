/* A dictionary of ids that many threads share: finding takes a read lock, a new id the write lock. */
#ifndef VIREO_STATE_ID_TABLE_H
#define VIREO_STATE_ID_TABLE_H

#include "vireo/arena.h"
#include "vireo/dict.h"

struct vr_id_table;

enum vr_status vr_id_table_create(struct vr_id_table **out); /* VR_ERR_NOMEM */
void vr_id_table_destroy(struct vr_id_table *table);         /* NULL is accepted */

/* As vr_dict_intern, vr_dict_find and vr_dict_count. */
enum vr_status vr_id_table_intern(struct vr_id_table *table, struct vr_str id, uint32_t *number);
uint32_t vr_id_table_find(struct vr_id_table *table, struct vr_str id);
uint32_t vr_id_table_count(struct vr_id_table *table);

/* An estimate: texts, and what a dictionary takes beside them. */
size_t vr_id_table_bytes(struct vr_id_table *table);

#endif
