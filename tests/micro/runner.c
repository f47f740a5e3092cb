/* Runs the calls of a golden file (see goldens.py) and compares what they leave behind. The whole file lies in memory.
 *
 * Every buffer is a block of its own, exactly as large as needed, so that an address sanitizer sees any overrun; where
 * there is no malloc to speak of, the blocks come out of one static area, between guards that are checked. */
#include "runner.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "tinytl/program.h"
#include "tinytl/tinytl.h"

enum { KIND_NULL, KIND_INT, KIND_FLOAT, KIND_RAW, KIND_OUT, KIND_SPACE, KIND_OPTIMIZER, KIND_VARIABLE, KIND_REQUANTIZATION };
enum { ELEMENT_FLOAT32, ELEMENT_BYTE, ELEMENT_INT32, ELEMENT_RESULT };
enum { MOST_ARGUMENTS = 16, MOST_OUTS = 16, MOST_BLOCKS = 48 };

typedef struct out {
  int32_t element, count;
  float tolerance;
  const unsigned char *expected;
  const unsigned char *got;
} out;

typedef struct argument {
  void *pointer;
  int32_t integer;
  float real;
} argument;

typedef struct state {
  const unsigned char *cursor;
  void *blocks[MOST_BLOCKS];
  int block_count;
  out outs[MOST_OUTS];
  int out_count;
  tinytl_optimizer optimizer;
  tinytl_variable variable;
  tinytl_requantization requantization;
} state;

static int32_t read_int(state *s) {
  int32_t value;
  memcpy(&value, s->cursor, sizeof value);
  s->cursor += sizeof value;
  return value;
}

static float read_float(state *s) {
  float value;
  memcpy(&value, s->cursor, sizeof value);
  s->cursor += sizeof value;
  return value;
}

static void *block_of(state *s, size_t size) {
  if (s->block_count == MOST_BLOCKS) runner_fail("too many blocks");
  void *block = runner_allocate(size);
  s->blocks[s->block_count++] = block;
  return block;
}

static const unsigned char *skip(state *s, size_t size) {
  const unsigned char *data = s->cursor;
  s->cursor += (size + 3u) / 4u * 4u;
  return data;
}

static void *copy(state *s, size_t size) {
  void *block = block_of(s, size);
  memcpy(block, skip(s, size), size);
  return block;
}

static void *read_out(state *s, int32_t count) {
  if (s->out_count == MOST_OUTS) runner_fail("too many outputs");
  out *o = &s->outs[s->out_count++];
  o->element = read_int(s);
  o->count = count;
  o->tolerance = read_float(s);
  const size_t size = (size_t)count * (o->element == ELEMENT_BYTE ? 1u : 4u);
  void *block = copy(s, size);
  o->got = block;
  o->expected = skip(s, size);
  return block;
}

/* goldens.py's Optimizer, in its order. */
static void *read_optimizer(state *s) {
  float numbers[10];
  for (int i = 0; i < 10; ++i) numbers[i] = read_float(s);
  const tinytl_optimizer optimizer = {.kind = (tinytl_optimizer_kind)numbers[0],
                                      .learning_rate = numbers[1],
                                      .nesterov = numbers[2] != 0.0f,
                                      .momentum = numbers[3],
                                      .beta_1 = numbers[4],
                                      .beta_2 = numbers[5],
                                      .epsilon = numbers[6],
                                      .weight_decay = numbers[7],
                                      .gradient_scale = numbers[8]};
  s->optimizer = optimizer;
  if (tinytl_optimizer_begin_step(&s->optimizer, (int32_t)numbers[9]) != TINYTL_OK) runner_fail("begin_step");
  return &s->optimizer;
}

static void *read_slot(state *s) {
  const int32_t kind = read_int(s), count = read_int(s);
  return kind == KIND_NULL ? NULL : read_out(s, count);
}

static void *read_variable(state *s) {
  s->variable.value = read_slot(s);
  s->variable.first = read_slot(s);
  s->variable.second = read_slot(s);
  return &s->variable;
}

