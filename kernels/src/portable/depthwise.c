/* Depthwise 2-D convolution: every output channel reads one input channel. */
#include "internal.h"

#if defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'
enum { DIRECT = 1 };
#else
enum { DIRECT = 0 };
#endif

/* A stretch of an input row, centred and widened, zero where it is padding. Outputs go in vectors of 8: the last ones
 * may be computed for nothing, so that no loop has a remainder. */
enum { SPAN = 2 * PRUNUS_I_ROW + 64, VECTOR = 8 };

typedef struct depthwise {
  const prunus_conv2d_args *args;
  prunus_i_source source;
  int32_t row;  /* outputs per stretch, or 0 where the window is too wide for one */
  int32_t span; /* columns that they read */
} depthwise;

static depthwise depthwise_of(const prunus_conv2d_args *args) {
  const prunus_window *window = &args->window;
  depthwise d = {.args = args, .source = prunus_i_source_of(args->x)};
  int64_t reach = (int64_t)(window->kernel_w - 1) * window->dilation_w + 1, span = 0;
  int32_t row = args->out_w < PRUNUS_I_ROW ? (args->out_w + VECTOR - 1) / VECTOR * VECTOR : PRUNUS_I_ROW;
  for (; row > 0; row -= VECTOR) {
    span = (int64_t)(row - 1) * window->stride_w + reach;
    if (span <= SPAN) break;
  }
  d.row = row;
  d.span = (int32_t)(row ? span : 0);
  return d;
}

/* line[j] = x[first + j] - z_x for 0 <= first + j < width, else 0 */
static void stage(const depthwise *d, const uint8_t *restrict x, int64_t first, int32_t count, int16_t *restrict line) {
  int64_t width = d->args->in_w;
  int32_t low = (int32_t)(first < 0 ? (-first < count ? -first : count) : 0);
  int32_t high = (int32_t)(width - first < count ? (width - first > low ? width - first : low) : count);
  for (int32_t j = 0; j < low; ++j) line[j] = 0;
  for (int32_t j = low; j < high; ++j) line[j] = (int16_t)prunus_i_centred(d->source, x[first + j]);
  for (int32_t j = high; j < count; ++j) line[j] = 0;
}

/* acc[j] += weight * line[j * stride] */
static void accumulate_tap(int16_t weight, const int16_t *restrict line, int32_t stride, int32_t count,
                           int32_t *restrict acc) {
  if (stride == 1)
    for (int32_t j = 0; j < count; ++j) acc[j] += weight * line[j];
  else if (stride == 2)
    for (int32_t j = 0; j < count; ++j) acc[j] += weight * line[2 * j];
  else
    for (int32_t j = 0; j < count; ++j) acc[j] += weight * line[j * stride];
}

/* d->row outputs of row oy from column `first` on, of one channel. */
static void accumulate_row(const depthwise *d, const uint8_t *x, const int8_t *w, int32_t oy, int32_t first,
                           int32_t *acc) {
  const prunus_window *window = &d->args->window;
  int16_t line[SPAN];
  int64_t column = (int64_t)first * window->stride_w - window->pad_left;
  for (int32_t ky = 0; ky < window->kernel_h; ++ky) {
    int64_t iy = (int64_t)oy * window->stride_h - window->pad_top + (int64_t)ky * window->dilation_h;
    if (iy < 0 || iy >= d->args->in_h) continue;
    const uint8_t *row = x + (ptrdiff_t)iy * d->args->in_w;
    stage(d, row, column, d->span, line);
    for (int32_t kx = 0; kx < window->kernel_w; ++kx)
      accumulate_tap(w[ky * window->kernel_w + kx], line + kx * window->dilation_w, window->stride_w, d->row, acc);
  }
}

static int32_t weighted(prunus_i_source source, const uint8_t *x, ptrdiff_t step, const int8_t *w, int32_t taps) {
  int32_t sum = 0;
  for (const int8_t *end = w + taps; w < end; ++w, x += step) sum += *w * prunus_i_centred(source, *x);
  return sum;
}

static inline int32_t weighted3(prunus_i_source source, const uint8_t *x, ptrdiff_t step, const int8_t *w) {
  return w[0] * prunus_i_centred(source, x[0]) + w[1] * prunus_i_centred(source, x[step]) +
         w[2] * prunus_i_centred(source, x[2 * step]);
}

/* The same without staging, output by output, on the taps inside of the input: for cores on which compilers find no
 * vectors, so that no output is computed for nothing. */
static void accumulate_direct(const depthwise *d, const uint8_t *x, const int8_t *w, int32_t oy, int32_t first,
                              int32_t count, int32_t *acc) {
  const prunus_conv2d_args *args = d->args;
  const prunus_window *window = &args->window;
  const prunus_i_source source = d->source;
  const ptrdiff_t step = window->dilation_w, next_row = (ptrdiff_t)window->dilation_h * args->in_w;
  int64_t iy = (int64_t)oy * window->stride_h - window->pad_top;
  int64_t ix = (int64_t)first * window->stride_w - window->pad_left;
  prunus_i_range rows = prunus_i_inside(iy, window->kernel_h, window->dilation_h, args->in_h);
  for (int32_t j = 0; j < count; ++j, ix += window->stride_w) {
    prunus_i_range columns = {0, window->kernel_w};
    if (ix < 0 || ix + (int64_t)(window->kernel_w - 1) * step >= args->in_w)
      columns = prunus_i_inside(ix, window->kernel_w, window->dilation_w, args->in_w);
    const int32_t taps = columns.high - columns.low;
    const uint8_t *row = x + (ptrdiff_t)(iy + (int64_t)rows.low * window->dilation_h) * args->in_w + (ptrdiff_t)ix;
    const int8_t *weight = w + rows.low * window->kernel_w + columns.low;
    row += (ptrdiff_t)columns.low * step;
    int32_t sum = acc[j];
    for (int32_t ky = rows.low; ky < rows.high; ++ky, row += next_row, weight += window->kernel_w)
      sum += taps == 3 ? weighted3(source, row, step, weight) : weighted(source, row, step, weight, taps);
    acc[j] = sum;
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
  depthwise d = depthwise_of(args);
  if (!d.row) return prunus_conv2d(args, x, w, bias, y); /* a grouped convolution is the same, and has no limit */
  int32_t acc[PRUNUS_I_ROW];
  for (int32_t n = 0; n < args->batch; ++n)
    for (int32_t o = 0; o < args->out_c; ++o) {
      const uint8_t *plane = (const uint8_t *)x + ((ptrdiff_t)n * args->in_c + o / multiplier) * in_plane;
      for (int32_t oy = 0; oy < args->out_h; ++oy)
        for (int32_t first = 0; first < args->out_w; first += d.row) {
          int32_t count = prunus_i_min(args->out_w - first, d.row);
          for (int32_t j = 0; j < d.row; ++j) acc[j] = bias[o];
          if (DIRECT)
            accumulate_direct(&d, plane, w + (ptrdiff_t)o * taps, oy, first, count, acc);
          else
            accumulate_row(&d, plane, w + (ptrdiff_t)o * taps, oy, first, acc);
          prunus_i_store(&args->y, prunus_i_channel_entry(&args->y, o), acc, count, out, 1);
          out += count;
        }
    }
  return PRUNUS_OK;
}
