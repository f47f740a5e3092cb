/* From reset to main on a bare Cortex-M: memory, FPU, exit status. What main returns is what QEMU exits with. */
#include <stdint.h>
#include <string.h>

#include "target.h"

/* From the linker script. */
extern uint32_t target_data_load[], target_data_start[], target_data_end[];
extern uint32_t target_bss_start[], target_bss_end[];
extern uint32_t target_stack_top[];

int main(void);
_Noreturn void target_reset(void);

#define COPROCESSOR_ACCESS (*(volatile uint32_t *)0xE000ED88u)
#define CACHE_CONTROL (*(volatile uint32_t *)0xE000ED14u)
#define LOW_OVERHEAD_LOOPS (1u << 19)

static void enable_fpu(void) {
  COPROCESSOR_ACCESS |= 0xFu << 20; /* CP10 and CP11: floating point, and Helium where there is one */
#ifdef __ARM_FEATURE_MVE
  CACHE_CONTROL |= LOW_OVERHEAD_LOOPS;
#else
  (void)CACHE_CONTROL;
#endif
  __asm volatile("dsb\n isb" ::: "memory");
}

_Noreturn void target_reset(void) {
  enable_fpu();
  memcpy(target_data_start, target_data_load, (size_t)(target_data_end - target_data_start) * sizeof(uint32_t));
  memset(target_bss_start, 0, (size_t)(target_bss_end - target_bss_start) * sizeof(uint32_t));
  target_start_counter();
  target_exit(main());
}

static void fault(void) {
  target_write("fault: the processor stopped the program\n");
  target_exit(TARGET_EXIT_FAULT);
}

/* The stack pointer, reset, and the 14 system exceptions. No interrupt is used. */
__attribute__((section(".vectors"), used)) static void (*const vectors[16])(void) = {
    (void (*)(void))target_stack_top,
    target_reset,
    fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault, fault};
