/* The network, operator by operator, on a static arena. Generated. */
#include "model.h"

#include "model_weights.h"

#ifdef PRUNUS_MODEL_TRACE
#define TRACE(offset, bytes) prunus_model_trace(&arena[offset], bytes)
#else
#define TRACE(offset, bytes) ((void)0)
#endif

static uint8_t arena[PRUNUS_ARENA_BYTES];

static const prunus_gemm_args op_n0002_args = {.rows = 1, .in_c = 4, .out_c = 6, .x = {.dtype = PRUNUS_U8, .zero_point =
    163}, .y = {.requant = {.scheme = PRUNUS_FIXED, .size = 6, .multiplier = op_n0002_multiplier, .shift =
    op_n0002_shift}, .type = {.dtype = PRUNUS_U8, .zero_point = 0}, .qmin = 0, .qmax = 255}};
static const prunus_gemm_args op_n0003_args = {.rows = 1, .in_c = 6, .out_c = 3, .x = {.dtype = PRUNUS_U8, .zero_point =
    0}, .y = {.requant = {.scheme = PRUNUS_FIXED, .size = 3, .multiplier = op_n0003_multiplier, .shift =
    op_n0003_shift}, .type = {.dtype = PRUNUS_U8, .zero_point = 88}, .qmin = 0, .qmax = 255}};

prunus_status prunus_model_run(void) {
  prunus_status status = PRUNUS_OK;
  /* n0002: gemm -> t0002 */
  status = prunus_gemm(&op_n0002_args, &arena[6], op_n0002_weight, op_n0002_bias, &arena[0]);
  if (status) return status;
  TRACE(0, 6);
  /* n0003: gemm -> t0003 */
  status = prunus_gemm(&op_n0003_args, &arena[0], op_n0003_weight, op_n0003_bias, &arena[6]);
  if (status) return status;
  TRACE(6, 3);
  return status;
}

uint8_t *prunus_model_input_0(void) { return &arena[6]; }
const uint8_t *prunus_model_output_0(void) { return &arena[6]; }
