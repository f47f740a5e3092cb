/* A bare Cortex-M board under QEMU: console and exit status by semihosting, exact instruction counts by the board's timer.
 *
 * On silicon, replace semihosting.c and counter.c (by a UART and the DWT's cycle counter, say); nothing else knows of
 * QEMU. Boards are described in boards.py. */
#ifndef TINYTL_TARGET_H
#define TINYTL_TARGET_H

#include <stdint.h>

#define TARGET_EXIT_FAULT 125

/* Text to the console. */
void target_write(const char *text);

/* Ends the program: QEMU exits with `status` (0 to 255). */
_Noreturn void target_exit(int status);

/* The counter runs from reset. It counts instructions exactly under `qemu-system-arm -icount shift=7`: the virtual
 * clock then moves 128 ns an instruction, which is more than 3 ticks of the board's timer. A difference of two readings
 * is right up to 10^9 instructions. */
void target_start_counter(void);
uint32_t target_ticks(void);

/* The instructions between two readings, those of the second reading itself taken off. */
uint32_t target_instructions(uint32_t begin, uint32_t end);

#endif
