/* The requantization of a row of accumulators: y = clip(round_half_even(acc * m) + z_y, qmin, qmax). */
#include "internal.h"

/* Rows go through a buffer of int32 in short stretches, so that compilers vectorise the arithmetic even where the
 * bytes are stored far apart or a row is short. */
enum { STRETCH = 64 };

static void requantize_f32(const prunus_epilogue *epilogue, float m, const int32_t *restrict acc, int32_t count,
                           int32_t *restrict value) {
  const int32_t zero_point = epilogue->type.zero_point, qmin = epilogue->qmin, qmax = epilogue->qmax;
  for (int32_t i = 0; i < count; ++i)
    value[i] = prunus_i_clip(prunus_i_round((float)acc[i] * m, 32768.0f) + zero_point, qmin, qmax);
}

static void requantize_integer(const prunus_epilogue *epilogue, int64_t m, int32_t shift, const int32_t *restrict acc,
                               int32_t count, int32_t *restrict value) {
  const int32_t zero_point = epilogue->type.zero_point, qmin = epilogue->qmin, qmax = epilogue->qmax;
  for (int32_t i = 0; i < count; ++i)
    value[i] = (int32_t)prunus_i_clip64(prunus_i_round_shift(acc[i] * m, shift) + zero_point, qmin, qmax);
}

_Static_assert(-1 >> 1 == -1, "negative numbers shift in their sign");

/* The same for shift > 32, as cores of 32 bits like it: half to even is the floor after adding a half, less one unit
 * where the floor is even. Only the upper word of the sum counts then. |acc * m| <= 2^62: nothing overflows. */
static void requantize_high(const prunus_epilogue *epilogue, int32_t m, int32_t shift, const int32_t *restrict acc,
                            int32_t count, int32_t *restrict value) {
  const int32_t zero_point = epilogue->type.zero_point, qmin = epilogue->qmin, qmax = epilogue->qmax;
  const int64_t half = ((int64_t)1 << (shift - 1)) - 1;
  for (int32_t i = 0; i < count; ++i) {
    int64_t product = (int64_t)acc[i] * m;
    int32_t odd = (int32_t)(product >> 32) >> (shift - 32) & 1;
    int32_t rounded = (int32_t)((product + half + odd) >> 32) >> (shift - 32);
    value[i] = prunus_i_clip(rounded + zero_point, qmin, qmax);
  }
}

void prunus_i_store(const prunus_epilogue *epilogue, int32_t entry, const int32_t *acc, int32_t count, uint8_t *y,
                    ptrdiff_t stride) {
  const prunus_requant *requant = &epilogue->requant;
  int32_t value[STRETCH];
  for (int32_t first = 0; first < count; first += STRETCH) {
    int32_t n = prunus_i_min(count - first, STRETCH);
    if (PRUNUS_HAS_F32 && requant->scheme == PRUNUS_F32)
      requantize_f32(epilogue, requant->multiplier_f32[entry], acc + first, n, value);
    else if (requant->scheme == PRUNUS_FIXED && requant->shift[entry] > 32)
      requantize_high(epilogue, requant->multiplier[entry], requant->shift[entry], acc + first, n, value);
    else
      requantize_integer(epilogue, prunus_i_integer_multiplier(requant, entry), requant->shift[entry], acc + first, n,
                         value);
    for (int32_t i = 0; i < n; ++i) y[(first + i) * stride] = (uint8_t)value[i];
  }
}
