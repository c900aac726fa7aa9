/* The inner loops of convolution and matrix product: dot products of int8 weights with int16 patches.
 *
 * Written so that compilers vectorise the loop over k (on x86: pmaddwd), with several patch rows per weight load.
 */
#include "internal.h"

static void dot4(const int8_t *restrict w, const int16_t *restrict patch, int32_t depth, int32_t *restrict acc) {
  const int16_t *p0 = patch, *p1 = p0 + PRUNUS_I_LD, *p2 = p1 + PRUNUS_I_LD, *p3 = p2 + PRUNUS_I_LD;
  int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
  for (int32_t k = 0; k < depth; ++k) {
    int16_t weight = w[k];
    a0 += weight * p0[k];
    a1 += weight * p1[k];
    a2 += weight * p2[k];
    a3 += weight * p3[k];
  }
  acc[0] += a0;
  acc[1] += a1;
  acc[2] += a2;
  acc[3] += a3;
}

static void dot1(const int8_t *restrict w, const int16_t *restrict patch, int32_t depth, int32_t *restrict acc) {
  int32_t sum = 0;
  for (int32_t k = 0; k < depth; ++k) sum += (int16_t)w[k] * patch[k];
  acc[0] += sum;
}

void prunus_i_accumulate(prunus_i_tile *tile, const int8_t *w, ptrdiff_t w_stride, int32_t channels, int32_t depth,
                         int32_t pixels) {
  for (int32_t o = 0; o < channels; ++o, w += w_stride) {
    int32_t p = 0;
    for (; p + 4 <= pixels; p += 4) dot4(w, tile->patch[p], depth, tile->acc[o] + p);
    for (; p < pixels; ++p) dot1(w, tile->patch[p], depth, tile->acc[o] + p);
  }
}
