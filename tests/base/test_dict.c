/* The dictionary against a plain model: an array of strings searched linearly, and properties over many strings. */
#include "vireo/dict.h"

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

#include "../support/colliding_id.h"

static struct vr_dict *make(uint32_t expected)
{
    struct vr_dict *dict = NULL;
    cr_assert_eq(vr_dict_create(expected, &dict), VR_OK);
    return dict;
}

static struct vr_str id_text(char *buffer, size_t size, uint32_t number)
{
    struct vr_str id = {buffer, 0};
    id.len = (size_t)snprintf(buffer, size, number % 3 == 0 ? "%u" : "video-%08x", number);
    return id;
}

static void check_many(uint32_t expected, uint32_t count)
{
    struct vr_dict *dict = make(expected);
    char buffer[64];
    for (uint32_t n = 0; n < count; n++) {
        uint32_t number = VR_DICT_NONE;
        struct vr_str id = id_text(buffer, sizeof buffer, n);
        cr_assert_eq(vr_dict_find(dict, id), VR_DICT_NONE);
        cr_assert_eq(vr_dict_intern(dict, id, &number), VR_OK);
        cr_assert_eq(number, n);
    }
    cr_assert_eq(vr_dict_count(dict), count);
    for (uint32_t n = 0; n < count; n++) {
        uint32_t number = VR_DICT_NONE;
        struct vr_str id = id_text(buffer, sizeof buffer, n);
        cr_assert_eq(vr_dict_find(dict, id), n);
        cr_assert_eq(vr_dict_intern(dict, id, &number), VR_OK);
        cr_assert_eq(number, n);
        cr_assert(vr_str_equal(vr_dict_name(dict, n), id));
    }
    cr_assert_eq(vr_dict_count(dict), count);
    vr_dict_destroy(dict);
}

Test(dict, numbers_are_dense_and_stay)
{
    check_many(0, 50000);
    check_many(1000, 1000);
    check_many(100, 3);
}

Test(dict, any_bytes_are_an_id)
{
    struct vr_dict *dict = make(0);
    struct vr_str ids[] = {{"a\0b", 3}, {"a", 1}, {"a\0", 2}, {"\xff\xfe", 2}, {" a", 2}, {"\0", 1}};
    uint32_t number;
    for (uint32_t i = 0; i < 6; i++) {
        cr_assert_eq(vr_dict_intern(dict, ids[i], &number), VR_OK);
        cr_assert_eq(number, i);
    }
    for (uint32_t i = 0; i < 6; i++) {
        cr_assert_eq(vr_dict_find(dict, ids[i]), i);
    }
    vr_dict_destroy(dict);
}

Test(dict, empty_and_huge_ids_are_refused)
{
    struct vr_dict *dict = make(0);
    uint32_t number = 42;
    char *text = calloc(1, 65536);
    struct vr_str id = {text, 0};
    cr_assert_eq(vr_dict_intern(dict, id, &number), VR_ERR_INVALID);
    cr_assert_eq(vr_dict_find(dict, id), VR_DICT_NONE);
    id.len = 65536;
    cr_assert_eq(vr_dict_intern(dict, id, &number), VR_ERR_INVALID);
    cr_assert_eq(number, 42);
    id.len = 65535;
    cr_assert_eq(vr_dict_intern(dict, id, &number), VR_OK);
    cr_assert_eq(number, 0);
    cr_assert_eq(vr_dict_name(dict, 0).len, 65535);
    free(text);
    vr_dict_destroy(dict);
    vr_dict_destroy(NULL);
}

/* Strings of 16 bytes that vr_hash_bytes sends to one value: undo its first round. A dictionary that used it would
 * compare 200,000 * 100,000 strings here and meet the test's time limit. */
Test(dict, strings_made_to_collide_are_as_quick_as_others)
{
    enum { STRINGS = 200000 };
    struct vr_dict *dict = make(0);
    struct colliding_id id = colliding_id(0);
    const uint64_t hash = vr_hash_bytes(id.byte, sizeof id.byte);
    for (uint32_t n = 0; n < STRINGS; n++) {
        uint32_t number = VR_DICT_NONE;
        id = colliding_id(n);
        cr_assert_eq(vr_hash_bytes(id.byte, sizeof id.byte), hash);
        cr_assert_eq(vr_dict_intern(dict, (struct vr_str){id.byte, sizeof id.byte}, &number), VR_OK);
        cr_assert_eq(number, n);
    }
    vr_dict_destroy(dict);
}

Test(dict, bytes_cover_what_is_held)
{
    struct vr_dict *dict = make(0);
    size_t empty = vr_dict_bytes(dict);
    char buffer[64];
    for (uint32_t n = 0, number; n < 10000; n++) {
        cr_assert_eq(vr_dict_intern(dict, id_text(buffer, sizeof buffer, n), &number), VR_OK);
    }
    cr_assert_geq(vr_dict_bytes(dict) - empty, 10000 * (4 + 8 + 5)); /* an offset, a slot, and the text */
    cr_assert_leq(vr_dict_bytes(dict), 10000 * 100);
    vr_dict_destroy(dict);
}
