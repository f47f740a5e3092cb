#include <string.h>

#include "internal/state.h"
#include "tinytl/program.h"

int tinytl_read_state(const uint8_t *buffer, const uint8_t fingerprint[TINYTL_FINGERPRINT_BYTES], uint32_t version,
                      int32_t *steps, float *state, size_t size) {
  static const uint8_t zeros[4] = {0};
  if (memcmp(buffer, TINYTL_STATE_MAGIC, 4) != 0) return TINYTL_ERROR_DAMAGED;
  if (tinytl_internal_get(buffer + TINYTL_STATE_VERSION) != version ||
      memcmp(buffer + TINYTL_STATE_FINGERPRINT, fingerprint, TINYTL_FINGERPRINT_BYTES) != 0 ||
      tinytl_internal_get(buffer + TINYTL_STATE_SIZE) != size) {
    return TINYTL_ERROR_OTHER_MODEL;
  }
  uint32_t crc = tinytl_crc32(0, buffer, TINYTL_STATE_CRC);
  crc = tinytl_crc32(crc, zeros, sizeof zeros);
  crc = tinytl_crc32(crc, buffer + TINYTL_STATE_HEADER_BYTES, size);
  if (crc != tinytl_internal_get(buffer + TINYTL_STATE_CRC)) return TINYTL_ERROR_DAMAGED;
  *steps = (int32_t)tinytl_internal_get(buffer + TINYTL_STATE_STEPS);
  memcpy(state, buffer + TINYTL_STATE_HEADER_BYTES, size);
  return TINYTL_OK;
}
