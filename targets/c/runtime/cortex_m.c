/* An Arm Cortex-M core under a debugger or emulator: vector table, start-up, and semihosting for what a board would do
 * with its peripherals. Replace it by your board's own start-up file; the model does not use it. */
#include "board.h"

enum { SYS_OPEN = 0x01, SYS_WRITE0 = 0x04, SYS_WRITE = 0x05, SYS_READ = 0x06, SYS_EXIT_EXTENDED = 0x20 };
enum { SYSTICK_RELOAD_TICKS = 0xffffff };
static const uint32_t SYSTICK_CONTROL = 0xe000e010, SYSTICK_RELOAD = 0xe000e014, SYSTICK_VALUE = 0xe000e018;
enum { APPLICATION_EXIT = 0x20026, FAULT_STATUS = 99 };
enum { STACK_PAINT = 0x5a5a5a5a, STACK_MARGIN_BYTES = 64 };

extern uint32_t board_bss_start[], board_bss_end[], board_stack_top[];
extern uint32_t board_data_start[], board_data_end[], board_data_load[];
int main(void);
void board_reset(void);

static long host(long operation, const void *argument) {
  register long r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = argument;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
  return r0;
}

static _Noreturn void quit(long status) {
  const long block[] = {APPLICATION_EXIT, status};
  host(SYS_EXIT_EXTENDED, block);
  for (;;) {
  }
}

static void fault(void) { quit(FAULT_STATUS); }

/* Stack, reset, NMI, and the faults: a wrong core, a wrong address. */
typedef struct vector_table {
  uint32_t *stack;
  void (*handlers[15])(void);
} vector_table;

__attribute__((section(".vectors"), used)) static const vector_table vectors = {
    board_stack_top, {board_reset, fault, fault, fault, fault, fault}};

static volatile uint32_t *system_register(uint32_t address) { return (volatile uint32_t *)(uintptr_t)address; }

static void start_counting(void) {
  *system_register(SYSTICK_RELOAD) = SYSTICK_RELOAD_TICKS;
  *system_register(SYSTICK_VALUE) = 0;
  *system_register(SYSTICK_CONTROL) = 5; /* processor clock, enabled */
}

void board_reset(void) {
#if defined(__ARM_FP) || defined(__ARM_FEATURE_MVE)
  const uint32_t access_control = 0xe000ed88; /* CPACR: floating point and vectors */
  *system_register(access_control) |= 0xf << 20;
  __asm__ volatile("dsb\n isb" ::: "memory");
#endif
  for (volatile uint32_t *p = board_bss_start; p < board_bss_end; ++p) *p = 0;
  for (volatile uint32_t *p = board_data_start, *from = board_data_load; p < board_data_end; ++p) *p = *from++;
  uintptr_t top;
  __asm__ volatile("mov %0, sp" : "=r"(top));
  for (volatile uint32_t *p = board_bss_end; (uintptr_t)p < top - STACK_MARGIN_BYTES; ++p) *p = STACK_PAINT;
  start_counting();
  quit(main());
}

void board_write(const char *text) { host(SYS_WRITE0, text); }

uint32_t board_stack_bytes(void) {
  const volatile uint32_t *deepest = board_bss_end;
  while (deepest < board_stack_top && *deepest == STACK_PAINT) ++deepest;
  return (uint32_t)((uintptr_t)board_stack_top - (uintptr_t)deepest);
}

/* SysTick counts down; the emulator runs one instruction a nanosecond. 0 after more than the timer's 24 bits. */
uint32_t board_instructions(void) {
  const uint32_t wrapped = *system_register(SYSTICK_CONTROL) & 1u << 16, now = *system_register(SYSTICK_VALUE);
  *system_register(SYSTICK_VALUE) = 0;
  return wrapped || !now ? 0 : (SYSTICK_RELOAD_TICKS - now) * BOARD_TICK_NS;
}

static long file(long *slot, const char *name, long length, long mode) {
  const long block[] = {(long)(intptr_t)name, mode, length};
  if (!*slot) *slot = host(SYS_OPEN, block);
  if (*slot <= 0) quit(2);
  return *slot;
}

void board_read(void *data, size_t bytes) {
  static long inputs;
  const long block[] = {file(&inputs, "inputs.bin", 10, 1), (long)(intptr_t)data, (long)bytes};
  if (host(SYS_READ, block) != 0) quit(3);
}

void board_record(const void *data, size_t bytes) {
  static long outputs;
  const long block[] = {file(&outputs, "outputs.bin", 11, 5), (long)(intptr_t)data, (long)bytes};
  if (host(SYS_WRITE, block) != 0) quit(4);
}
