/* The dictionary against a plain model: an array of strings searched linearly, and properties over many strings. */
#include "vireo/dict.h"

#include <stdio.h>
#include <stdlib.h>

#include <criterion/criterion.h>

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

/* Numbers are written down by others (log, shards), so the hash may not change between builds or machines. */
Test(dict, hash_spreads_and_is_fixed)
{
    enum { STRINGS = 100000, BUCKETS = 256 };
    static uint32_t low[BUCKETS];
    static uint32_t high[BUCKETS];
    for (uint32_t n = 0; n < STRINGS; n++) {
        char buffer[64];
        struct vr_str id = id_text(buffer, sizeof buffer, n);
        uint64_t hash = vr_hash_bytes(id.data, id.len);
        low[hash % BUCKETS]++;
        high[hash >> 56]++;
    }
    double chi_low = 0;
    double chi_high = 0;
    double expected = (double)STRINGS / BUCKETS;
    for (int i = 0; i < BUCKETS; i++) {
        chi_low += (low[i] - expected) * (low[i] - expected) / expected;
        chi_high += (high[i] - expected) * (high[i] - expected) / expected;
    }
    cr_assert_lt(chi_low, 360, "chi-squared %f of 255 degrees", chi_low); /* 1e-5 point */
    cr_assert_lt(chi_high, 360, "chi-squared %f of 255 degrees", chi_high);
    cr_assert_eq(vr_hash_bytes("", 0), 0x111cdd978dfa7f37u); /* as first printed; a change would break written data */
    cr_assert_eq(vr_hash_bytes("video-00001234", 14), 0x73bc219c9b91b3b7u);
    cr_assert_neq(vr_hash_bytes("a", 1), vr_hash_bytes("a\0", 2));
    cr_assert_neq(vr_hash_bytes("", 0), vr_hash_bytes("\0", 1));
}
