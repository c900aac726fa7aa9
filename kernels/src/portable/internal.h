/* What the portable kernels share: reading 8-bit activations, the requantization, argument checks.
 *
 * Everything is integer arithmetic or single float32 operations, so results do not depend on compiler or machine.
 * Names start with `prunus_i_`; they are not part of the interface.
 */
#ifndef PRUNUS_PORTABLE_INTERNAL_H
#define PRUNUS_PORTABLE_INTERNAL_H

#include "prunus/kernels.h"

#if defined(__FAST_MATH__)
#error "the integer contract needs strict float32 arithmetic: compile without -ffast-math"
#endif
#if defined(__FLT_EVAL_METHOD__) && __FLT_EVAL_METHOD__ != 0 && __FLT_EVAL_METHOD__ != 16
#error "the integer contract needs float32 without excess precision (on 32-bit x86: -msse2 -mfpmath=sse)"
#endif

/* Whether multipliers may be float32. A build for a core without floating point may leave that scheme out: it is then
 * an unknown one, and no function but those of border.c computes in floating point. */
#ifndef PRUNUS_HAS_F32
#define PRUNUS_HAS_F32 1
#endif

/* Outputs that are accumulated together on the stack by the elementwise, depthwise and pooling kernels. */
enum { PRUNUS_I_ROW = 64 };

/* -- activations ------------------------------------------------------------------------------------------------ */

/* u8 and s8 take the same code: q + 128 of an s8 is its byte with the top bit flipped, so with
 * flip = 0x80 and centre = z + 128 (or 0 and z for u8), q - z == (byte ^ flip) - centre. */
typedef struct prunus_i_source {
  int32_t flip, centre;
} prunus_i_source;

static inline prunus_i_source prunus_i_source_of(prunus_type type) {
  int32_t flip = type.dtype == PRUNUS_S8 ? 128 : 0;
  /* unsigned: a zero point that is refused later may be anything */
  return (prunus_i_source){flip, (int32_t)((uint32_t)type.zero_point + (uint32_t)flip)};
}

static inline int32_t prunus_i_centred(prunus_i_source source, uint8_t byte) {
  return (byte ^ source.flip) - source.centre;
}

/* -- rounding --------------------------------------------------------------------------------------------------- */

/* Clamps to +-limit on the bits of |value|, where NaN is above all numbers: no comparison of floats, no branch. */
static inline float prunus_i_clamp(float value, float limit) {
  union {
    float number;
    uint32_t bits;
  } v = {value}, most = {limit};
  uint32_t magnitude = v.bits & 0x7fffffffu;
  magnitude = magnitude < most.bits ? magnitude : most.bits;
  v.bits = magnitude | (v.bits & 0x80000000u);
  return v.number;
}

/* Half to even without libm: clamp to +-limit, truncate, and step away from zero where the remainder, which is exact,
 * is above a half, or is a half and the integer is odd. */
static inline int32_t prunus_i_round(float value, float limit) {
  value = prunus_i_clamp(value, limit);
  int32_t whole = (int32_t)value;
  float rest = value - (float)whole;
  int32_t odd = whole & 1;
  int32_t up = (rest > 0.5f) | ((rest == 0.5f) & odd);
  int32_t down = (rest < -0.5f) | ((rest == -0.5f) & odd);
  return whole + up - down;
}

/* value * 2^-shift, half to even; a negative shift is a left one. |shift| <= 62 and no overflow to the left. */
static inline int64_t prunus_i_round_shift(int64_t value, int32_t shift) {
  if (shift <= 0) return value * ((int64_t)1 << -shift);
  int64_t floor = value >= 0 ? value >> shift : ~(~value >> shift); /* C leaves >> of a negative number open */
  int64_t rest = value - floor * ((int64_t)1 << shift);
  int64_t half = (int64_t)1 << (shift - 1);
  return floor + ((rest > half) | ((rest == half) & (floor & 1)));
}

/* -- the end of a fused operator -------------------------------------------------------------------------------- */

static inline int32_t prunus_i_clip(int32_t value, int32_t low, int32_t high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}

static inline int64_t prunus_i_clip64(int64_t value, int32_t low, int32_t high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}

