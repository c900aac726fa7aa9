// Requantization of whole tiles in plain C++, for all three schemes.
//
// SIMD tiers have an F32 path of their own and take this one for FIXED and POW2, whose 64-bit products are rare. All
// functions have internal linkage: each instruction set compiles its own copy with its own flags, and none of them may
// be merged with another's by the linker.
#pragma once

#include <bit>
#include <cstdint>

#include "core/kernel.h"

namespace prunus {
namespace {

inline std::int32_t clip(std::int32_t value, std::int32_t low, std::int32_t high) {
  value = value < low ? low : value;
  return value > high ? high : value;
}

// Half to even by the rounding of float32 addition itself: beyond 2^23 a float has no fraction. The clamp to +-2^15
// keeps the sum there, and changes no byte; it works on the bits, since a comparison of floats is a branch to compilers.
inline std::int32_t round_f32(float value) {
  constexpr auto kLimit = std::bit_cast<std::uint32_t>(32768.0f);
  constexpr float kMagic = 12582912.0f;  // 1.5 * 2^23
  const auto bits = std::bit_cast<std::uint32_t>(value);
  std::uint32_t magnitude = bits & 0x7fffffffu;
  magnitude = magnitude < kLimit ? magnitude : kLimit;
  value = std::bit_cast<float>(magnitude | (bits & 0x80000000u));
  return std::bit_cast<std::int32_t>(value + kMagic) - std::bit_cast<std::int32_t>(kMagic);
}

// value * 2^-shift, half to even; a negative shift is a left one.
inline std::int64_t round_shift(std::int64_t value, std::int32_t shift) {
  if (shift <= 0) return value * (std::int64_t{1} << -shift);
  const std::int64_t floor = value >> shift;
  const std::int64_t rest = value - floor * (std::int64_t{1} << shift);
  const std::int64_t half = std::int64_t{1} << (shift - 1);
  return floor + ((rest > half) | ((rest == half) & (floor & 1)));
}

// A rounded 64-bit value plus the zero point, clipped.
inline std::int32_t finish64(std::int64_t value, std::int32_t zero, std::int32_t low, std::int32_t high) {
  value += zero;
  value = value < low ? low : value;
  return static_cast<std::int32_t>(value > high ? high : value);
}

// acc includes the bias; value[i] = acc[i] requantized with channel `channel`.
template <int count>
void requantize_row(const Epilogue &e, std::int32_t channel, const std::int32_t (&acc)[count],
                    std::int32_t (&value)[count]) {
  if (e.scheme == PRUNUS_F32) {
    const float scale = e.scale[channel];
    for (int i = 0; i < count; ++i)
      value[i] = clip(round_f32(static_cast<float>(acc[i]) * scale) + e.zero, e.low, e.high);
    return;
  }
  const std::int64_t multiplier = e.scheme == PRUNUS_POW2 ? 1 : e.multiplier[channel];
  const std::int32_t shift = e.shift[channel];
  for (int i = 0; i < count; ++i)
    value[i] = finish64(round_shift(acc[i] * multiplier, shift), e.zero, e.low, e.high);
}

// Stores one pixel: acc[i] belongs to channel `channel` + i.
template <int count>
void store_channels(const Epilogue &e, std::int32_t channel, const std::int32_t (&acc)[count], Act *y) {
  for (int i = 0; i < count; ++i) {
    const std::int32_t one[1] = {acc[i]};
    std::int32_t value[1];
    requantize_row(e, channel + i, one, value);
    y[i] = static_cast<Act>(value[0]);
  }
}

// Stores one vector of 16 pixels: acc[c][p] belongs to channel `channel` + c and includes its bias. Pixels whose bit of
// `valid` is 0 become zero points.
[[maybe_unused]] void store_tile(const Epilogue &e, std::int32_t channel, const std::int32_t (&acc)[kQuad][kPixels],
                                 std::uint16_t valid, Act *y) {
  std::int32_t value[kQuad][kPixels];
  for (int c = 0; c < kQuad; ++c) requantize_row(e, channel + c, acc[c], value[c]);
  for (int p = 0; p < kPixels; ++p)
    for (int c = 0; c < kQuad; ++c)
      y[kQuad * p + c] = static_cast<Act>(valid >> p & 1 ? value[c][p] : e.zero);
}

}  // namespace
}  // namespace prunus
