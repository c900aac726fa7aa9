// The members of VectorKernels against their definitions.
#include <algorithm>
#include <cmath>
#include <cstring>
#include <limits>
#include <vector>

#include "check.h"
#include "definition.h"
#include "guarded.h"

namespace prunus::check {
namespace {

using Bytes = Guarded<std::uint8_t>;

std::size_t random_count(Random &random) { return static_cast<std::size_t>(random.size(0, 700)); }

std::int32_t random_act(Random &random) { return static_cast<std::int32_t>(random.between(kActLow, kActHigh)); }

Rescale random_rescale(Random &random, std::int32_t bound) {
  Rescale r{};
  r.scheme = random.one_of({PRUNUS_F32, PRUNUS_F32, PRUNUS_FIXED, PRUNUS_POW2});
  const bool pow2 = r.scheme == PRUNUS_POW2;
  for (int i = 0; i < 2; ++i) {
    const double target = random.one_of({1.0, 30.0, 300.0, 1e6, 1e30});
    double scale = std::max(target / bound * random.uniform(), 1e-37);
    if (random.chance(0.3)) scale = std::exp2(std::floor(std::log2(scale)));
    r.scale[i] = static_cast<float>(scale);
    // the larger shift is at most 22 more than the smaller one: aligned multipliers stay within 2^53
    const std::int32_t most = random.one_of({100, 1 << 17, 2147483647});
    r.multiplier[i] = pow2 ? 1 : static_cast<std::int32_t>(random.between(1, most));
    r.shift[i] = random.size(pow2 ? -31 : 1, pow2 ? 22 : 40);
  }
  if (!pow2) r.shift[1] = std::clamp(r.shift[1], r.shift[0] - 22, r.shift[0] + 22);
  if (random.chance(0.5)) r.shift[1] = r.shift[0];
  if (pow2 && random.chance(0.5)) r.shift[0] = random.size(0, 8), r.shift[1] = random.size(0, 8);
  r.a_zero = random_act(random);
  r.b_zero = random_act(random);
  r.y_zero = random_act(random);
  r.low = random.chance(0.6) ? kActLow : random_act(random);
  r.high = random.chance(0.6) ? kActHigh : static_cast<std::int32_t>(random.between(r.low, kActHigh));
  return r;
}

// Compares and takes the seeded faults that all members share.
template <class T>
std::string compare(Case &c, Guarded<T> &y, const std::vector<T> &want) {
  if (c.fault == Fault::write && y.size() > 0) {
    auto *last = reinterpret_cast<std::uint8_t *>(y.data() + y.size()) - 1;
    *last = static_cast<std::uint8_t>(*last ^ 1);
  }
  for (std::size_t i = 0; i < want.size(); ++i)
    if (std::memcmp(&y[i], &want[i], sizeof(T)) != 0)
      return differs("element of", static_cast<std::int64_t>(i), static_cast<std::int64_t>(want.size()), y[i], want[i]);
  return y.intact() ? "" : "bytes before or behind y changed";
}

template <class T>
void spoil_input(Case &c, Guarded<T> &x) {
  if (c.fault == Fault::weight && x.size() > 0) x[0] = static_cast<T>(x[0] + 1);
  if (c.fault == Fault::read) read_behind(x);
}

// -- arithmetic ------------------------------------------------------------------------------------------------------

template <class Member, class Definition>
std::string check_binary(Member member, std::int32_t bound, Case &c, Definition definition) {
  const std::size_t count = random_count(c.random);
  const Rescale r = random_rescale(c.random, bound);
  Guarded<Act> a(c.random, count), b(c.random, count), y(c.random, count);
  std::vector<Act> want(count);
  for (std::size_t i = 0; i < count; ++i) want[i] = definition(r, a[i], b[i]);
  spoil_input(c, a);
  Guarded<Act> &output = c.random.chance(0.25) ? a : y;
  member(r, a.data(), b.data(), output.data(), count);
  return compare(c, output, want);
}

std::string check_add(const VectorKernels &tier, Case &c) { return check_binary(tier.add, 255, c, added); }

std::string check_mul(const VectorKernels &tier, Case &c) { return check_binary(tier.mul, 255 * 255, c, multiplied); }

std::string check_requantize(const VectorKernels &tier, Case &c) {
  const auto member = [&](const Rescale &r, const Act *a, const Act *, Act *y, std::size_t count) {
    tier.requantize(r, a, y, count);
  };
  return check_binary(member, 255, c, [](const Rescale &r, Act a, Act) { return rescaled(r, a); });
}

std::string check_lut(const VectorKernels &tier, Case &c) {
  Guarded<Act> x(c.random, random_count(c.random)), y(c.random, x.size());
  Bytes table(c.random, 256);
  std::vector<Act> want(x.size());
  for (std::size_t i = 0; i < want.size(); ++i) want[i] = static_cast<Act>(table[static_cast<std::uint8_t>(x[i])]);
  spoil_input(c, x);
  Guarded<Act> &output = c.random.chance(0.25) ? x : y;
  tier.lut(table.data(), x.data(), output.data(), x.size());
  return compare(c, output, want);
}

// -- reductions ------------------------------------------------------------------------------------------------------

std::string check_max(const VectorKernels &tier, Case &c) {
  const std::size_t count = random_count(c.random);
  const std::int32_t taps = c.random.size(1, 25);
  std::vector<std::int32_t> offset(taps);
  for (std::int32_t &o : offset) o = c.random.size(-300, 300);
  const auto [first, last] = std::minmax_element(offset.begin(), offset.end());
  Guarded<Act> x(c.random, count == 0 ? 0 : static_cast<std::size_t>(*last - *first) + count), y(c.random, count);
  const Act *x_0 = x.data() - *first;
  std::vector<Act> want(count);
  for (std::size_t i = 0; i < count; ++i) {
    want[i] = x_0[offset[0] + static_cast<std::ptrdiff_t>(i)];
    for (std::int32_t o : offset) want[i] = std::max(want[i], x_0[o + static_cast<std::ptrdiff_t>(i)]);
  }
  if (c.fault == Fault::weight && count > 0) y[0] = want[0], want[0] ^= 1;
  if (c.fault == Fault::read) read_behind(x);
  tier.max(x_0, offset.data(), taps, y.data(), count);
  return compare(c, y, want);
}

std::string check_sum(const VectorKernels &tier, Case &c) {
  const std::size_t pixels = random_count(c.random);
  Guarded<Act> x(c.random, kQuad * pixels);
  const auto extreme = static_cast<Act>(c.random.chance(0.5) ? kActLow : kActHigh);
  if (c.random.chance(0.3)) std::fill_n(x.data(), x.size(), extreme);
  Guarded<std::int32_t> sums(c.random, kQuad);
  for (int i = 0; i < kQuad; ++i) sums[i] /= 2;
  std::vector<std::int32_t> want = sums.copy();
  for (std::size_t i = 0; i < x.size(); ++i) want[i % kQuad] += x[i];
  spoil_input(c, x);
  tier.sum(x.data(), pixels, sums.data());
  return compare(c, sums, want);
}

// -- layouts ---------------------------------------------------------------------------------------------------------

std::string check_interleave(const VectorKernels &tier, Case &c) {
  const std::size_t pixels = random_count(c.random);
  const auto flip = c.random.one_of<std::uint8_t>({0, 0x80});
  Bytes p0(c.random, pixels), p1(c.random, pixels), p2(c.random, pixels), p3(c.random, pixels);
  Guarded<Act> y(c.random, kQuad * pixels);
  const std::uint8_t *const planes[kQuad] = {p0.data(), p1.data(), p2.data(), p3.data()};
  std::vector<Act> want(y.size());
  for (std::size_t i = 0; i < want.size(); ++i) want[i] = static_cast<Act>(planes[i % kQuad][i / kQuad] ^ flip);
  spoil_input(c, p3);
  tier.interleave(planes, y.data(), pixels, flip);
  return compare(c, y, want);
}

std::string check_deinterleave(const VectorKernels &tier, Case &c) {
  const std::size_t pixels = random_count(c.random);
  const auto flip = c.random.one_of<std::uint8_t>({0, 0x80});
  Guarded<Act> x(c.random, kQuad * pixels);
  Bytes p0(c.random, pixels), p1(c.random, pixels), p2(c.random, pixels), p3(c.random, pixels);
  std::uint8_t *const planes[kQuad] = {p0.data(), p1.data(), p2.data(), p3.data()};
  std::vector<std::uint8_t> want[kQuad];
  for (std::size_t i = 0; i < x.size(); ++i) want[i % kQuad].push_back(static_cast<std::uint8_t>(x[i] ^ flip));
  spoil_input(c, x);
  tier.deinterleave(x.data(), planes, pixels, flip);
  Bytes *const outputs[kQuad] = {&p0, &p1, &p2, &p3};
  std::string message;
  for (int i = 0; i < kQuad && message.empty(); ++i) message = compare(c, *outputs[i], want[i]);
  return message;
}

std::string check_stride(const VectorKernels &tier, Case &c) {
  const auto step = c.random.chance(0.5) ? 2 : c.random.size(1, 7), rows = c.random.size(0, 6), pixels = c.random.size(0, 90);
  const std::int32_t read = pixels == 0 ? 0 : kQuad * ((pixels - 1) * step + 1);  // of a row
  const std::ptrdiff_t x_row = read + c.random.size(0, 30), y_row = kQuad * pixels + c.random.size(0, 30);
  const auto size = [&](std::ptrdiff_t row, std::ptrdiff_t last) { return static_cast<std::size_t>(rows ? row * (rows - 1) + last : 0); };
  Guarded<Act> x(c.random, size(x_row, read)), y(c.random, size(y_row, kQuad * pixels));
  std::vector<Act> want = y.copy();
  for (std::int32_t row = 0; row < rows; ++row)
    for (std::int32_t i = 0; i < kQuad * pixels; ++i)
      want[static_cast<std::size_t>(row * y_row + i)] = x[static_cast<std::size_t>(row * x_row + i / kQuad * kQuad * step + i % kQuad)];
  spoil_input(c, x);
  tier.stride(x.data(), x_row, step, rows, pixels, y.data(), y_row);
  return compare(c, y, want);
}

std::string check_rgb(const VectorKernels &tier, Case &c) {
  const std::size_t pixels = random_count(c.random);
  const auto flip = c.random.one_of<std::uint8_t>({0, 0x80});
  Guarded<Act> x(c.random, 3 * pixels), y(c.random, kQuad * pixels);
  std::vector<Act> want(y.size());
  for (std::size_t i = 0; i < want.size(); ++i)
    want[i] = static_cast<Act>(x[i / kQuad * 3 + std::min<std::size_t>(i % kQuad, 2)] ^ flip);
  spoil_input(c, x);
  tier.rgb(x.data(), y.data(), pixels, flip);
  return compare(c, y, want);
}

std::string check_transpose(const VectorKernels &tier, Case &c) {
  const auto rows = c.random.size(1, 40), columns = c.random.size(1, 40);
  const std::ptrdiff_t x_row = kQuad * columns + c.random.size(0, 30), y_column = kQuad * rows + c.random.size(0, 30);
  const auto flip = c.random.one_of<std::uint8_t>({0, 0x80});
  Guarded<Act> x(c.random, static_cast<std::size_t>(x_row * (rows - 1) + kQuad * columns));
  Guarded<Act> y(c.random, static_cast<std::size_t>(y_column * (columns - 1) + kQuad * rows));
  std::vector<Act> want = y.copy();
  for (std::int32_t row = 0; row < rows; ++row)
    for (std::int32_t i = 0; i < kQuad * columns; ++i)
      want[i / kQuad * y_column + kQuad * row + i % kQuad] = static_cast<Act>(x[row * x_row + i] ^ flip);
  spoil_input(c, x);
  tier.transpose(x.data(), x_row, rows, columns, y.data(), y_column, flip);
  return compare(c, y, want);
}

// -- borders ---------------------------------------------------------------------------------------------------------

float random_real(Random &random, float scale) {
  if (random.chance(0.02))
    return random.one_of({std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity(), 3e38f,
                          -3e38f, 1e-42f, -0.0f});
  const double steps = random.one_of({1.0, 50.0, 300.0, 1e5, 4e7}) * (2 * random.uniform() - 1);
  return static_cast<float>(scale * (random.chance(0.3) ? std::floor(steps) + 0.5 : steps));
}

std::int32_t random_wide_zero(Random &random) {
  return random.chance(0.7) ? random_act(random) : static_cast<std::int32_t>(random.between(-(1 << 24), 1 << 24));
}

float random_step(Random &random) {
  const double exponent = random.chance(0.9) ? static_cast<double>(random.between(-12, 4)) : random.between(-100, 100);
  return static_cast<float>(std::exp2(exponent) * (random.chance(0.5) ? 1.0 : 1.0 + random.uniform()));
}

std::string check_quantize(const VectorKernels &tier, Case &c) {
  const std::size_t count = random_count(c.random);
  const float scale = random_step(c.random);
  const std::int32_t zero = random_wide_zero(c.random), low = random_act(c.random);
  const auto high = static_cast<std::int32_t>(c.random.between(low, kActHigh));
  Guarded<float> x(c.random, count);
  Guarded<Act> y(c.random, count);
  std::vector<Act> want(count);
  for (std::size_t i = 0; i < count; ++i) {
    x[i] = random_real(c.random, scale);
    want[i] = quantized(x[i], scale, zero, low, high);
  }
  if (c.fault == Fault::weight && count > 0) x[0] += x[0] > 0 ? -300 * scale : 300 * scale;
  if (c.fault == Fault::read) read_behind(x);
  const std::size_t nan = count > 0 && c.random.chance(0.1) ? count / 2 : count;  // any result will do
  if (nan < count) x[nan] = std::numeric_limits<float>::quiet_NaN();
  tier.quantize(x.data(), scale, zero, low, high, y.data(), count);
  if (nan < count) want[nan] = y[nan];
  return compare(c, y, want);
}

std::string check_dequantize(const VectorKernels &tier, Case &c) {
  const std::size_t count = random_count(c.random);
  const float scale = random_step(c.random);
  const std::int32_t zero = random_wide_zero(c.random);
  Guarded<Act> x(c.random, count);
  Guarded<float> y(c.random, count);
  std::vector<float> want(count);
  for (std::size_t i = 0; i < count; ++i) want[i] = dequantized(x[i], scale, zero);
  spoil_input(c, x);
  tier.dequantize(x.data(), scale, zero, y.data(), count);
  return compare(c, y, want);
}

}  // namespace

bool has_member(const VectorKernels &t, int member) {
  const bool has[] = {
      t.add != nullptr,        t.mul != nullptr,          t.requantize != nullptr, t.lut != nullptr,
      t.max != nullptr,        t.sum != nullptr,          t.interleave != nullptr, t.deinterleave != nullptr,
      t.stride != nullptr,     t.transpose != nullptr,    t.rgb != nullptr,        t.quantize != nullptr,
      t.dequantize != nullptr,
  };
  static_assert(std::size(has) == std::size(kMembers));
  return has[member];
}

std::string check_member(const VectorKernels &tier, int member, Case &c) {
  using Check = std::string (*)(const VectorKernels &, Case &);
  constexpr Check kChecks[] = {
      check_add,        check_mul,          check_requantize, check_lut,       check_max,      check_sum,
      check_interleave, check_deinterleave, check_stride,     check_transpose, check_rgb,      check_quantize,
      check_dequantize,
  };
  static_assert(std::size(kChecks) == std::size(kMembers));
  return kChecks[member](tier, c);
}

}  // namespace prunus::check
