/* Matrix product over the last dimension (fully connected layer). */
#include "internal.h"

static void widen(const prunus_gemm_args *args, const uint8_t *x, int32_t rows, int32_t first, int32_t depth,
                  prunus_i_tile *tile) {
  prunus_i_source source = prunus_i_source_of(args->x);
  for (int32_t r = 0; r < rows; ++r, x += args->in_c)
    for (int32_t k = 0; k < depth; ++k) tile->patch[r][k] = (int16_t)prunus_i_centred(source, x[first + k]);
}

prunus_status prunus_gemm(const prunus_gemm_args *args, const void *x, const int8_t *w, const int32_t *bias, void *y) {
  if (args->rows < 0 || args->in_c < 1 || args->out_c < 1) return PRUNUS_E_SHAPE;
  prunus_status status = prunus_i_check_type(args->x);
  if (!status) status = prunus_i_check_channels(&args->y, args->out_c);
  if (status) return status;
  prunus_i_tile tile;
  for (int32_t row = 0; row < args->rows; row += PRUNUS_I_PIXELS) {
    int32_t rows = prunus_i_min(args->rows - row, PRUNUS_I_PIXELS);
    const uint8_t *in = (const uint8_t *)x + (ptrdiff_t)row * args->in_c;
    for (int32_t first = 0; first < args->out_c; first += PRUNUS_TILE_CHANNELS) {
      int32_t channels = prunus_i_min(args->out_c - first, PRUNUS_TILE_CHANNELS);
      for (int32_t o = 0; o < channels; ++o)
        for (int32_t r = 0; r < rows; ++r) tile.acc[o][r] = bias[first + o];
      for (int32_t k = 0; k < args->in_c; k += PRUNUS_TILE_DEPTH) {
        int32_t depth = prunus_i_min(args->in_c - k, PRUNUS_TILE_DEPTH);
        widen(args, in, rows, k, depth, &tile);
        prunus_i_accumulate(&tile, w + (ptrdiff_t)first * args->in_c + k, args->in_c, channels, depth, rows);
      }
      uint8_t *out = (uint8_t *)y + (ptrdiff_t)row * args->out_c + first;
      for (int32_t o = 0; o < channels; ++o)
        prunus_i_store(&args->y, prunus_i_channel_entry(&args->y, first + o), tile.acc[o], rows, out + o, args->out_c);
    }
  }
  return PRUNUS_OK;
}
