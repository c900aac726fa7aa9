/* The borders of the integer part: float to integer and back. */
#include "internal.h"

enum { LIMIT = 1 << 24 }; /* beyond it every value saturates, whatever the (folded) zero point */

prunus_status prunus_quantize(size_t count, float scale, const prunus_epilogue *y_type, const float *x, void *y) {
  prunus_status status = prunus_i_check_clip(y_type->type.dtype, y_type->qmin, y_type->qmax);
  if (status) return status;
  const int32_t zero_point = y_type->type.zero_point, qmin = y_type->qmin, qmax = y_type->qmax;
  if (!(scale > 0) || zero_point < -LIMIT || zero_point > LIMIT) return PRUNUS_E_RANGE;
  uint8_t *out = y;
  for (size_t i = 0; i < count; ++i)
    out[i] = (uint8_t)prunus_i_clip(prunus_i_round(x[i] / scale, (float)LIMIT) + zero_point, qmin, qmax);
  return PRUNUS_OK;
}

prunus_status prunus_dequantize(size_t count, float scale, const prunus_type *x_type, const void *x, float *y) {
  prunus_status status = prunus_i_check_type(*x_type);
  if (status) return status;
  if (!(scale > 0)) return PRUNUS_E_RANGE;
  prunus_i_source source = prunus_i_source_of(*x_type);
  const uint8_t *in = x;
  for (size_t i = 0; i < count; ++i) y[i] = (float)prunus_i_centred(source, in[i]) * scale;
  return PRUNUS_OK;
}
