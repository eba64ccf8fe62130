/* Hashes of byte strings, two of them for two purposes. vr_hash_bytes is the same in every build and on every machine,
 * so that it may be written down and compared. Whoever knows it can also write down any number of strings that collide:
 * a table whose keys strangers choose uses vr_hash_keyed under a key of its own. */
#ifndef VIREO_HASH_H
#define VIREO_HASH_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* 64-bit hash (own mixing, fixed seed); of request ids, and for sharding. */
uint64_t vr_hash_bytes(const void *data, size_t len);

struct vr_hash_key {
    uint64_t half[2];
};

/* A key that nobody can guess, from the system's random numbers. */
void vr_hash_key_draw(struct vr_hash_key *key);

/* SipHash-2-4 (Aumasson and Bernstein, 2012): without the key, collisions cannot be found better than by chance. */
uint64_t vr_hash_keyed(const struct vr_hash_key *key, const void *data, size_t len);

#ifdef __cplusplus
}
#endif
#endif
