#include "target.h"

/* A timer of the board, its tick in instructions of 128 ns: TICKS instructions make PERIODS ticks. */
#define REGISTER(address) (*(volatile uint32_t *)(address))

#if defined(TARGET_COUNTER_CMSDK) /* mps2-*: 32-bit down counter, 25 MHz: 128 ns are 16/5 ticks */
#define NUMERATOR 5u
#define DENOMINATOR 16u

void target_start_counter(void) {
  REGISTER(0x40000008u) = 0xFFFFFFFFu; /* reload */
  REGISTER(0x40000004u) = 0xFFFFFFFFu; /* value */
  REGISTER(0x40000000u) = 1u;          /* enable */
}

uint32_t target_ticks(void) { return 0u - REGISTER(0x40000004u); }

#elif defined(TARGET_COUNTER_SSE) /* mps3-an547: the SSE-300's system counter, 32 MHz: 128 ns are 512/125 ticks */
#define NUMERATOR 125u
#define DENOMINATOR 512u

void target_start_counter(void) { REGISTER(0x58100000u) = 1u; }

uint32_t target_ticks(void) { return REGISTER(0x58101000u); }

#elif defined(TARGET_COUNTER_STM32) /* netduinoplus2: TIM2, 1 GHz in QEMU, divided by 40: 25 MHz */
#define NUMERATOR 5u
#define DENOMINATOR 16u

void target_start_counter(void) {
  REGISTER(0x40000028u) = 39u;         /* prescaler */
  REGISTER(0x4000002Cu) = 0xFFFFFFFFu; /* auto-reload */
  REGISTER(0x40000014u) = 1u;          /* update: load the prescaler */
  REGISTER(0x40000000u) = 1u;          /* enable */
}

uint32_t target_ticks(void) { return REGISTER(0x40000024u); }

#else
#error "name the board's counter: TARGET_COUNTER_CMSDK, TARGET_COUNTER_SSE or TARGET_COUNTER_STM32"
#endif

static uint32_t to_instructions(uint32_t ticks) {
  return (uint32_t)(((uint64_t)ticks * NUMERATOR + DENOMINATOR / 2u) / DENOMINATOR);
}

uint32_t target_instructions(uint32_t begin, uint32_t end) {
  /* What two readings with nothing between them cost. */
  const uint32_t first = target_ticks();
  const uint32_t second = target_ticks();
  return to_instructions(end - begin) - to_instructions(second - first);
}
