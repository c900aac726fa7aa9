/* Integer softmax: T = table[max - q] in Q20, S = sum T, y = clip(floor((2 T R + S) / (2 S)) + z_y). */
#include "internal.h"

static void softmax_line(const prunus_softmax_args *args, const uint32_t *table, const uint8_t *x, uint8_t *y) {
  const int32_t flip = prunus_i_source_of(args->x).flip;
  const ptrdiff_t step = args->inner;
  int32_t highest = 0;
  for (ptrdiff_t i = 0; i < args->length; ++i) {
    int32_t q = x[i * step] ^ flip;
    highest = q > highest ? q : highest;
  }
  uint64_t sum = 0;
  for (ptrdiff_t i = 0; i < args->length; ++i) sum += table[highest - (x[i * step] ^ flip)];
  for (ptrdiff_t i = 0; i < args->length; ++i) {
    uint64_t t = table[highest - (x[i * step] ^ flip)];
    int64_t value = (int64_t)((2 * t * (uint64_t)args->reciprocal + sum) / (2 * sum));
    y[i * step] = (uint8_t)prunus_i_clip64(value + args->y.zero_point, args->qmin, args->qmax);
  }
}

prunus_status prunus_softmax(const prunus_softmax_args *args, const uint32_t *table, const void *x, void *y) {
  if (args->outer < 0 || args->length < 1 || args->inner < 1) return PRUNUS_E_SHAPE;
  prunus_status status = prunus_i_check_type(args->x);
  if (!status) status = prunus_i_check_type(args->y);
  if (!status) status = prunus_i_check_clip(args->y.dtype, args->qmin, args->qmax);
  if (status) return status;
  if (args->reciprocal < 1 || table[0] == 0) return PRUNUS_E_RANGE;
  for (ptrdiff_t o = 0; o < args->outer; ++o)
    for (ptrdiff_t i = 0; i < args->inner; ++i) {
      ptrdiff_t at = o * args->length * args->inner + i;
      softmax_line(args, table, (const uint8_t *)x + at, (uint8_t *)y + at);
    }
  return PRUNUS_OK;
}
