/* Quantization of float inputs, dequantization of outputs. Generated. */
#include "model.h"

prunus_status prunus_model_quantize_input_0(const float *x, size_t count, uint8_t *y) {
  static const prunus_epilogue end = {.type = {.dtype = PRUNUS_U8, .zero_point = 163}, .qmin = 0, .qmax = 255};
  return prunus_quantize(count, 0x1.c4af840000000p-7f, &end, x, y);
}

prunus_status prunus_model_dequantize_output_0(const uint8_t *x, size_t count, float *y) {
  static const prunus_type type = {.dtype = PRUNUS_U8, .zero_point = 88};
  return prunus_dequantize(count, 0x1.94577c0000000p-8f, &type, x, y);
}
