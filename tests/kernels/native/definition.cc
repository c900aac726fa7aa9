#include "definition.h"

#include <algorithm>
#include <cmath>

namespace prunus::check {
namespace {

__extension__ using Wide = __int128;

std::int64_t half_even(float value, double limit) {
  return static_cast<std::int64_t>(std::nearbyint(std::clamp(static_cast<double>(value), -limit, limit)));
}

// value / 2^shift, half to even: the nearer of the two neighbours, of equally near ones the even one.
Wide half_even_shift(Wide value, std::int32_t shift) {
  if (shift <= 0) return value * (Wide{1} << -shift);
  const Wide unit = Wide{1} << shift;
  Wide below = value / unit;
  if (value % unit < 0) --below;
  const Wide to_below = value - below * unit, to_above = unit - to_below;
  if (to_below != to_above) return to_below < to_above ? below : below + 1;
  return below % 2 == 0 ? below : below + 1;
}

Act clipped(Wide value, std::int32_t zero, std::int32_t low, std::int32_t high) {
  return static_cast<Act>(std::clamp<Wide>(value + zero, low, high));
}

Act scaled(const Rescale &r, std::int64_t acc) {
  if (r.scheme == PRUNUS_F32)
    return clipped(half_even(static_cast<float>(acc) * r.scale[0], 32768.0), r.y_zero, r.low, r.high);
  const Wide multiplier = r.scheme == PRUNUS_POW2 ? 1 : r.multiplier[0];
  return clipped(half_even_shift(acc * multiplier, r.shift[0]), r.y_zero, r.low, r.high);
}

}  // namespace

Act requantized(const Epilogue &e, std::int32_t channel, std::int64_t acc) {
  if (e.scheme == PRUNUS_F32)
    return clipped(half_even(static_cast<float>(acc) * e.scale[channel], 32768.0), e.zero, e.low, e.high);
  const Wide multiplier = e.scheme == PRUNUS_POW2 ? 1 : e.multiplier[channel];
  return clipped(half_even_shift(acc * multiplier, e.shift[channel]), e.zero, e.low, e.high);
}

Act added(const Rescale &r, Act a, Act b) {
  const std::int32_t left = a - r.a_zero, right = b - r.b_zero;
  if (r.scheme == PRUNUS_F32) {
    const float first = static_cast<float>(left) * r.scale[0], second = static_cast<float>(right) * r.scale[1];
    return clipped(half_even(first + second, 32768.0), r.y_zero, r.low, r.high);
  }
  const std::int32_t shift = std::max(r.shift[0], r.shift[1]);
  const Wide m0 = r.scheme == PRUNUS_POW2 ? 1 : r.multiplier[0], m1 = r.scheme == PRUNUS_POW2 ? 1 : r.multiplier[1];
  const Wide sum = left * m0 * (Wide{1} << (shift - r.shift[0])) + right * m1 * (Wide{1} << (shift - r.shift[1]));
  return clipped(half_even_shift(sum, shift), r.y_zero, r.low, r.high);
}

Act multiplied(const Rescale &r, Act a, Act b) {
  return scaled(r, std::int64_t{a - r.a_zero} * (b - r.b_zero));
}

Act rescaled(const Rescale &r, Act a) { return scaled(r, a - r.a_zero); }

Act quantized(float x, float scale, std::int32_t zero, std::int32_t low, std::int32_t high) {
  return clipped(half_even(x / scale, 16777216.0), zero, low, high);
}

float dequantized(Act x, float scale, std::int32_t zero) { return static_cast<float>(x - zero) * scale; }

}  // namespace prunus::check
