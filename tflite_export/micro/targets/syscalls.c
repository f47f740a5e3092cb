/* What newlib asks of an operating system: a console, and a small heap for printf. Link it only where printf is used. */
#include <errno.h>
#include <stddef.h>
#include <sys/stat.h>

#include "target.h"

#ifndef TARGET_HEAP_BYTES
#define TARGET_HEAP_BYTES 4096
#endif

void *_sbrk(ptrdiff_t increment);
int _write(int file, const char *text, int length);
int _read(int file, char *text, int length);
int _close(int file);
int _lseek(int file, int offset, int whence);
int _fstat(int file, struct stat *status);
int _isatty(int file);
int _getpid(void);
int _kill(int process, int signal);
_Noreturn void _exit(int status);

void *_sbrk(ptrdiff_t increment) {
  static _Alignas(8) char heap[TARGET_HEAP_BYTES];
  static ptrdiff_t used;
  if (used + increment > TARGET_HEAP_BYTES) {
    errno = ENOMEM;
    return (void *)-1;
  }
  void *block = heap + used;
  used += increment;
  return block;
}

int _write(int file, const char *text, int length) {
  (void)file;
  for (int i = 0; i < length; ++i) {
    const char one[2] = {text[i], 0};
    target_write(one);
  }
  return length;
}

int _read(int file, char *text, int length) { return (void)file, (void)text, (void)length, 0; }
int _close(int file) { return (void)file, -1; }
int _lseek(int file, int offset, int whence) { return (void)file, (void)offset, (void)whence, 0; }
int _isatty(int file) { return (void)file, 1; }
int _getpid(void) { return 1; }
int _kill(int process, int signal) { return (void)process, (void)signal, -1; }

int _fstat(int file, struct stat *status) {
  (void)file;
  status->st_mode = S_IFCHR;
  return 0;
}

_Noreturn void _exit(int status) { target_exit(status); }
