// Everything that touches each byte once, 16 bytes at a time.
//
// FIXED and POW2, whose 64-bit products NEON lacks, and the bytes behind the last register go to the generic tier.
#include <algorithm>
#include <cstring>

#include "generic/vector.h"
#include "neon/epilogue.h"

namespace prunus::neon {
namespace {

constexpr std::size_t kBytes = 16;

// -- change of scale -------------------------------------------------------------------------------------------------

// The eight of 16 centred values: q - zero fits int16.
struct Wide {
  int16x8_t low, high;
  Wide(int8x16_t q, int8x8_t zero) : low(vsubl_s8(vget_low_s8(q), zero)), high(vsubl_s8(vget_high_s8(q), zero)) {}
};

inline float32x4_t low_f32(int16x8_t v) { return vcvtq_f32_s32(vmovl_s16(vget_low_s16(v))); }
inline float32x4_t high_f32(int16x8_t v) { return vcvtq_f32_s32(vmovl_high_s16(v)); }

inline int8x8_t zero_of(std::int32_t zero) { return vdup_n_s8(static_cast<std::int8_t>(zero)); }

// Both products are rounded on their own: no fused multiply-add.
inline int32x4_t add_f32(float32x4_t a, float32x4_t b, float32x4_t a_scale, float32x4_t b_scale) {
  return vcvtnq_s32_f32(vaddq_f32(vmulq_f32(a, a_scale), vmulq_f32(b, b_scale)));
}

void add(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  std::size_t i = 0;
  if (r.scheme == PRUNUS_F32) {
    const Range range(r.y_zero, r.low, r.high);
    const float32x4_t m0 = vdupq_n_f32(r.scale[0]), m1 = vdupq_n_f32(r.scale[1]);
    const int8x8_t a_zero = zero_of(r.a_zero), b_zero = zero_of(r.b_zero);
    for (; i + kBytes <= count; i += kBytes) {
      const Wide p(vld1q_s8(a + i), a_zero), q(vld1q_s8(b + i), b_zero);
      vst1q_s8(y + i, range.finish(add_f32(low_f32(p.low), low_f32(q.low), m0, m1),
                                   add_f32(high_f32(p.low), high_f32(q.low), m0, m1),
                                   add_f32(low_f32(p.high), low_f32(q.high), m0, m1),
                                   add_f32(high_f32(p.high), high_f32(q.high), m0, m1)));
    }
  }
  generic::vector_kernels.add(r, a + i, b + i, y + i, count - i);
}

void mul(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  std::size_t i = 0;
  if (r.scheme == PRUNUS_F32) {
    const Range range(r.y_zero, r.low, r.high);
    const float32x4_t m = vdupq_n_f32(r.scale[0]);
    const int8x8_t a_zero = zero_of(r.a_zero), b_zero = zero_of(r.b_zero);
    for (; i + kBytes <= count; i += kBytes) {
      const Wide p(vld1q_s8(a + i), a_zero), q(vld1q_s8(b + i), b_zero);
      vst1q_s8(y + i, range.finish(scale_f32(vmull_s16(vget_low_s16(p.low), vget_low_s16(q.low)), m),
                                   scale_f32(vmull_high_s16(p.low, q.low), m),
                                   scale_f32(vmull_s16(vget_low_s16(p.high), vget_low_s16(q.high)), m),
                                   scale_f32(vmull_high_s16(p.high, q.high), m)));
    }
  }
  generic::vector_kernels.mul(r, a + i, b + i, y + i, count - i);
}

void requantize(const Rescale &r, const Act *a, Act *y, std::size_t count) {
  std::size_t i = 0;
  if (r.scheme == PRUNUS_F32) {
    const Range range(r.y_zero, r.low, r.high);
    const float32x4_t m = vdupq_n_f32(r.scale[0]);
    const int8x8_t zero = zero_of(r.a_zero);
    for (; i + kBytes <= count; i += kBytes) {
      const Wide p(vld1q_s8(a + i), zero);
      vst1q_s8(y + i, range.finish(vcvtnq_s32_f32(vmulq_f32(low_f32(p.low), m)),
                                   vcvtnq_s32_f32(vmulq_f32(high_f32(p.low), m)),
                                   vcvtnq_s32_f32(vmulq_f32(low_f32(p.high), m)),
                                   vcvtnq_s32_f32(vmulq_f32(high_f32(p.high), m))));
    }
  }
  generic::vector_kernels.requantize(r, a + i, y + i, count - i);
}

// -- tables and reductions -------------------------------------------------------------------------------------------

// Four look-ups of 64 entries: TBL gives 0 and TBX keeps the lane where an index lies outside of its table.
void lut(const std::uint8_t table[256], const Act *x, Act *y, std::size_t count) {
  const uint8x16x4_t quarter[4] = {vld1q_u8_x4(table), vld1q_u8_x4(table + 64), vld1q_u8_x4(table + 128),
                                   vld1q_u8_x4(table + 192)};
  std::size_t i = 0;
  for (; i + kBytes <= count; i += kBytes) {
    const uint8x16_t index = vreinterpretq_u8_s8(vld1q_s8(x + i));
    uint8x16_t value = vqtbl4q_u8(quarter[0], index);
    for (int q = 1; q < 4; ++q)
      value = vqtbx4q_u8(value, quarter[q], vsubq_u8(index, vdupq_n_u8(static_cast<std::uint8_t>(64 * q))));
    vst1q_s8(y + i, vreinterpretq_s8_u8(value));
  }
  generic::vector_kernels.lut(table, x + i, y + i, count - i);
}

void max(const Act *x, const std::int32_t *offset, std::int32_t taps, Act *y, std::size_t count) {
  std::size_t i = 0;
  for (; i + 4 * kBytes <= count; i += 4 * kBytes) {
    int8x16x4_t best = vld1q_s8_x4(x + offset[0] + i);
    for (std::int32_t k = 1; k < taps; ++k) {
      const int8x16x4_t tap = vld1q_s8_x4(x + offset[k] + i);
      for (int j = 0; j < 4; ++j) best.val[j] = vmaxq_s8(best.val[j], tap.val[j]);
    }
    vst1q_s8_x4(y + i, best);
  }
  generic::vector_kernels.max(x + i, offset, taps, y + i, count - i);
}

void sum(const Act *x, std::size_t pixels, std::int32_t sum[kQuad]) {
  int32x4_t total[kQuad] = {vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0), vdupq_n_s32(0)};
  std::size_t p = 0;
  for (; p + kPixels <= pixels; p += kPixels) {
    const int8x16x4_t channels = vld4q_s8(x + kQuad * p);
    for (int c = 0; c < kQuad; ++c) total[c] = vpadalq_s16(total[c], vpaddlq_s8(channels.val[c]));
  }
  for (int c = 0; c < kQuad; ++c) sum[c] += vaddvq_s32(total[c]);
  generic::vector_kernels.sum(x + kQuad * p, pixels - p, sum);
}

// -- layouts ---------------------------------------------------------------------------------------------------------

void interleave(const std::uint8_t *const planes[kQuad], Act *y, std::size_t pixels, std::uint8_t flip) {
  const uint8x16_t flips = vdupq_n_u8(flip);
  std::size_t p = 0;
  for (; p + kPixels <= pixels; p += kPixels) {
    uint8x16x4_t channels;
    for (int c = 0; c < kQuad; ++c) channels.val[c] = veorq_u8(vld1q_u8(planes[c] + p), flips);
    vst4q_u8(reinterpret_cast<std::uint8_t *>(y) + kQuad * p, channels);
  }
  const std::uint8_t *const rest[kQuad] = {planes[0] + p, planes[1] + p, planes[2] + p, planes[3] + p};
  generic::vector_kernels.interleave(rest, y + kQuad * p, pixels - p, flip);
}

void deinterleave(const Act *x, std::uint8_t *const planes[kQuad], std::size_t pixels, std::uint8_t flip) {
  const uint8x16_t flips = vdupq_n_u8(flip);
  std::size_t p = 0;
  for (; p + kPixels <= pixels; p += kPixels) {
    const uint8x16x4_t channels = vld4q_u8(reinterpret_cast<const std::uint8_t *>(x) + kQuad * p);
    for (int c = 0; c < kQuad; ++c) vst1q_u8(planes[c] + p, veorq_u8(channels.val[c], flips));
  }
  std::uint8_t *const rest[kQuad] = {planes[0] + p, planes[1] + p, planes[2] + p, planes[3] + p};
  generic::vector_kernels.deinterleave(x + kQuad * p, rest, pixels - p, flip);
}

inline uint32x4_t load_words(const Act *x) { return vreinterpretq_u32_s8(vld1q_s8(x)); }
inline void store_words(Act *y, uint32x4_t words) { vst1q_s8(y, vreinterpretq_s8_u32(words)); }

void stride(const Act *x, std::ptrdiff_t x_row, std::int32_t step, std::int32_t rows, std::int32_t pixels, Act *y,
            std::ptrdiff_t y_row) {
  if (step != 2) return generic::vector_kernels.stride(x, x_row, step, rows, pixels, y, y_row);
  for (std::int32_t row = 0; row < rows; ++row, x += x_row, y += y_row) {
    std::int32_t p = 0;
    for (; p + 4 < pixels; p += 4) {  // reads the word behind the fourth: a fifth pixel shows that it exists
      const Act *from = x + 2 * kQuad * p;
      store_words(y + kQuad * p, vuzp1q_u32(load_words(from), load_words(from + 16)));
    }
    generic::vector_kernels.stride(x + 2 * kQuad * p, x_row, 2, 1, pixels - p, y + kQuad * p, y_row);
  }
}

void rgb(const Act *x, Act *y, std::size_t pixels, std::uint8_t flip) {
  const uint8x16_t flips = vdupq_n_u8(flip);
  std::size_t p = 0;
  for (; p + kPixels <= pixels; p += kPixels) {
    const uint8x16x3_t in = vld3q_u8(reinterpret_cast<const std::uint8_t *>(x) + 3 * p);
    uint8x16x4_t out;
    for (int c = 0; c < 3; ++c) out.val[c] = veorq_u8(in.val[c], flips);
    out.val[3] = out.val[2];
    vst4q_u8(reinterpret_cast<std::uint8_t *>(y) + kQuad * p, out);
  }
  generic::vector_kernels.rgb(x + 3 * p, y + kQuad * p, pixels - p, flip);
}

// 4x4 words.
inline void transpose_block(const Act *x, std::ptrdiff_t x_row, Act *y, std::ptrdiff_t y_column, uint8x16_t flips) {
  uint32x4_t row[4];
  for (int i = 0; i < 4; ++i)
    row[i] = vreinterpretq_u32_u8(veorq_u8(vreinterpretq_u8_s8(vld1q_s8(x + i * x_row)), flips));
  const uint64x2_t a = vreinterpretq_u64_u32(vtrn1q_u32(row[0], row[1]));
  const uint64x2_t b = vreinterpretq_u64_u32(vtrn1q_u32(row[2], row[3]));
  const uint64x2_t c = vreinterpretq_u64_u32(vtrn2q_u32(row[0], row[1]));
  const uint64x2_t d = vreinterpretq_u64_u32(vtrn2q_u32(row[2], row[3]));
  store_words(y, vreinterpretq_u32_u64(vtrn1q_u64(a, b)));
  store_words(y + y_column, vreinterpretq_u32_u64(vtrn1q_u64(c, d)));
  store_words(y + 2 * y_column, vreinterpretq_u32_u64(vtrn2q_u64(a, b)));
  store_words(y + 3 * y_column, vreinterpretq_u32_u64(vtrn2q_u64(c, d)));
}

void transpose(const Act *x, std::ptrdiff_t x_row, std::int32_t rows, std::int32_t columns, Act *y,
               std::ptrdiff_t y_column, std::uint8_t flip) {
  const uint8x16_t flips = vdupq_n_u8(flip);
  const std::int32_t whole_rows = rows / 4 * 4, whole_columns = columns / 4 * 4;
  for (std::int32_t row = 0; row < whole_rows; row += 4)
    for (std::int32_t column = 0; column < whole_columns; column += 4)
      transpose_block(x + row * x_row + kQuad * column, x_row, y + column * y_column + kQuad * row, y_column, flips);
  const auto rest = generic::vector_kernels.transpose;  // the columns to the right, then the rows below
  rest(x + kQuad * whole_columns, x_row, rows, columns - whole_columns, y + whole_columns * y_column, y_column, flip);
  rest(x + whole_rows * x_row, x_row, rows - whole_rows, whole_columns, y + kQuad * whole_rows, y_column, flip);
}

// -- borders ---------------------------------------------------------------------------------------------------------

// A division, as the contract says; FCVTNS saturates, and +-2^24 is where the contract does.
inline int32x4_t quantize_four(const float *x, float32x4_t scale, int32x4_t zero) {
  const int32x4_t limit = vdupq_n_s32(1 << 24);
  const int32x4_t rounded = vcvtnq_s32_f32(vdivq_f32(vld1q_f32(x), scale));
  return vaddq_s32(vmaxq_s32(vminq_s32(rounded, limit), vnegq_s32(limit)), zero);
}

void quantize(const float *x, float scale, std::int32_t zero, std::int32_t low, std::int32_t high, Act *y,
              std::size_t count) {
  const Range range(0, low, high);
  const float32x4_t scales = vdupq_n_f32(scale);
  const int32x4_t zeros = vdupq_n_s32(zero);
  std::size_t i = 0;
  for (; i + kBytes <= count; i += kBytes)
    vst1q_s8(y + i, range.finish(quantize_four(x + i, scales, zeros), quantize_four(x + i + 4, scales, zeros),
                                 quantize_four(x + i + 8, scales, zeros), quantize_four(x + i + 12, scales, zeros)));
  generic::vector_kernels.quantize(x + i, scale, zero, low, high, y + i, count - i);
}

inline float32x4_t dequantize_four(int16x4_t q, int32x4_t zero, float scale) {
  return vmulq_n_f32(vcvtq_f32_s32(vsubq_s32(vmovl_s16(q), zero)), scale);
}

void dequantize(const Act *x, float scale, std::int32_t zero, float *y, std::size_t count) {
  const int32x4_t zeros = vdupq_n_s32(zero);
  std::size_t i = 0;
  for (; i + kBytes <= count; i += kBytes) {
    const int8x16_t q = vld1q_s8(x + i);
    const int16x8_t low = vmovl_s8(vget_low_s8(q)), high = vmovl_high_s8(q);
    vst1q_f32(y + i, dequantize_four(vget_low_s16(low), zeros, scale));
    vst1q_f32(y + i + 4, dequantize_four(vget_high_s16(low), zeros, scale));
    vst1q_f32(y + i + 8, dequantize_four(vget_low_s16(high), zeros, scale));
    vst1q_f32(y + i + 12, dequantize_four(vget_high_s16(high), zeros, scale));
  }
  generic::vector_kernels.dequantize(x + i, scale, zero, y + i, count - i);
}

}  // namespace

extern const VectorKernels vector_kernels;
const VectorKernels vector_kernels = {"neon",     add,          mul,    requantize, lut,      max,       sum,
                                      interleave, deinterleave, stride, transpose,  rgb,      quantize,  dequantize};

}  // namespace prunus::neon
