/* What the example needs of the machine it runs on: a way to say something, and to tell how deep the stack went. */
#ifndef BOARD_H
#define BOARD_H

#include <stddef.h>
#include <stdint.h>

void board_write(const char *text);

/* The most stack that was in use since the start, in bytes; 0 where that is not known. */
uint32_t board_stack_bytes(void);

/* Instructions since the last call, where an emulator counts them; 0 where that is not known. */
uint32_t board_instructions(void);

/* Files beside the program, for verification: reads exactly `bytes` of inputs.bin, appends to outputs.bin. */
void board_read(void *data, size_t bytes);
void board_record(const void *data, size_t bytes);

#endif
