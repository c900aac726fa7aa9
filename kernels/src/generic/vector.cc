// Everything that touches each byte once, in plain C++.
#include <algorithm>
#include <bit>
#include <cstring>

#include "core/kernel.h"
#include "generic/epilogue.h"
#include "generic/vector.h"

namespace prunus::generic {
namespace {

// -- change of scale -------------------------------------------------------------------------------------------------

std::int64_t integer_multiplier(const Rescale &r, int entry) {
  return r.scheme == PRUNUS_POW2 ? 1 : r.multiplier[entry];
}

// y[i] = acc(i) * m[0], rounded and clipped.
template <class Accumulator>
void rescale(const Rescale &r, Accumulator acc, Act *y, std::size_t count) {
  if (r.scheme == PRUNUS_F32) {
    const float scale = r.scale[0];
    for (std::size_t i = 0; i < count; ++i)
      y[i] = static_cast<Act>(clip(round_f32(static_cast<float>(acc(i)) * scale) + r.y_zero, r.low, r.high));
    return;
  }
  const std::int64_t multiplier = integer_multiplier(r, 0);
  for (std::size_t i = 0; i < count; ++i)
    y[i] = static_cast<Act>(finish64(round_shift(acc(i) * multiplier, r.shift[0]), r.y_zero, r.low, r.high));
}

void add_f32(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  const float a_scale = r.scale[0], b_scale = r.scale[1];
  for (std::size_t i = 0; i < count; ++i) {
    const float left = static_cast<float>(a[i] - r.a_zero) * a_scale;
    const float right = static_cast<float>(b[i] - r.b_zero) * b_scale;
    y[i] = static_cast<Act>(clip(round_f32(left + right) + r.y_zero, r.low, r.high));
  }
}

// Both multipliers at the larger shift, one rounding.
void add_integer(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  const std::int32_t shift = std::max(r.shift[0], r.shift[1]);
  const std::int64_t a_multiplier = integer_multiplier(r, 0) * (std::int64_t{1} << (shift - r.shift[0]));
  const std::int64_t b_multiplier = integer_multiplier(r, 1) * (std::int64_t{1} << (shift - r.shift[1]));
  for (std::size_t i = 0; i < count; ++i) {
    const std::int64_t sum = (a[i] - r.a_zero) * a_multiplier + (b[i] - r.b_zero) * b_multiplier;
    y[i] = static_cast<Act>(finish64(round_shift(sum, shift), r.y_zero, r.low, r.high));
  }
}

void add(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  if (r.scheme == PRUNUS_F32)
    add_f32(r, a, b, y, count);
  else
    add_integer(r, a, b, y, count);
}

void mul(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  rescale(r, [&](std::size_t i) { return (a[i] - r.a_zero) * (b[i] - r.b_zero); }, y, count);
}

void requantize(const Rescale &r, const Act *a, Act *y, std::size_t count) {
  rescale(r, [&](std::size_t i) { return a[i] - r.a_zero; }, y, count);
}

// -- tables and reductions -------------------------------------------------------------------------------------------

void lut(const std::uint8_t table[256], const Act *x, Act *y, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) y[i] = static_cast<Act>(table[static_cast<std::uint8_t>(x[i])]);
}

void max(const Act *x, const std::int32_t *offset, std::int32_t taps, Act *y, std::size_t count) {
  constexpr std::size_t kStretch = 256;
  for (std::size_t first = 0; first < count; first += kStretch) {
    const std::size_t n = std::min(kStretch, count - first);
    Act best[kStretch];
    std::copy_n(x + offset[0] + first, n, best);
    for (std::int32_t k = 1; k < taps; ++k) {
      const Act *tap = x + offset[k] + first;
      for (std::size_t i = 0; i < n; ++i) best[i] = tap[i] > best[i] ? tap[i] : best[i];
    }
    std::copy_n(best, n, y + first);
  }
}

void sum(const Act *x, std::size_t pixels, std::int32_t sum[kQuad]) {
  for (std::size_t p = 0; p < pixels; ++p)
    for (int c = 0; c < kQuad; ++c) sum[c] += x[kQuad * p + c];
}

// -- layouts ---------------------------------------------------------------------------------------------------------

void interleave(const std::uint8_t *const planes[kQuad], Act *y, std::size_t pixels, std::uint8_t flip) {
  for (std::size_t p = 0; p < pixels; ++p)
    for (int c = 0; c < kQuad; ++c) y[kQuad * p + c] = static_cast<Act>(planes[c][p] ^ flip);
}

void deinterleave(const Act *x, std::uint8_t *const planes[kQuad], std::size_t pixels, std::uint8_t flip) {
  for (int c = 0; c < kQuad; ++c)
    for (std::size_t p = 0; p < pixels; ++p) planes[c][p] = static_cast<std::uint8_t>(x[kQuad * p + c] ^ flip);
}

void stride(const Act *x, std::ptrdiff_t x_row, std::int32_t step, std::int32_t rows, std::int32_t pixels, Act *y,
            std::ptrdiff_t y_row) {
  for (std::int32_t row = 0; row < rows; ++row)
    for (std::int32_t p = 0; p < pixels; ++p) {
      std::uint32_t word;
      std::memcpy(&word, x + row * x_row + std::ptrdiff_t{kQuad} * step * p, kQuad);
      std::memcpy(y + row * y_row + std::ptrdiff_t{kQuad} * p, &word, kQuad);
    }
}

void transpose(const Act *x, std::ptrdiff_t x_row, std::int32_t rows, std::int32_t columns, Act *y,
               std::ptrdiff_t y_column, std::uint8_t flip) {
  const std::uint32_t flips = flip * 0x01010101u;
  for (std::int32_t column = 0; column < columns; ++column)
    for (std::int32_t row = 0; row < rows; ++row) {
      std::uint32_t word;
      std::memcpy(&word, x + row * x_row + std::ptrdiff_t{kQuad} * column, kQuad);
      word ^= flips;
      std::memcpy(y + column * y_column + std::ptrdiff_t{kQuad} * row, &word, kQuad);
    }
}

void rgb(const Act *x, Act *y, std::size_t pixels, std::uint8_t flip) {
  for (std::size_t p = 0; p < pixels; ++p)
    for (std::size_t c = 0; c < kQuad; ++c) y[kQuad * p + c] = static_cast<Act>(x[3 * p + std::min<std::size_t>(c, 2)] ^ flip);
}

// -- borders ---------------------------------------------------------------------------------------------------------

// Half to even after a clamp to +-2^24, where every value saturates whatever the zero point. The clamp works on the
// bits, so that a NaN becomes a number, too. What truncation leaves is exact.
std::int32_t round_wide(float value) {
  constexpr float kLimit = 16777216.0f;
  const auto bits = std::bit_cast<std::uint32_t>(value);
  const std::uint32_t magnitude = std::min(bits & 0x7fffffffu, std::bit_cast<std::uint32_t>(kLimit));
  value = std::bit_cast<float>(magnitude | (bits & 0x80000000u));
  const auto whole = static_cast<std::int32_t>(value);
  const float rest = value - static_cast<float>(whole);
  const std::int32_t odd = whole & 1;
  const std::int32_t up = (rest > 0.5f) | ((rest == 0.5f) & odd);
  const std::int32_t down = (rest < -0.5f) | ((rest == -0.5f) & odd);
  return whole + up - down;
}

void quantize(const float *x, float scale, std::int32_t zero, std::int32_t low, std::int32_t high, Act *y,
              std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) y[i] = static_cast<Act>(clip(round_wide(x[i] / scale) + zero, low, high));
}

void dequantize(const Act *x, float scale, std::int32_t zero, float *y, std::size_t count) {
  for (std::size_t i = 0; i < count; ++i) y[i] = static_cast<float>(x[i] - zero) * scale;
}

}  // namespace

const VectorKernels vector_kernels = {"generic",  add,        mul,          requantize, lut,       max,     sum,
                                      interleave, deinterleave, stride,     transpose,  rgb,       quantize, dequantize};

}  // namespace prunus::generic
