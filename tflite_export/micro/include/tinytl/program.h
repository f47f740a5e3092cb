/* What a generated program calls besides the kernels: its status codes, its state as bytes, rows of early layers. */
#ifndef TINYTL_PROGRAM_H
#define TINYTL_PROGRAM_H

#include "tinytl/types.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Further values of what a program's functions return; those of tinytl_status come before. */
enum {
  TINYTL_ERROR_NOT_READY = 16,   /* neither ..._reset nor ..._restore was called */
  TINYTL_ERROR_DAMAGED = 17,     /* the bytes are no state, or not as they were written */
  TINYTL_ERROR_OTHER_MODEL = 18  /* the state of another model, or of another version of the format */
};

#define TINYTL_FINGERPRINT_BYTES 16
#define TINYTL_STATE_HEADER_BYTES 48

/* values[0 .. count) = 0. */
tinytl_status tinytl_clear(float *values, int32_t count);

/* y = a - b and y = a * b, element by element. In place: y may be a or b. */
tinytl_status tinytl_subtract(const float *a, const float *b, int32_t count, float *y);
tinytl_status tinytl_multiply(const float *a, const float *b, int32_t count, float *y);

/* y = x * factor + offset: the pixels of a picture as a network takes them. */
tinytl_status tinytl_pixels_to_float(const uint8_t *x, int32_t count, float factor, float offset, float *y);

/* q = x - 128: the same pixels as an int8 map, without a multiplication. */
tinytl_status tinytl_pixels_to_int8(const uint8_t *x, int32_t count, int8_t *q);

/* y = x. Nothing is done where they are one. */
void tinytl_copy(const float *x, int32_t count, float *y);

/* A region that is computed row by row. An event below 128 makes row `row` of what node `op` computes, at row `out` of
 * its buffer, from `rows` rows of its inputs, with `pad_top` rows of padding above them: in[0] and in[1] are where in
 * the buffers of the inputs they begin. Above, the rows [out, out + rows) of the buffer of node op - 128 move to its
 * front. */
typedef struct tinytl_row_event {
  uint8_t op, pad_top;
  uint16_t rows, row, out;
  uint16_t in[2];
} tinytl_row_event;

/* Rows [first, first + count) of `width` floats move to the front of their buffer. 0 < first. */
void tinytl_move_rows(float *buffer, int32_t width, int32_t first, int32_t count);

/* The same of int8. */
void tinytl_move_rows_s8(int8_t *buffer, int32_t width, int32_t first, int32_t count);

/* CRC-32 (IEEE 802.3, as zlib's) of `size` bytes, going on from the CRC of what came before them, or 0. */
uint32_t tinytl_crc32(uint32_t crc, const void *bytes, size_t size);

/* buffer[TINYTL_STATE_HEADER_BYTES + size] = header and state. */
void tinytl_write_state(uint8_t *buffer, const uint8_t fingerprint[TINYTL_FINGERPRINT_BYTES], uint32_t version,
                        int32_t steps, const float *state, size_t size);

/* The opposite: everything is checked before *steps or state change. TINYTL_OK, TINYTL_ERROR_DAMAGED or
 * TINYTL_ERROR_OTHER_MODEL. */
int tinytl_read_state(const uint8_t *buffer, const uint8_t fingerprint[TINYTL_FINGERPRINT_BYTES], uint32_t version,
                      int32_t *steps, float *state, size_t size);

#ifdef __cplusplus
}
#endif
#endif
