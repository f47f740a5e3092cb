/* Runs golden files; what the place it runs in must provide. */
#ifndef TESTS_MICRO_RUNNER_H
#define TESTS_MICRO_RUNNER_H

#include <stddef.h>

/* How many calls of a golden file in memory went wrong; each is printed. */
int runner_run(const unsigned char *goldens);

void *runner_allocate(size_t size); /* exactly `size` bytes, aligned for any type */
void runner_release(void *block);   /* blocks are released in reverse order */
void runner_begin(void);            /* around every call of a kernel */
void runner_end(long number);
_Noreturn void runner_fail(const char *why);

#endif
