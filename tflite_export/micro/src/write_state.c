#include <string.h>

#include "internal/state.h"
#include "tinytl/program.h"

void tinytl_write_state(uint8_t *buffer, const uint8_t fingerprint[TINYTL_FINGERPRINT_BYTES], uint32_t version,
                        int32_t steps, const float *state, size_t size) {
  memset(buffer, 0, TINYTL_STATE_HEADER_BYTES);
  memcpy(buffer, TINYTL_STATE_MAGIC, 4);
  tinytl_internal_put(buffer + TINYTL_STATE_VERSION, version);
  memcpy(buffer + TINYTL_STATE_FINGERPRINT, fingerprint, TINYTL_FINGERPRINT_BYTES);
  tinytl_internal_put(buffer + TINYTL_STATE_STEPS, (uint32_t)steps);
  tinytl_internal_put(buffer + TINYTL_STATE_SIZE, (uint32_t)size);
  memcpy(buffer + TINYTL_STATE_HEADER_BYTES, state, size);
  tinytl_internal_put(buffer + TINYTL_STATE_CRC, tinytl_crc32(0, buffer, TINYTL_STATE_HEADER_BYTES + size));
}
