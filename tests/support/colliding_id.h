/* Ids that a stranger could make up from the source code: all of one vr_hash_bytes. For tests of what that costs. */
#ifndef VIREO_TESTS_COLLIDING_ID_H
#define VIREO_TESTS_COLLIDING_ID_H

#include <string.h>

#include "vireo/hash.h"

struct colliding_id {
    char byte[16];
};

/* After 8 bytes the hash's inner value is h(first); the second word cancels it out. h is taken from the source. */
static inline struct colliding_id colliding_id(uint64_t n)
{
    uint64_t x = 0x5669726564696374u ^ (16 * 0x9e3779b97f4a7c15u) ^ n;
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    x = (x ^ (x >> 31)) + 0x9e3779b97f4a7c15u;
    struct colliding_id id;
    memcpy(id.byte, &n, 8);
    memcpy(id.byte + 8, &x, 8);
    return id;
}

#endif
