/* The two hashes of vireo/hash.h. Both read their input as little-endian words of 8 bytes and a shorter tail. */
#include "vireo/hash.h"

#include <sys/random.h>

#include "vireo/clock.h"

/* Up to 8 bytes as a little-endian number. */
static uint64_t word_of(const unsigned char *byte, size_t len)
{
    uint64_t word = 0;
    for (size_t i = 0; i < len; i++) {
        word |= (uint64_t)byte[i] << (8 * i);
    }
    return word;
}

/* ---- fixed ---- */

/* The multiply-and-shift rounds of the SplitMix64 finaliser (Steele, Lea, Flood, 2014). */
static uint64_t mix(uint64_t x)
{
    x ^= x >> 30;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 27;
    x *= 0x94d049bb133111ebu;
    return x ^ (x >> 31);
}

uint64_t vr_hash_bytes(const void *data, size_t len)
{
    const unsigned char *byte = data;
    uint64_t hash = 0x5669726564696374u ^ ((uint64_t)len * 0x9e3779b97f4a7c15u);
    for (; len >= 8; len -= 8, byte += 8) {
        hash = mix(hash ^ word_of(byte, 8)) + 0x9e3779b97f4a7c15u;
    }
    return mix(hash ^ word_of(byte, len));
}

/* ---- keyed ---- */

/* getrandom fails only where a sandbox forbids it; two clocks and an address are then the best there is. */
void vr_hash_key_draw(struct vr_hash_key *key)
{
    if (getrandom(key, sizeof *key, 0) != (ssize_t)sizeof *key) {
        key->half[0] = mix(vr_clock_mono_us() ^ (uint64_t)(uintptr_t)key);
        key->half[1] = mix((uint64_t)vr_clock_wall_ms() + key->half[0]);
    }
}

static uint64_t rotate(uint64_t x, unsigned bits)
{
    return x << bits | x >> (64 - bits);
}

static void sip_rounds(uint64_t v[4], unsigned rounds)
{
    for (unsigned i = 0; i < rounds; i++) {
        v[0] += v[1];
        v[2] += v[3];
        v[1] = rotate(v[1], 13) ^ v[0];
        v[3] = rotate(v[3], 16) ^ v[2];
        v[0] = rotate(v[0], 32);
        v[2] += v[1];
        v[0] += v[3];
        v[1] = rotate(v[1], 17) ^ v[2];
        v[3] = rotate(v[3], 21) ^ v[0];
        v[2] = rotate(v[2], 32);
    }
}

static void sip_word(uint64_t v[4], uint64_t word)
{
    v[3] ^= word;
    sip_rounds(v, 2);
    v[0] ^= word;
}

uint64_t vr_hash_keyed(const struct vr_hash_key *key, const void *data, size_t len)
{
    const unsigned char *byte = data;
    uint64_t v[4] = {
        key->half[0] ^ 0x736f6d6570736575u,
        key->half[1] ^ 0x646f72616e646f6du,
        key->half[0] ^ 0x6c7967656e657261u,
        key->half[1] ^ 0x7465646279746573u,
    };
    size_t left = len;
    for (; left >= 8; left -= 8, byte += 8) {
        sip_word(v, word_of(byte, 8));
    }
    sip_word(v, word_of(byte, left) | (uint64_t)len << 56);
    v[2] ^= 0xff;
    sip_rounds(v, 4);
    return v[0] ^ v[1] ^ v[2] ^ v[3];
}
