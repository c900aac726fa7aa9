/* Depthwise 2-D convolution: every output channel reads one input channel. */
#include "internal.h"

/* The outputs j of [first, first + count) whose input column j * stride + shift lies inside of [0, width):
 * [*low, *high), counted from `first`. */
static void inside(int32_t first, int32_t count, int64_t stride, int64_t shift, int64_t width, int32_t *low,
                   int32_t *high) {
  int64_t start = first * stride + shift;
  int64_t skipped = start < 0 ? (-start + stride - 1) / stride : 0;
  int64_t reached = start < width ? (width - 1 - start) / stride + 1 : 0;
  *low = skipped < count ? (int32_t)skipped : count;
  *high = reached < count ? (int32_t)reached : count;
}

/* acc[j] += weight * (x[j * stride] - z_x) */
static void accumulate_tap(prunus_i_source source, int16_t weight, const uint8_t *restrict x, ptrdiff_t stride,
                           int32_t count, int32_t *restrict acc) {
  if (stride == 1)
    for (int32_t j = 0; j < count; ++j) acc[j] += weight * (int16_t)prunus_i_centred(source, x[j]);
  else
    for (int32_t j = 0; j < count; ++j) acc[j] += weight * (int16_t)prunus_i_centred(source, x[j * stride]);
}

/* `count` outputs of row oy from column `first` on, of one channel. */
static void accumulate_row(const prunus_conv2d_args *args, const uint8_t *x, const int8_t *w, int32_t oy,
                           int32_t first, int32_t count, int32_t *acc) {
  const prunus_window *window = &args->window;
  prunus_i_source source = prunus_i_source_of(args->x);
  for (int32_t ky = 0; ky < window->kernel_h; ++ky) {
    int64_t iy = (int64_t)oy * window->stride_h - window->pad_top + (int64_t)ky * window->dilation_h;
    if (iy < 0 || iy >= args->in_h) continue;
    const uint8_t *row = x + (ptrdiff_t)iy * args->in_w;
    for (int32_t kx = 0; kx < window->kernel_w; ++kx) {
      int64_t shift = (int64_t)kx * window->dilation_w - window->pad_left;
      int32_t low, high;
      inside(first, count, window->stride_w, shift, args->in_w, &low, &high);
      if (low >= high) continue;
      ptrdiff_t column = (ptrdiff_t)((int64_t)(first + low) * window->stride_w + shift);
      accumulate_tap(source, w[ky * window->kernel_w + kx], row + column, window->stride_w, high - low, acc + low);
    }
  }
}

prunus_status prunus_depthwise2d(const prunus_conv2d_args *args, const void *x, const int8_t *w, const int32_t *bias,
                                 void *y) {
  if (args->group != args->in_c) return PRUNUS_E_SHAPE;
  prunus_status status = prunus_i_check_conv(args);
  if (status) return status;
  int32_t multiplier = args->out_c / args->in_c;
  int32_t taps = args->window.kernel_h * args->window.kernel_w;
  ptrdiff_t in_plane = (ptrdiff_t)args->in_h * args->in_w;
  uint8_t *out = y;
  int32_t acc[PRUNUS_I_ROW];
  for (int32_t n = 0; n < args->batch; ++n)
    for (int32_t o = 0; o < args->out_c; ++o) {
      const uint8_t *plane = (const uint8_t *)x + ((ptrdiff_t)n * args->in_c + o / multiplier) * in_plane;
      for (int32_t oy = 0; oy < args->out_h; ++oy)
        for (int32_t first = 0; first < args->out_w; first += PRUNUS_I_ROW) {
          int32_t count = prunus_i_min(args->out_w - first, PRUNUS_I_ROW);
          for (int32_t j = 0; j < count; ++j) acc[j] = bias[o];
          accumulate_row(args, plane, w + (ptrdiff_t)o * taps, oy, first, count, acc);
          prunus_i_store(&args->y, prunus_i_channel_entry(&args->y, o), acc, count, out, 1);
          out += count;
        }
    }
  return PRUNUS_OK;
}
