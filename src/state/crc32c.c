/* The checksum of crc32c.h. */
#include "crc32c.h"

#include <string.h>

/* Remainders of the sixteen values of four bits, for the reflected polynomial 0x82F63B78. */
static const uint32_t remainder_of[16] = {
    0x00000000, 0x105ec76f, 0x20bd8ede, 0x30e349b1, 0x417b1dbc, 0x5125dad3, 0x61c69362, 0x7198540d,
    0x82f63b78, 0x92a8fc17, 0xa24bb5a6, 0xb21572c9, 0xc38d26c4, 0xd3d3e1ab, 0xe330a81a, 0xf36e6f75,
};

uint32_t vr_crc32c_plain(uint32_t crc, const void *data, size_t len)
{
    const unsigned char *byte = data;
    crc = ~crc;
    for (size_t i = 0; i < len; i++) {
        crc ^= byte[i];
        crc = crc >> 4 ^ remainder_of[crc & 15];
        crc = crc >> 4 ^ remainder_of[crc & 15];
    }
    return ~crc;
}

#ifdef __x86_64__

__attribute__((target("sse4.2"))) static uint32_t by_instruction(uint32_t crc, const void *data, size_t len)
{
    const unsigned char *byte = data;
    uint64_t sum = ~crc;
    for (; len >= 8; len -= 8, byte += 8) {
        unsigned long long word;
        memcpy(&word, byte, sizeof word);
        sum = __builtin_ia32_crc32di(sum, word);
    }
    uint32_t rest = (uint32_t)sum;
    for (; len > 0; len--, byte++) {
        rest = __builtin_ia32_crc32qi(rest, *byte);
    }
    return ~rest;
}

uint32_t vr_crc32c(uint32_t crc, const void *data, size_t len)
{
    return __builtin_cpu_supports("sse4.2") ? by_instruction(crc, data, len) : vr_crc32c_plain(crc, data, len);
}

#else

uint32_t vr_crc32c(uint32_t crc, const void *data, size_t len)
{
    return vr_crc32c_plain(crc, data, len);
}

#endif
