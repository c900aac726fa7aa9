// Requantization and stores that all NEON tiers share; internal linkage, since each compiles it with its own flags.
//
// FCVTNS rounds half to even and saturates, SQXTN saturates: no clamp is needed before the final clip.
#pragma once

#include <arm_neon.h>

#include <cstdint>

#include "core/kernel.h"
#include "generic/epilogue.h"

namespace prunus {
namespace {

// Zero point and clip of an output.
struct Range {
  int16x8_t zero;
  int8x16_t low, high;

  Range(std::int32_t y_zero, std::int32_t y_low, std::int32_t y_high)
      : zero(vdupq_n_s16(static_cast<std::int16_t>(y_zero))),
        low(vdupq_n_s8(static_cast<std::int8_t>(y_low))),
        high(vdupq_n_s8(static_cast<std::int8_t>(y_high))) {}

  // 16 rounded values to bytes.
  int8x16_t finish(int32x4_t v0, int32x4_t v1, int32x4_t v2, int32x4_t v3) const {
    const int16x8_t left = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(v0), v1), zero);
    const int16x8_t right = vqaddq_s16(vqmovn_high_s32(vqmovn_s32(v2), v3), zero);
    return vminq_s8(vmaxq_s8(vqmovn_high_s16(vqmovn_s16(left), right), low), high);
  }
};

inline int32x4_t scale_f32(int32x4_t acc, float32x4_t scale) {
  return vcvtnq_s32_f32(vmulq_f32(vcvtq_f32_s32(acc), scale));
}

// The bits of 16 pixels as bytes of ones and zeros.
inline uint8x16_t pixel_mask(std::uint16_t valid) {
  const uint8x16_t bit = vreinterpretq_u8_u64(vdupq_n_u64(0x8040201008040201u));
  const uint8x16_t bits = vcombine_u8(vdup_n_u8(static_cast<std::uint8_t>(valid)),
                                      vdup_n_u8(static_cast<std::uint8_t>(valid >> 8)));
  return vtstq_u8(bits, bit);
}

// As generic/epilogue.h: acc[c][i] holds pixels 4 i .. 4 i + 3 of channel `channel` + c.
[[maybe_unused]] void store_tile(const Epilogue &e, std::int32_t channel, const int32x4_t (&acc)[kQuad][4],
                                 std::uint16_t valid, Act *y) {
  if (e.scheme != PRUNUS_F32) {
    std::int32_t tile[kQuad][kPixels];
    for (int c = 0; c < kQuad; ++c)
      for (int i = 0; i < 4; ++i) vst1q_s32(&tile[c][4 * i], acc[c][i]);
    store_tile(e, channel, tile, valid, y);
    return;
  }
  const Range range(e.zero, e.low, e.high);
  int8x16x4_t bytes;
  for (int c = 0; c < kQuad; ++c) {
    const float32x4_t scale = vdupq_n_f32(e.scale[channel + c]);
    bytes.val[c] = range.finish(scale_f32(acc[c][0], scale), scale_f32(acc[c][1], scale), scale_f32(acc[c][2], scale),
                                scale_f32(acc[c][3], scale));
  }
  if (valid != 0xffff) {
    const int8x16_t zero = vdupq_n_s8(static_cast<std::int8_t>(e.zero));
    for (int8x16_t &row : bytes.val) row = vbslq_s8(pixel_mask(valid), row, zero);
  }
  vst4q_s8(y, bytes);
}

// One pixel of 16 channels: acc[i] holds channels `channel` + 4 i .. + 3.
[[maybe_unused]] void store_channels(const Epilogue &e, std::int32_t channel, const int32x4_t (&acc)[4], Act *y) {
  if (e.scheme != PRUNUS_F32) {
    std::int32_t sums[16];
    for (int i = 0; i < 4; ++i) vst1q_s32(&sums[4 * i], acc[i]);
    store_channels(e, channel, sums, y);
    return;
  }
  int32x4_t value[4];
  for (int i = 0; i < 4; ++i) value[i] = scale_f32(acc[i], vld1q_f32(e.scale + channel + 4 * i));
  vst1q_s8(y, Range(e.zero, e.low, e.high).finish(value[0], value[1], value[2], value[3]));
}

}  // namespace
}  // namespace prunus
