/* Append-only dictionary of id strings: string <-> number, numbers dense from 0 and never reused. It gives the state
 * store its video, viewer and creator numbers and the bundle its id lookups. Open addressing, strings in one blob;
 * nobody can choose strings that make it slow. One writer at a time; readers need the writer excluded (the owner's
 * lock, or an immutable snapshot). */
#ifndef VIREO_DICT_H
#define VIREO_DICT_H

#include <stdint.h>

#include "vireo/arena.h"
#include "vireo/status.h"

#ifdef __cplusplus
extern "C" {
#endif

#define VR_ID_MAX_BYTES 64u     /* longest id string of a request, docs/api.md */
#define VR_DICT_NONE UINT32_MAX /* "no such string" */

struct vr_dict;

/* Room for `expected` strings is reserved. The caller frees it with vr_dict_destroy. VR_ERR_NOMEM. */
enum vr_status vr_dict_create(uint32_t expected, struct vr_dict **out);

/* The number of `id`, adding it if it is new. VR_ERR_NOMEM, VR_ERR_INVALID (empty, or longer than 65,535 bytes),
 * VR_ERR_TOO_LARGE past 2^32 - 2 strings or 4 GiB of text. */
enum vr_status vr_dict_intern(struct vr_dict *dict, struct vr_str id, uint32_t *number);

/* The number of `id`, or VR_DICT_NONE. */
uint32_t vr_dict_find(const struct vr_dict *dict, struct vr_str id);

/* The string of a number < vr_dict_count; borrowed until the next intern or destroy. */
struct vr_str vr_dict_name(const struct vr_dict *dict, uint32_t number);

uint32_t vr_dict_count(const struct vr_dict *dict);

/* Bytes taken from the system. */
size_t vr_dict_bytes(const struct vr_dict *dict);

/* NULL is accepted. */
void vr_dict_destroy(struct vr_dict *dict);

#ifdef __cplusplus
}
#endif
#endif
