/* The runner on a board: golden file at RUNNER_GOLDENS, blocks out of one static area, each between two guards. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "runner.h"
#include "target.h"

#define GUARD 0xA5A5A5A5A5A5A5A5u

#ifndef RUNNER_BYTES
#define RUNNER_BYTES (320 * 1024)
#endif

static _Alignas(8) unsigned char area[RUNNER_BYTES];
static size_t used;

typedef struct head {
  size_t size, before;
  uint64_t guard;
} head;

void *runner_allocate(size_t size) {
  const size_t rounded = (size + 7u) / 8u * 8u;
  if (used + sizeof(head) + rounded + sizeof(uint64_t) > sizeof area) runner_fail("the area is too small");
  const head h = {rounded, used, GUARD};
  unsigned char *block = area + used + sizeof(head);
  memcpy(area + used, &h, sizeof h);
  memset(block, 0xA5, rounded);
  const uint64_t guard = GUARD;
  memcpy(block + rounded, &guard, sizeof guard);
  used += sizeof(head) + rounded + sizeof guard;
  return block;
}

void runner_release(void *block) {
  head h;
  uint64_t guard;
  memcpy(&h, (unsigned char *)block - sizeof h, sizeof h);
  memcpy(&guard, (unsigned char *)block + h.size, sizeof guard);
  if (h.guard != GUARD || guard != GUARD) runner_fail("a kernel wrote outside a buffer");
  used = h.before;
}

/* With RUNNER_COUNTS, every call prints a line "count <number> <instructions>". */
static uint32_t begin;

void runner_begin(void) { begin = target_ticks(); }

void runner_end(long number) {
  const uint32_t end = target_ticks();
#ifdef RUNNER_COUNTS
  printf("count %ld %lu\n", number, (unsigned long)target_instructions(begin, end));
#else
  (void)number, (void)end;
#endif
}

_Noreturn void runner_fail(const char *why) {
  target_write(why);
  target_write("\n");
  target_exit(2);
}

int main(void) { return runner_run((const unsigned char *)RUNNER_GOLDENS) != 0; }