static inline int64_t prunus_i_integer_multiplier(const prunus_requant *requant, int32_t entry) {
  return requant->scheme == PRUNUS_POW2 ? 1 : requant->multiplier[entry];
}

/* y[i * stride] = requantized acc[i], all by the same entry of the epilogue's multipliers. */
void prunus_i_store(const prunus_epilogue *epilogue, int32_t entry, const int32_t *acc, int32_t count, uint8_t *y,
                    ptrdiff_t stride);

/* The entry of output channel `channel`: arrays of size 1 hold for all channels. */
static inline int32_t prunus_i_channel_entry(const prunus_epilogue *y, int32_t channel) {
  return y->requant.size == 1 ? 0 : channel;
}

/* -- the multiply-accumulate tile ------------------------------------------------------------------------------- */

/* A convolution or matrix product is cut into tiles of PIXELS outputs x CHANNELS channels x DEPTH products. Inputs are
 * centred and widened once per tile into a patch, whose rows run along the weights' own order. The patch and the
 * accumulators stand on the stack (13 KB by default; a small target may set its own depth and channels). */
#ifndef PRUNUS_TILE_DEPTH
#define PRUNUS_TILE_DEPTH 512
#endif
#ifndef PRUNUS_TILE_CHANNELS
#define PRUNUS_TILE_CHANNELS 128
#endif
enum { PRUNUS_I_PIXELS = 8, PRUNUS_I_LD = PRUNUS_TILE_DEPTH + 16 }; /* 16 more: rows in different cache sets */

typedef struct prunus_i_tile {
  int16_t patch[PRUNUS_I_PIXELS][PRUNUS_I_LD];
  int32_t acc[PRUNUS_TILE_CHANNELS][PRUNUS_I_PIXELS];
} prunus_i_tile;

/* acc[o][p] += sum over k < depth of w[o * w_stride + k] * patch[p][k], for o < channels and p < pixels. */
void prunus_i_accumulate(prunus_i_tile *tile, const int8_t *w, ptrdiff_t w_stride, int32_t channels, int32_t depth,
                         int32_t pixels);

/* -- windows ----------------------------------------------------------------------------------------------------- */

typedef struct prunus_i_range {
  int32_t low, high;
} prunus_i_range;

/* The taps k of a window dimension whose input position first + k * dilation lies inside of [0, size). The argument
 * check bounds -first by a pad, so that 32 bits hold what is divided: 64-bit division is a call on small cores. */
static inline prunus_i_range prunus_i_inside(int64_t first, int32_t kernel, int32_t dilation, int32_t size) {
  const uint32_t step = (uint32_t)dilation;
  int64_t low = first < 0 ? ((uint32_t)-first + step - 1) / step : 0;
  int64_t high = first < size ? (uint32_t)(size - 1 - first) / step + 1 : 0;
  return (prunus_i_range){(int32_t)(low < kernel ? low : kernel), (int32_t)(high < kernel ? high : kernel)};
}

/* -- argument checks -------------------------------------------------------------------------------------------- */

static inline int32_t prunus_i_min(int32_t a, int32_t b) { return a < b ? a : b; }

/* That low <= high are values of the type. */
prunus_status prunus_i_check_clip(int32_t dtype, int32_t low, int32_t high);
prunus_status prunus_i_check_type(prunus_type type);
/* The epilogue's type, clip range and every entry of its requantization. */
prunus_status prunus_i_check_epilogue(const prunus_epilogue *epilogue);
/* That, and one entry or `channels` of them. */
prunus_status prunus_i_check_channels(const prunus_epilogue *epilogue, int32_t channels);
/* That the window turns in_h x in_w into out_h x out_w. */
prunus_status prunus_i_check_window(const prunus_window *window, int32_t in_h, int32_t in_w, int32_t out_h,
                                    int32_t out_w);
/* Everything that the two convolutions share. */
prunus_status prunus_i_check_conv(const prunus_conv2d_args *args);
/* 1 <= rank <= PRUNUS_MAX_RANK and no dimension below 1. */
prunus_status prunus_i_check_shape(int32_t rank, const int32_t *shape);

#endif
