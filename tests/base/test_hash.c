/* The fixed hash: spread, and values that stay. The keyed hash: the authors' test vectors, and keys that differ. */
#include "vireo/hash.h"

#include <stdio.h>

#include <criterion/criterion.h>

#include "../support/colliding_id.h"

/* Numbers are written down by others (log, shards), so the hash may not change between builds or machines. */
Test(hash, fixed_one_spreads_and_stays)
{
    enum { STRINGS = 100000, BUCKETS = 256 };
    static uint32_t low[BUCKETS];
    static uint32_t high[BUCKETS];
    for (uint32_t n = 0; n < STRINGS; n++) {
        char id[64];
        int len = snprintf(id, sizeof id, n % 3 == 0 ? "%u" : "video-%08x", n);
        uint64_t hash = vr_hash_bytes(id, (size_t)len);
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

/* Key 00 01 .. 0f and message 00 01 .. of n bytes: the paper's appendix has the one of 15 bytes; all are what OpenSSL
 * 3.0 prints (openssl mac -macopt hexkey:000102030405060708090a0b0c0d0e0f -macopt size:8 SIPHASH), read as numbers. */
Test(hash, keyed_one_is_siphash_2_4)
{
    static const struct {
        size_t len;
        uint64_t hash;
    } vectors[] = {
        {0, 0x726fdb47dd0e0e31u},  {1, 0x74f839c593dc67fdu},  {7, 0xab0200f58b01d137u},  {8, 0x93f5f5799a932462u},
        {15, 0xa129ca6149be45e5u}, {16, 0x3f2acc7f57c29bdbu}, {63, 0x958a324ceb064572u},
    };
    const struct vr_hash_key key = {{0x0706050403020100u, 0x0f0e0d0c0b0a0908u}};
    unsigned char message[64];
    for (unsigned i = 0; i < sizeof message; i++) {
        message[i] = (unsigned char)i;
    }
    for (size_t i = 0; i < sizeof vectors / sizeof *vectors; i++) {
        cr_assert_eq(vr_hash_keyed(&key, message, vectors[i].len), vectors[i].hash, "%zu bytes", vectors[i].len);
    }
}

Test(hash, drawn_keys_differ_and_part_colliding_strings)
{
    struct vr_hash_key key, other;
    vr_hash_key_draw(&key);
    vr_hash_key_draw(&other);
    struct colliding_id a = colliding_id(1), b = colliding_id(2);
    cr_assert_eq(vr_hash_bytes(a.byte, 16), vr_hash_bytes(b.byte, 16));
    cr_assert_neq(vr_hash_keyed(&key, a.byte, 16), vr_hash_keyed(&key, b.byte, 16)); /* but once in 2^64 */
    cr_assert_neq(vr_hash_keyed(&key, a.byte, 16), vr_hash_keyed(&other, a.byte, 16));
}
