/* The append-only dictionary of vireo/dict.h: all strings end to end in one blob, number n at
 * [offset[n], offset[n + 1]); a table of power-of-two size with linear probing holds (hash, number), at most three
 * quarters full. Viewers' ids come from strangers, so the hash has a key of its own in each dictionary. Each growth is
 * done before anything is changed, so a failed intern leaves the dictionary as it was. */
#include "vireo/dict.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#include "vireo/hash.h"

#define NAME_MAX_BYTES 65535u
#define COUNT_MAX (UINT32_MAX - 1) /* numbers 0 .. 2^32 - 3, so that none is VR_DICT_NONE */

struct slot {
    uint32_t hash;   /* lower half; spares most string compares, and growth the hashing */
    uint32_t number; /* VR_DICT_NONE: free */
};

struct vr_dict {
    struct vr_hash_key key;
    struct slot *slot; /* [mask + 1]; 4 GiB of text hold fewer than 2^31 strings, so half a hash finds their places */
    size_t mask;
    uint32_t *offset; /* [count + 1], bytes into text */
    size_t offset_capacity;
    char *text;
    size_t text_capacity;
    uint32_t count;
};

static struct slot *slots_new(size_t size)
{
    if (size > SIZE_MAX / sizeof(struct slot)) {
        return NULL;
    }
    struct slot *slot = malloc(size * sizeof *slot);
    if (slot != NULL) {
        memset(slot, 0xff, size * sizeof *slot); /* VR_DICT_NONE is all ones */
    }
    return slot;
}

static enum vr_status no_memory(void)
{
    return vr_fail(VR_ERR_NOMEM, "dictionary: no memory");
}

enum vr_status vr_dict_create(uint32_t expected, struct vr_dict **out)
{
    struct vr_dict *dict = calloc(1, sizeof *dict);
    if (dict == NULL) {
        return no_memory();
    }
    vr_hash_key_draw(&dict->key);
    size_t size = 16;
    while (size / 4 * 3 < expected) {
        size *= 2;
    }
    dict->mask = size - 1;
    dict->offset_capacity = (size_t)expected + 2;
    dict->text_capacity = (size_t)expected * 8 + 64;
    dict->slot = slots_new(size);
    dict->offset = calloc(dict->offset_capacity, sizeof *dict->offset);
    dict->text = malloc(dict->text_capacity);
    if (dict->slot == NULL || dict->offset == NULL || dict->text == NULL) {
        vr_dict_destroy(dict);
        return no_memory();
    }
    *out = dict;
    return VR_OK;
}

struct vr_str vr_dict_name(const struct vr_dict *dict, uint32_t number)
{
    uint32_t begin = dict->offset[number];
    struct vr_str name = {dict->text + begin, dict->offset[number + 1] - begin};
    return name;
}

/* The slot that holds `id`, or the free one where it belongs. */
static struct slot *probe(const struct vr_dict *dict, struct vr_str id, uint32_t hash)
{
    for (size_t i = hash & dict->mask;; i = (i + 1) & dict->mask) {
        struct slot *slot = &dict->slot[i];
        if (slot->number == VR_DICT_NONE ||
            (slot->hash == hash && vr_str_equal(vr_dict_name(dict, slot->number), id))) {
            return slot;
        }
    }
}

static uint32_t hash_of(const struct vr_dict *dict, struct vr_str id)
{
    return (uint32_t)vr_hash_keyed(&dict->key, id.data, id.len);
}

uint32_t vr_dict_find(const struct vr_dict *dict, struct vr_str id)
{
    if (id.len == 0) {
        return VR_DICT_NONE;
    }
    return probe(dict, id, hash_of(dict, id))->number;
}

static bool grow_text(struct vr_dict *dict, size_t needed)
{
    if (needed <= dict->text_capacity) {
        return true;
    }
    size_t capacity = needed > dict->text_capacity * 2 ? needed : dict->text_capacity * 2;
    char *text = realloc(dict->text, capacity);
    if (text == NULL) {
        return false;
    }
    dict->text = text;
    dict->text_capacity = capacity;
    return true;
}

static bool grow_offsets(struct vr_dict *dict)
{
    if ((size_t)dict->count + 2 <= dict->offset_capacity) {
        return true;
    }
    size_t capacity = dict->offset_capacity * 2;
    uint32_t *offset = realloc(dict->offset, capacity * sizeof *offset);
    if (offset == NULL) {
        return false;
    }
    dict->offset = offset;
    dict->offset_capacity = capacity;
    return true;
}

/* Double the table when one more string would fill it past three quarters. The strings differ, so no compare. */
static bool grow_slots(struct vr_dict *dict)
{
    size_t size = dict->mask + 1;
    if ((size_t)dict->count + 1 <= size / 4 * 3) {
        return true;
    }
    struct slot *slot = slots_new(size * 2);
    if (slot == NULL) {
        return false;
    }
    size_t mask = size * 2 - 1;
    for (size_t old = 0; old < size; old++) {
        if (dict->slot[old].number == VR_DICT_NONE) {
            continue;
        }
        size_t i = dict->slot[old].hash & mask;
        while (slot[i].number != VR_DICT_NONE) {
            i = (i + 1) & mask;
        }
        slot[i] = dict->slot[old];
    }
    free(dict->slot);
    dict->slot = slot;
    dict->mask = mask;
    return true;
}

/* Append `id`, which is not there yet. */
static enum vr_status append(struct vr_dict *dict, struct vr_str id, uint32_t hash)
{
    uint32_t begin = dict->offset[dict->count];
    if (dict->count >= COUNT_MAX || id.len > UINT32_MAX - begin) {
        return vr_fail(VR_ERR_TOO_LARGE, "dictionary: full at %u strings", dict->count);
    }
    if (!grow_text(dict, begin + id.len) || !grow_offsets(dict) || !grow_slots(dict)) {
        return no_memory();
    }
    *probe(dict, id, hash) = (struct slot){hash, dict->count};
    memcpy(dict->text + begin, id.data, id.len);
    dict->count++;
    dict->offset[dict->count] = begin + (uint32_t)id.len;
    return VR_OK;
}

enum vr_status vr_dict_intern(struct vr_dict *dict, struct vr_str id, uint32_t *number)
{
    if (id.len == 0 || id.len > NAME_MAX_BYTES) {
        return vr_fail(VR_ERR_INVALID, "dictionary: an id of %zu bytes", id.len);
    }
    uint32_t hash = hash_of(dict, id);
    uint32_t found = probe(dict, id, hash)->number;
    if (found == VR_DICT_NONE) {
        enum vr_status status = append(dict, id, hash);
        if (status != VR_OK) {
            return status;
        }
        found = dict->count - 1;
    }
    *number = found;
    return VR_OK;
}

uint32_t vr_dict_count(const struct vr_dict *dict)
{
    return dict->count;
}

size_t vr_dict_bytes(const struct vr_dict *dict)
{
    return sizeof *dict + (dict->mask + 1) * sizeof *dict->slot + dict->offset_capacity * sizeof *dict->offset +
           dict->text_capacity;
}

void vr_dict_destroy(struct vr_dict *dict)
{
    if (dict == NULL) {
        return;
    }
    free(dict->slot);
    free(dict->offset);
    free(dict->text);
    free(dict);
}
