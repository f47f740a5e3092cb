#include "target.h"

enum { OPERATION_WRITE_TEXT = 0x04, OPERATION_EXIT_EXTENDED = 0x20 };
enum { REASON_APPLICATION_EXIT = 0x20026 };

static void semihosting(int operation, const void *argument) {
  register int r0 __asm("r0") = operation;
  register const void *r1 __asm("r1") = argument;
  __asm volatile("bkpt 0xAB" : "+r"(r0) : "r"(r1) : "memory");
}

void target_write(const char *text) { semihosting(OPERATION_WRITE_TEXT, text); }

_Noreturn void target_exit(int status) {
  const uint32_t block[2] = {REASON_APPLICATION_EXIT, (uint32_t)status & 0xFFu};
  semihosting(OPERATION_EXIT_EXTENDED, block);
  for (;;) {
  }
}
