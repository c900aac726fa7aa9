// Depthwise convolution: 16 pixels of a quad are 16 accumulators with a channel in each lane.
//
// Two taps share an int16 lane (SMULL, SMLAL), whose sum of at most 2 * 128 * 127 fits; SADDW widens it into int32.
#include <arm_neon.h>

#include "core/pack.h"
#include "neon/epilogue.h"
#include "neon/registers.h"

namespace prunus::neon {
namespace {

constexpr int kRegisters = kVectorBytes / 16;

inline void widen(int32x4_t *acc, int16x8_t low, int16x8_t high) {
  acc[0] = vaddw_s16(acc[0], vget_low_s16(low));
  acc[1] = vaddw_high_s16(acc[1], low);
  acc[2] = vaddw_s16(acc[2], vget_low_s16(high));
  acc[3] = vaddw_high_s16(acc[3], high);
}

inline void accumulate_pair(const Act *xa, const Act *xb, const std::int8_t *w, int32x4_t (&acc)[kPixels]) {
  const int8x16_t wa = repeat_word(w), wb = repeat_word(w + kQuad);
  unrolled<kRegisters>([&](auto i) {
    const int8x16_t a = vld1q_s8(xa + 16 * i), b = vld1q_s8(xb + 16 * i);
    const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(a), vget_low_s8(wa)), vget_low_s8(b), vget_low_s8(wb));
    widen(&acc[4 * i], low, vmlal_high_s8(vmull_high_s8(a, wa), b, wb));
  });
}

inline void accumulate_one(const Act *x, const std::int8_t *w, int32x4_t (&acc)[kPixels]) {
  const int8x16_t weight = repeat_word(w);
  unrolled<kRegisters>([&](auto i) {
    const int8x16_t a = vld1q_s8(x + 16 * i);
    widen(&acc[4 * i], vmull_s8(vget_low_s8(a), vget_low_s8(weight)), vmull_high_s8(a, weight));
  });
}

void store_f32(const Epilogue &e, std::int32_t channel, const int32x4_t (&acc)[kPixels], std::uint16_t valid, Act *y) {
  const float32x4_t scale = vld1q_f32(e.scale + channel);
  const Range range(e.zero, e.low, e.high);
  for (int i = 0; i < kRegisters; ++i) {
    const int32x4_t *four = &acc[4 * i];
    int8x16_t bytes = range.finish(scale_f32(four[0], scale), scale_f32(four[1], scale), scale_f32(four[2], scale),
                                   scale_f32(four[3], scale));
    if (valid != 0xffff) {
      const uint32x4_t pixel = {1u << 4 * i, 2u << 4 * i, 4u << 4 * i, 8u << 4 * i};
      const uint8x16_t mask = vreinterpretq_u8_u32(vtstq_u32(vdupq_n_u32(valid), pixel));
      bytes = vbslq_s8(mask, bytes, vdupq_n_s8(static_cast<std::int8_t>(e.zero)));
    }
    vst1q_s8(y + 16 * i, bytes);
  }
}

void store(const Epilogue &e, std::int32_t channel, const int32x4_t (&acc)[kPixels], std::uint16_t valid, Act *y) {
  if (e.scheme == PRUNUS_F32) return store_f32(e, channel, acc, valid, y);
  std::int32_t tile[kQuad][kPixels];
  for (int p = 0; p < kPixels; ++p) {
    std::int32_t pixel[kQuad];
    vst1q_s32(pixel, acc[p]);
    for (int c = 0; c < kQuad; ++c) tile[c][p] = pixel[c];
  }
  store_tile(e, channel, tile, valid, y);
}

void depthwise_vector(const DepthwiseArgs &args, std::int32_t quad, std::int32_t vector) {
  const std::int32_t *offset = args.weights->offset.data();
  const std::ptrdiff_t taps = std::ssize(args.weights->offset), at = std::ptrdiff_t{kVectorBytes} * vector;
  const Act *x = args.x + quad * args.x_plane + at;
  const std::int8_t *w = args.weights->value.data() + quad * kQuad * taps;
  int32x4_t acc[kPixels];
  for (int32x4_t &a : acc) a = vld1q_s32(args.epilogue->bias + kQuad * quad);
  for (std::ptrdiff_t t = 0; t + 1 < taps; t += 2)
    accumulate_pair(x + offset[t], x + offset[t + 1], w + kQuad * t, acc);
  if (taps % 2 == 1) accumulate_one(x + offset[taps - 1], w + kQuad * (taps - 1), acc);
  store(*args.epilogue, kQuad * quad, acc, args.valid[vector], args.y + quad * args.y_plane + at);
}

}  // namespace

void pack_taps(const DepthwiseMatrix &matrix, Packed &packed) { prunus::pack_taps(matrix, packed); }

void depthwise_taps(const DepthwiseArgs &args) {
  for (std::int32_t q = args.quad_begin; q < args.quad_end; ++q)
    for (std::int32_t v = args.vector_begin; v < args.vector_end; ++v) depthwise_vector(args, q, v);
}

}  // namespace prunus::neon
