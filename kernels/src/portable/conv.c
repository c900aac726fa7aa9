/* 2-D convolution, dense or grouped. */
#include "internal.h"

/* A stretch of the weights of one output channel: all `taps` of `planes` input channels, or some taps of one channel
 * where the window alone is deeper than a tile. */
typedef struct stretch {
  int32_t first_plane, planes, first_tap, taps;
} stretch;

typedef struct conv {
  const prunus_conv2d_args *args;
  prunus_i_source source;
  int32_t in_per_group, out_per_group, window_taps;
  ptrdiff_t in_plane, out_plane, w_row; /* elements of an input plane, an output plane, an output channel's weights */
} conv;

static conv conv_of(const prunus_conv2d_args *args) {
  conv c = {.args = args, .source = prunus_i_source_of(args->x)};
  c.in_per_group = args->in_c / args->group;
  c.out_per_group = args->out_c / args->group;
  c.window_taps = args->window.kernel_h * args->window.kernel_w;
  c.in_plane = (ptrdiff_t)args->in_h * args->in_w;
  c.out_plane = (ptrdiff_t)args->out_h * args->out_w;
  c.w_row = (ptrdiff_t)c.in_per_group * c.window_taps;
  return c;
}

/* The stretch after `previous`, or one with taps == 0 at the end. Start with a zeroed stretch of no taps. */
static stretch next_stretch(const conv *c, stretch previous) {
  stretch next = {previous.first_plane, 1, previous.first_tap + previous.taps, 0};
  if (next.first_tap == c->window_taps) {
    next.first_plane += previous.planes;
    next.first_tap = 0;
  }
  if (next.first_plane == c->in_per_group) return next;
  next.taps = prunus_i_min(c->window_taps - next.first_tap, PRUNUS_TILE_DEPTH);
  if (next.taps == c->window_taps)
    next.planes = prunus_i_min(c->in_per_group - next.first_plane, PRUNUS_TILE_DEPTH / c->window_taps);
  return next;
}

/* Where each pixel of the tile reads its tap (ky, kx), and a mask of ones where that lies inside of the input. */
static void locate(const conv *c, ptrdiff_t first_pixel, int32_t pixels, int32_t ky, int32_t kx, ptrdiff_t *offset,
                   int16_t *mask) {
  const prunus_conv2d_args *args = c->args;
  const prunus_window *window = &args->window;
  int32_t oy = (int32_t)(first_pixel / args->out_w), ox = (int32_t)(first_pixel % args->out_w);
  for (int32_t p = 0; p < pixels; ++p) {
    int64_t iy = (int64_t)oy * window->stride_h - window->pad_top + (int64_t)ky * window->dilation_h;
    int64_t ix = (int64_t)ox * window->stride_w - window->pad_left + (int64_t)kx * window->dilation_w;
    int inside = iy >= 0 && iy < args->in_h && ix >= 0 && ix < args->in_w;
    offset[p] = inside ? (ptrdiff_t)iy * args->in_w + (ptrdiff_t)ix : 0;
    mask[p] = (int16_t)-inside;
    if (++ox == args->out_w) ox = 0, ++oy;
  }
}

/* Fills patch[p][k] with x - z_x for the products k of the stretch, in the order of the weights; padding is zero.
 * Rows behind the last pixel of the plane repeat it. */
static void gather(const conv *c, const uint8_t *x, ptrdiff_t first_pixel, int32_t pixels, stretch s,
                   prunus_i_tile *tile) {
  ptrdiff_t offset[PRUNUS_I_PIXELS];
  int16_t mask[PRUNUS_I_PIXELS];
  for (int32_t t = 0; t < s.taps; ++t) {
    int32_t tap = s.first_tap + t;
    locate(c, first_pixel, pixels, tap / c->args->window.kernel_w, tap % c->args->window.kernel_w, offset, mask);
    for (int32_t p = pixels; p < PRUNUS_I_PIXELS; ++p) offset[p] = offset[pixels - 1], mask[p] = mask[pixels - 1];
    const uint8_t *plane = x + s.first_plane * c->in_plane;
    int16_t *column = &tile->patch[0][t];
    for (int32_t i = 0; i < s.planes; ++i, plane += c->in_plane, column += s.taps)
      for (int32_t p = 0; p < PRUNUS_I_PIXELS; ++p)
        column[p * PRUNUS_I_LD] = (int16_t)(prunus_i_centred(c->source, plane[offset[p]]) & mask[p]);
  }
}

/* Output channels [first, first + channels) of one tile of pixels. `gathered` says that the patch is there already. */
static void conv_tile(const conv *c, const uint8_t *x, const int8_t *w, const int32_t *bias, int32_t channels,
                      ptrdiff_t first_pixel, int32_t pixels, int gathered, prunus_i_tile *tile) {
  for (int32_t o = 0; o < channels; ++o)
    for (int32_t p = 0; p < PRUNUS_I_PIXELS; ++p) tile->acc[o][p] = bias[o];
  for (stretch s = next_stretch(c, (stretch){0, 0, 0, 0}); s.taps; s = next_stretch(c, s)) {
    if (!gathered) gather(c, x, first_pixel, pixels, s, tile);
    const int8_t *part = w + (ptrdiff_t)s.first_plane * c->window_taps + s.first_tap;
    prunus_i_accumulate(tile, part, c->w_row, channels, s.planes * s.taps, pixels == 1 ? 1 : (pixels + 3) / 4 * 4);
  }
}

/* One group of one image. x, w, bias and y point at the group's first channel, which is number `first_channel`. */
static void conv_group(const conv *c, const uint8_t *x, const int8_t *w, const int32_t *bias, int32_t first_channel,
                       uint8_t *y) {
  prunus_i_tile tile;
  const prunus_epilogue *epilogue = &c->args->y;
  for (ptrdiff_t pixel = 0; pixel < c->out_plane; pixel += PRUNUS_I_PIXELS) {
    int32_t pixels = c->out_plane - pixel < PRUNUS_I_PIXELS ? (int32_t)(c->out_plane - pixel) : PRUNUS_I_PIXELS;
    for (int32_t first = 0; first < c->out_per_group; first += PRUNUS_TILE_CHANNELS) {
      int32_t channels = prunus_i_min(c->out_per_group - first, PRUNUS_TILE_CHANNELS);
      int gathered = first > 0 && c->w_row <= PRUNUS_TILE_DEPTH;
      conv_tile(c, x, w + first * c->w_row, bias + first, channels, pixel, pixels, gathered, &tile);
      for (int32_t o = 0; o < channels; ++o)
        prunus_i_store(epilogue, prunus_i_channel_entry(epilogue, first_channel + first + o), tile.acc[o], pixels,
                       y + (first + o) * c->out_plane + pixel, 1);
    }
  }
}

prunus_status prunus_conv2d(const prunus_conv2d_args *args, const void *x, const int8_t *w, const int32_t *bias,
                            void *y) {
  prunus_status status = prunus_i_check_conv(args);
  if (status) return status;
  conv c = conv_of(args);
  for (int32_t n = 0; n < args->batch; ++n)
    for (int32_t g = 0; g < args->group; ++g) {
      const uint8_t *image = (const uint8_t *)x + ((ptrdiff_t)n * args->in_c + (ptrdiff_t)g * c.in_per_group) * c.in_plane;
      int32_t channel = g * c.out_per_group;
      conv_group(&c, image, w + channel * c.w_row, bias + channel, channel,
                 (uint8_t *)y + ((ptrdiff_t)n * args->out_c + channel) * c.out_plane);
    }
  return PRUNUS_OK;
}
