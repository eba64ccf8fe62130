/* CRC-32C (Castagnoli polynomial 0x1EDC6F41, reflected; RFC 3720, appendix B.4): the checksum of the event log's
 * records. By the processor's instruction where it has one, else by a table of sixteen. */
#ifndef VIREO_STATE_CRC32C_H
#define VIREO_STATE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

/* The checksum of `len` bytes behind those whose checksum is `crc`; 0 for none. */
uint32_t vr_crc32c(uint32_t crc, const void *data, size_t len);

/* The table's form, for tests. */
uint32_t vr_crc32c_plain(uint32_t crc, const void *data, size_t len);

#endif
