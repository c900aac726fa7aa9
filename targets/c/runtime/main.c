/* Runs the model on its test vectors: 0 when every output equals the expected one. */
#include "board.h"
#include "model.h"
#include "vectors.h"

static void write_number(const char *what, uint32_t value) {
  char digits[12], *p = digits + sizeof digits;
  *--p = 0;
  *--p = '\n';
  do *--p = (char)('0' + value % 10);
  while (value /= 10);
  board_write(what);
  board_write(p);
}

int main(void) {
  int wrong = 0;
  uint32_t instructions = 0;
  for (int i = 0; i < VECTORS; ++i) {
    vectors_load(i);
    board_instructions();
    if (prunus_model_run() != PRUNUS_OK) return 1;
    instructions = board_instructions();
    wrong += vectors_wrong(i);
  }
  write_number("vectors ", VECTORS);
  write_number("wrong elements ", (uint32_t)wrong);
  write_number("arena bytes ", PRUNUS_ARENA_BYTES);
  write_number("stack bytes ", board_stack_bytes());
  write_number("instructions ", instructions);
  return wrong != 0;
}
