/* The header of a saved state, little endian; floats follow as the processor keeps them, which must be little endian. */
#ifndef TINYTL_INTERNAL_STATE_H
#define TINYTL_INTERNAL_STATE_H

#include <stdint.h>

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "a saved state holds floats as a little-endian processor keeps them"
#endif

#define TINYTL_STATE_MAGIC "TTLS"
#define TINYTL_STATE_VERSION 4
#define TINYTL_STATE_FINGERPRINT 8
#define TINYTL_STATE_STEPS 24
#define TINYTL_STATE_SIZE 28
#define TINYTL_STATE_CRC 44 /* of everything, with zeros in its own place */

static inline void tinytl_internal_put(uint8_t *bytes, uint32_t value) {
  for (int i = 0; i < 4; ++i) bytes[i] = (uint8_t)(value >> (8 * i));
}

static inline uint32_t tinytl_internal_get(const uint8_t *bytes) {
  uint32_t value = 0;
  for (int i = 0; i < 4; ++i) value |= (uint32_t)bytes[i] << (8 * i);
  return value;
}

#endif