static void *read_requantization(state *s, int32_t channels) {
  tinytl_requantization *r = &s->requantization;
  r->input_zero_point = read_int(s);
  r->output_zero_point = read_int(s);
  r->activation_min = read_int(s);
  r->activation_max = read_int(s);
  r->multiplier = copy(s, (size_t)channels * 4u);
  r->shift = copy(s, (size_t)channels * 4u);
  return r;
}

static argument read_argument(state *s) {
  argument a = {0};
  const int32_t kind = read_int(s), count = read_int(s);
  switch (kind) {
    case KIND_NULL:
      break;
    case KIND_INT:
      a.integer = read_int(s);
      break;
    case KIND_FLOAT:
      a.real = read_float(s);
      break;
    case KIND_RAW:
      a.pointer = copy(s, (size_t)count);
      break;
    case KIND_OUT:
      a.pointer = read_out(s, count);
      break;
    case KIND_SPACE:
      a.pointer = block_of(s, (size_t)count);
      break;
    case KIND_OPTIMIZER:
      a.pointer = read_optimizer(s);
      break;
    case KIND_VARIABLE:
      a.pointer = read_variable(s);
      break;
    case KIND_REQUANTIZATION:
      a.pointer = read_requantization(s, count);
      break;
    default:
      runner_fail("unknown kind of argument");
  }
  return a;
}

#define P(i) a[i].pointer
#define I(i) a[i].integer
#define B(i) (a[i].integer != 0)
#define R(i) a[i].real
#define Z(i) ((size_t)a[i].integer)

static tinytl_status call(int32_t function, const argument *a) {
  switch (function) {
#include "functions.inc"
  }
  runner_fail("unknown function");
  return TINYTL_OK;
}

static double difference_of(const out *o, int32_t i) {
  if (o->element == ELEMENT_BYTE) return fabs((double)o->got[i] - (double)o->expected[i]);
  if (o->element == ELEMENT_FLOAT32 || (o->element == ELEMENT_RESULT && i == 0)) {
    float got, expected;
    memcpy(&got, o->got + 4 * i, 4);
    memcpy(&expected, o->expected + 4 * i, 4);
    return fabs((double)got - (double)expected);
  }
  int32_t got, expected;
  memcpy(&got, o->got + 4 * i, 4);
  memcpy(&expected, o->expected + 4 * i, 4);
  return fabs((double)got - (double)expected) * (o->element == ELEMENT_RESULT ? 1e6 : 1.0);
}

static int failures_of(const state *s, int32_t number, int32_t function) {
  int failures = 0;
  for (int j = 0; j < s->out_count; ++j) {
    for (int32_t i = 0; i < s->outs[j].count; ++i) {
      const double difference = difference_of(&s->outs[j], i);
      if (!(difference <= (double)s->outs[j].tolerance)) {
        printf("call %ld (function %ld): output %d, element %ld differs by %g, allowed %g\n", (long)number,
               (long)function, j, (long)i, difference, (double)s->outs[j].tolerance);
        ++failures;
        break;
      }
    }
  }
  return failures;
}

int runner_run(const unsigned char *goldens) {
  if (memcmp(goldens, "TTLG", 4) != 0) runner_fail("not a golden file");
  static state s;
  s.cursor = goldens + 4;
  const int32_t calls = read_int(&s);
  int failures = 0;
  for (int32_t number = 0; number < calls; ++number) {
    s.block_count = 0;
    s.out_count = 0;
    const int32_t function = read_int(&s), expected = read_int(&s), count = read_int(&s);
    argument arguments[MOST_ARGUMENTS] = {0};
    if (count > MOST_ARGUMENTS) runner_fail("too many arguments");
    for (int32_t i = 0; i < count; ++i) arguments[i] = read_argument(&s);
    runner_begin();
    const tinytl_status status = call(function, arguments);
    runner_end(number);
    if ((int32_t)status != expected) {
      printf("call %ld (function %ld): status %d, expected %ld\n", (long)number, (long)function, (int)status,
             (long)expected);
      ++failures;
    }
    failures += failures_of(&s, number, function);
    while (s.block_count) runner_release(s.blocks[--s.block_count]);
  }
  printf("%ld calls, %d failures\n", (long)calls, failures);
  return failures;
}
