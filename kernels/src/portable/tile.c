/* The inner loops of convolution and matrix product: dot products of int8 weights with int16 patches (dot.h). */
#include "dot.h"

void prunus_i_accumulate(prunus_i_tile *tile, const int8_t *w, ptrdiff_t w_stride, int32_t channels, int32_t depth,
                         int32_t pixels) {
  for (int32_t o = 0; o < channels; ++o, w += w_stride) {
    int32_t p = 0;
    for (; p + 4 <= pixels; p += 4) prunus_i_dot4(w, tile->patch[p], depth, tile->acc[o] + p);
    for (; p < pixels; ++p) prunus_i_dot1(w, tile->patch[p], depth, tile->acc[o] + p);
  }
}
