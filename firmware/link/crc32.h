/* crc32.h -- CRC-32 (IEEE 802.3, reflected, as in zlib). */
#ifndef LINK_CRC32_H
#define LINK_CRC32_H

#include <stddef.h>
#include <stdint.h>

/* CRC of n bytes that follow bytes with the CRC `crc`; 0 for none. Two table look-ups a byte. */
uint32_t crc32_update(uint32_t crc, const uint8_t *bytes, size_t n);

#endif
