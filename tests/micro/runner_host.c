/* The runner on a host: golden file in argv[1], blocks from malloc. */
#include <stdio.h>
#include <stdlib.h>

#include "runner.h"

void *runner_allocate(size_t size) {
  void *block = malloc(size);
  if (!block) runner_fail("out of memory");
  return block;
}

void runner_release(void *block) { free(block); }

void runner_begin(void) {}

void runner_end(long number) { (void)number; }

_Noreturn void runner_fail(const char *why) {
  fprintf(stderr, "%s\n", why);
  exit(2);
}

int main(int count, char **arguments) {
  if (count != 2) runner_fail("usage: runner GOLDENS");
  FILE *file = fopen(arguments[1], "rb");
  if (!file) runner_fail("cannot open the golden file");
  fseek(file, 0, SEEK_END);
  const long size = ftell(file);
  rewind(file);
  unsigned char *goldens = runner_allocate((size_t)size);
  if (fread(goldens, 1, (size_t)size, file) != (size_t)size) runner_fail("cannot read the golden file");
  fclose(file);
  const int failures = runner_run(goldens);
  free(goldens);
  return failures != 0;
}
