// Convolution, matrix times vector and depthwise convolution against their definitions.
#include <algorithm>
#include <cmath>
#include <memory>
#include <set>
#include <vector>

#include "check.h"
#include "definition.h"
#include "guarded.h"

namespace prunus::check {
namespace {

constexpr std::int32_t kPadding = 32;  // entries of an epilogue are a multiple of this
constexpr std::int64_t kMostAct = std::max(-kActLow, kActHigh);

std::int32_t padded(std::int32_t count, std::int32_t multiple) { return (count + multiple - 1) / multiple * multiple; }

// -- weights ---------------------------------------------------------------------------------------------------------

// How zeros lie: none, single ones, or whole blocks of rows x columns.
struct Sparsity {
  std::int32_t rows, columns;
  double density;
};

Sparsity random_sparsity(Random &random) {
  Sparsity s{random.one_of({1, 4, 4, 16, 32}), random.one_of({1, 4, 4, 64}), 1.0};
  s.density = random.one_of({0.0, 0.1, 0.25, 0.5, 1.0, 1.0});
  return s;
}

std::int8_t random_weight(Random &random, bool extreme, std::int32_t most) {
  return static_cast<std::int8_t>(extreme ? random.one_of({-most, most}) : random.between(-most, most));
}

// [out][depth]; columns that do not exist (channels that fill up a quad) may be anything that a layer has.
std::vector<std::int8_t> random_weights(Random &random, std::int32_t out, std::int32_t depth) {
  const Sparsity s = random_sparsity(random);
  const bool extreme = random.chance(0.3);
  // sums of 2 and 4 products with 255 just fit in int16, or just do not: kernels that add there must notice
  const std::int32_t most = random.one_of({127, 127, 127, 65, 64, 33, 32});
  const std::int32_t blocks = (depth + s.columns - 1) / s.columns;
  std::vector<bool> kept(static_cast<std::size_t>((out + s.rows - 1) / s.rows) * blocks);
  for (std::size_t i = 0; i < kept.size(); ++i) kept[i] = random.chance(s.density);
  std::vector<std::int8_t> w(static_cast<std::size_t>(out) * depth, 0);
  for (std::int32_t o = 0; o < out; ++o)
    for (std::int32_t k = 0; k < depth; ++k)
      if (kept[static_cast<std::size_t>(o / s.rows) * blocks + k / s.columns])
        w[static_cast<std::size_t>(o) * depth + k] = random_weight(random, extreme, most);
  return w;
}

// -- the epilogue and its arrays -------------------------------------------------------------------------------------

struct Requantization {
  std::unique_ptr<Guarded<std::int32_t>> bias, multiplier, shift;
  std::unique_ptr<Guarded<float>> scale;
  Epilogue view{};
};

// A multiplier that takes accumulators of up to `bound` to about `target`, sometimes a power of two, whose products
// have exact halves.
float random_scale(Random &random, double bound) {
  const double target = random.one_of({1.0, 30.0, 300.0, 300.0, 1e5, 2.1e9});
  double scale = std::max(target / (bound + 1) * random.uniform(), 1e-37);
  if (random.chance(0.3)) scale = std::exp2(std::floor(std::log2(scale)));
  return static_cast<float>(scale);
}

void random_integers(Random &random, prunus_scheme scheme, double bound, std::int32_t &multiplier,
                     std::int32_t &shift) {
  const auto bits = static_cast<std::int32_t>(random.between(1, 31));
  multiplier = scheme == PRUNUS_POW2 ? 1 : static_cast<std::int32_t>(random.between(1, (std::int64_t{1} << bits) - 1));
  const auto wanted = static_cast<std::int32_t>(std::log2((bound + 1) * multiplier) - 7 + random.between(-3, 3));
  const std::int32_t low = scheme == PRUNUS_POW2 ? -31 : 1;
  shift = random.chance(0.1) ? random.size(low, 62) : std::clamp(wanted, low, 62);
}

// Per channel: `magnitude[c]` bounds the sum of products, so that accumulators stay in int32 whatever the bias.
Requantization random_epilogue(Random &random, const std::vector<std::int64_t> &magnitude) {
  const auto channels = static_cast<std::int32_t>(magnitude.size());
  const auto entries = static_cast<std::size_t>(padded(channels, kPadding));
  Requantization r;
  Epilogue &e = r.view;
  e.scheme = random.one_of({PRUNUS_F32, PRUNUS_F32, PRUNUS_FIXED, PRUNUS_POW2});
  r.bias = std::make_unique<Guarded<std::int32_t>>(random, std::vector<std::int32_t>(entries, 0));
  if (e.scheme == PRUNUS_F32)
    r.scale = std::make_unique<Guarded<float>>(random, std::vector<float>(entries, 1.0f));
  if (e.scheme == PRUNUS_FIXED)
    r.multiplier = std::make_unique<Guarded<std::int32_t>>(random, std::vector<std::int32_t>(entries, 1));
  if (e.scheme != PRUNUS_F32)
    r.shift = std::make_unique<Guarded<std::int32_t>>(random, std::vector<std::int32_t>(entries, 1));
  for (std::int32_t c = 0; c < channels; ++c) {
    const std::int64_t room = 2147483647 - magnitude[c];
    const std::int64_t most = random.one_of({std::int64_t{0}, magnitude[c] / 4, magnitude[c], room});
    const std::int64_t bias = random.between(-std::min(most, room), std::min(most, room));
    (*r.bias)[c] = static_cast<std::int32_t>(bias);
    const double bound = static_cast<double>(std::abs(bias) + magnitude[c]);
    std::int32_t multiplier, shift;
    random_integers(random, e.scheme, bound, multiplier, shift);
    if (r.scale) (*r.scale)[c] = random_scale(random, bound);
    if (r.multiplier) (*r.multiplier)[c] = multiplier;
    if (r.shift) (*r.shift)[c] = shift;
  }
  e.bias = r.bias->data();
  e.scale = r.scale ? r.scale->data() : nullptr;
  e.multiplier = r.multiplier ? r.multiplier->data() : nullptr;
  e.shift = r.shift ? r.shift->data() : nullptr;
  e.zero = static_cast<std::int32_t>(random.between(kActLow, kActHigh));
  const bool whole = random.chance(0.6);
  e.low = whole ? kActLow : static_cast<std::int32_t>(random.between(kActLow, kActHigh));
  e.high = whole ? kActHigh : static_cast<std::int32_t>(random.between(e.low, kActHigh));
  return r;
}

// Sums of |w| times the largest activation, per row.
std::vector<std::int64_t> magnitudes(const std::vector<std::int8_t> &w, std::int32_t rows) {
  const std::size_t depth = rows == 0 ? 0 : w.size() / rows;
  std::vector<std::int64_t> sums(rows, 0);
  for (std::size_t i = 0; i < w.size(); ++i) sums[i / depth] += std::abs(std::int64_t{w[i]}) * kMostAct;
  return sums;
}

// -- inputs ----------------------------------------------------------------------------------------------------------

void random_activations(Random &random, Guarded<Act> &x) {
  const double extreme = random.one_of({0.0, 0.0, 0.5, 1.0});
  if (extreme == 0.0) return;  // random already
  for (std::size_t i = 0; i < x.size(); ++i)
    if (random.chance(extreme)) x[i] = static_cast<Act>(random.chance(0.5) ? kActLow : kActHigh);
}

std::vector<std::uint16_t> random_valid(Random &random, std::int32_t vectors) {
  std::vector<std::uint16_t> valid(vectors, 0xffff);
  if (random.chance(0.4)) return valid;
  for (std::uint16_t &bits : valid)
    bits = static_cast<std::uint16_t>(random.bits() & (random.chance(0.5) ? random.bits() : ~std::uint64_t{0}));
  return valid;
}

// Byte offsets of `taps` x `quads` inputs: a window over planes, or anywhere. The first tap of the first plane is at 0.
std::vector<std::int32_t> random_offsets(Random &random, std::int32_t taps, std::int32_t quads) {
  std::vector<std::int32_t> offset;
  const std::int32_t width = random.size(1, 5), dilation = random.size(1, 3), pitch = random.size(8, 40);
  const std::int32_t plane = kQuad * random.size(16, 400);
  const bool anywhere = random.chance(0.2);
  for (std::int32_t t = 0; t < taps; ++t)
    for (std::int32_t q = 0; q < quads; ++q)
      offset.push_back(anywhere ? kQuad * random.size(-500, 500)
                                : kQuad * dilation * (t / width * pitch + t % width) + q * plane);
  return offset;
}

// A range of begin .. end within 0 .. count, usually all of it.
struct Range {
  std::int32_t begin, end;
};
Range random_range(Random &random, std::int32_t count) {
  if (random.chance(0.5)) return {0, count};
  const std::int32_t begin = random.size(0, count);
  return {begin, random.size(begin, count)};
}

// -- outputs ---------------------------------------------------------------------------------------------------------

// Planes of vectors begin .. end: pixel 0 of quad 0 lies before the buffer where begin > 0.
struct Planes {
  std::ptrdiff_t plane;
  Range vectors;
  Guarded<Act> y;
  std::vector<Act> before;

  Planes(Random &random, std::int32_t quads, Range v)
      : plane(kVectorBytes * std::ptrdiff_t{v.end} + kQuad * random.between(0, 20)),
        vectors(v),
        y(random, v.end == v.begin ? 0 : bytes(quads)),
        before(y.copy()) {}
  std::size_t bytes(std::int32_t quads) const {
    return static_cast<std::size_t>(plane * (quads - 1) + kVectorBytes * (vectors.end - vectors.begin));
  }
  Act *pixel_0() { return y.data() - std::ptrdiff_t{kVectorBytes} * vectors.begin; }
  std::size_t index(std::int32_t quad, std::int32_t vector, std::int32_t byte) const {
    return static_cast<std::size_t>(quad * plane + std::ptrdiff_t{kVectorBytes} * (vector - vectors.begin) + byte);
  }
};

// Compares all of y with `before` after `expected(quad, vector, byte)` has replaced the quads of `quads`.
template <class Expected>
std::string compare(const Planes &out, Range quads, Expected expected) {
  std::vector<Act> want = out.before;
  for (std::int32_t q = quads.begin; q < quads.end; ++q)
    for (std::int32_t v = out.vectors.begin; v < out.vectors.end; ++v)
      for (std::int32_t i = 0; i < kVectorBytes; ++i) want[out.index(q, v, i)] = expected(q, v, i);
  for (std::size_t i = 0; i < want.size(); ++i)
    if (out.y[i] != want[i]) {
      const auto at = static_cast<std::ptrdiff_t>(i), byte = at % out.plane + kVectorBytes * out.vectors.begin;
      return differs("quad, byte", at / out.plane, byte, out.y[i], want[i]);
    }
  return out.y.intact() ? "" : "bytes before or behind y changed";
}

void spoil_weight(Case &c, Guarded<std::int8_t> &w) {
  if (c.fault == Fault::weight && w.size() > 0) w[c.random.between(0, static_cast<std::int64_t>(w.size()) - 1)] ^= 1;
}

}  // namespace

// -- convolution -----------------------------------------------------------------------------------------------------

std::string check_conv(const ConvKernel &kernel, Case &c) {
  Random &random = c.random;
  const std::int32_t out_c = random.size(1, 70), taps = random.one_of({1, 1, 1, 2, 9}), in = random.size(1, 90 / taps);
  const std::int32_t in_quads = (in + kQuad - 1) / kQuad, quads = taps * in_quads;
  const Range vectors = random_range(random, random.size(1, 14));

  const std::vector<std::int8_t> w = random_weights(random, out_c, quads * kQuad);
  const std::vector<std::int32_t> offset = random_offsets(random, taps, in_quads);
  const auto [first, last] = std::minmax_element(offset.begin(), offset.end());
  Guarded<Act> x(random, static_cast<std::size_t>(*last - *first + kVectorBytes * (vectors.end - vectors.begin)));
  random_activations(random, x);
  const Act *x_0 = x.data() - *first - std::ptrdiff_t{kVectorBytes} * vectors.begin;
  const Requantization requantization = random_epilogue(random, magnitudes(w, out_c));
  const Epilogue &e = requantization.view;
  const Guarded<std::uint16_t> valid(random, random_valid(random, vectors.end - vectors.begin));
  const std::uint16_t *valid_0 = valid.data() - vectors.begin;

  Packed packed;
  {
    Guarded<std::int8_t> given(random, w);
    const Guarded<std::int32_t> places(random, offset);
    spoil_weight(c, given);
    kernel.pack({out_c, quads, given.data(), places.data()}, packed);
  }
  if (packed.groups != (out_c + kernel.rows - 1) / kernel.rows) return "pack made another number of groups";

  const std::int32_t all_quads = (out_c + kQuad - 1) / kQuad;
  const std::int32_t y_quads = random.chance(0.7) ? all_quads : random.size(1, all_quads);
  const Range groups = random_range(random, packed.groups);
  Planes out(random, y_quads, vectors);
  const std::vector<std::uint16_t> all(valid.size(), 0xffff);
  kernel.run({x_0, out.pixel_0(), out.plane, y_quads, &packed, &e,
              c.fault == Fault::halo ? all.data() - vectors.begin : valid_0, groups.begin, groups.end, vectors.begin,
              vectors.end});
  if (c.fault == Fault::write && out.y.size() > 0) out.y[out.y.size() - 1] ^= 1;
  if (c.fault == Fault::read) read_behind(x);

  const std::int32_t quads_a_group = kernel.rows / kQuad;
  const Range written{std::min(groups.begin * quads_a_group, y_quads), std::min(groups.end * quads_a_group, y_quads)};
  return compare(out, written, [&](std::int32_t quad, std::int32_t vector, std::int32_t byte) {
    const std::int32_t o = quad * kQuad + byte % kQuad, pixel = byte / kQuad;
    if (!(valid_0[vector] >> pixel & 1)) return static_cast<Act>(e.zero);
    std::int64_t acc = e.bias[o];
    for (std::int32_t k = 0; o < out_c && k < quads * kQuad; ++k)
      acc += std::int64_t{w[static_cast<std::size_t>(o) * quads * kQuad + k]} *
             x_0[offset[k / kQuad] + std::ptrdiff_t{kVectorBytes} * vector + kQuad * pixel + k % kQuad];
    return requantized(e, o, acc);
  });
}

// -- convolution without junk ----------------------------------------------------------------------------------------

std::string check_rows(const RowsKernel &kernel, Case &c) {
  Random &random = c.random;
  const std::int32_t out_c = random.size(1, 70), taps = random.one_of({1, 1, 1, 2, 9}), in = random.size(1, 90 / taps);
  const std::int32_t in_quads = (in + kQuad - 1) / kQuad, quads = taps * in_quads;
  const std::int32_t width = random.size(kRowsWidth, 40);
  const Range rows = random_range(random, random.size(1, 9));
  const std::ptrdiff_t x_step = kQuad * random.one_of({1, 1, 1, 2, 2, 3, 16});
  const std::ptrdiff_t x_row = x_step * width + kQuad * random.between(-3, 9);
  const std::ptrdiff_t y_row = kQuad * (width + random.between(0, 5));

  const std::vector<std::int8_t> w = random_weights(random, out_c, quads * kQuad);
  const std::vector<std::int32_t> offset = random_offsets(random, taps, in_quads);
  const auto [first, last] = std::minmax_element(offset.begin(), offset.end());
  const std::int32_t count = rows.end - rows.begin;
  const auto reach = [&](std::ptrdiff_t row, std::ptrdiff_t step) {
    return row * (count - 1) + step * (width - 1) + kQuad;
  };
  Guarded<Act> x(random, count == 0 ? 0 : static_cast<std::size_t>(*last - *first + reach(x_row, x_step)));
  random_activations(random, x);
  const Act *x_0 = x.data() - *first - rows.begin * x_row;
  const Requantization requantization = random_epilogue(random, magnitudes(w, out_c));
  const Epilogue &e = requantization.view;

  Packed packed;
  {
    Guarded<std::int8_t> given(random, w);
    const Guarded<std::int32_t> places(random, offset);
    spoil_weight(c, given);
    kernel.pack({out_c, quads, given.data(), places.data()}, packed);
  }
  if (packed.groups != (out_c + kernel.rows - 1) / kernel.rows) return "pack made another number of groups";

  // quads of the matrix whose blocks are visited; blocks are known by their offsets
  const bool distinct = std::set<std::int32_t>(offset.begin(), offset.end()).size() == offset.size();
  const Range kept = distinct ? random_range(random, quads) : Range{0, quads};
  std::vector<std::int32_t> begin, end;
  for (std::int32_t g = 0; g < packed.groups; ++g) {
    const auto first_from = [&](std::int32_t quad) {
      std::int32_t b = packed.begin[g];
      for (std::int32_t k = 0; k < quad && b < packed.begin[g + 1]; ++k) b += packed.offset[b] == offset[k];
      return b;
    };
    begin.push_back(first_from(kept.begin));
    end.push_back(first_from(kept.end));
  }

  const std::int32_t all_quads = (out_c + kQuad - 1) / kQuad;
  const std::int32_t y_quads = random.chance(0.7) ? all_quads : random.size(1, all_quads);
  const Range groups = random_range(random, packed.groups);
  const std::ptrdiff_t y_plane = reach(y_row, kQuad) + kQuad * random.between(0, 20);
  Guarded<Act> y(random, count == 0 ? 0 : static_cast<std::size_t>(y_plane * (y_quads - 1) + reach(y_row, kQuad)));
  std::vector<Act> want = y.copy();
  const std::int32_t missing = c.fault == Fault::halo && width > kRowsWidth;  // columns
  kernel.run({x_0, y.data() - rows.begin * y_row, x_row, x_step, y_row, y_plane, y_quads, width - missing, &packed,
              begin.data(), end.data(), &e, groups.begin, groups.end, rows.begin, rows.end});
  if (c.fault == Fault::write && y.size() > 0) y[y.size() - 1] ^= 1;
  if (c.fault == Fault::read) read_behind(x);

  const std::int32_t channels = std::min(groups.end * kernel.rows, y_quads * kQuad);
  for (std::int32_t o = groups.begin * kernel.rows; o < channels; ++o)
    for (std::int32_t r = rows.begin; r < rows.end; ++r)
      for (std::int32_t p = 0; p < width; ++p) {
        std::int64_t acc = e.bias[o];
        for (std::int32_t k = kept.begin * kQuad; o < out_c && k < kept.end * kQuad; ++k)
          acc += std::int64_t{w[static_cast<std::size_t>(o) * quads * kQuad + k]} *
                 x_0[offset[k / kQuad] + r * x_row + p * x_step + k % kQuad];
        want[static_cast<std::size_t>(o / kQuad * y_plane + (r - rows.begin) * y_row + kQuad * p + o % kQuad)] =
            requantized(e, o, acc);
      }
  for (std::size_t i = 0; i < want.size(); ++i)
    if (y[i] != want[i]) {
      const auto at = static_cast<std::ptrdiff_t>(i);
      return differs("quad, byte", at / y_plane, at % y_plane, y[i], want[i]);
    }
  return y.intact() ? "" : "bytes before or behind y changed";
}

// -- matrix times vector ---------------------------------------------------------------------------------------------

std::string check_gemv(const GemvKernel &kernel, Case &c) {
  Random &random = c.random;
  const std::int32_t out_c = random.size(1, 150), quads = random.size(1, 300), depth = quads * kQuad;
  const std::vector<std::int8_t> w = random_weights(random, out_c, depth);
  Guarded<Act> x(random, static_cast<std::size_t>(padded(depth, 64)));
  random_activations(random, x);
  const Requantization requantization = random_epilogue(random, magnitudes(w, out_c));
  const Epilogue &e = requantization.view;

  Packed packed;
  {
    Guarded<std::int8_t> given(random, w);
    std::vector<std::int32_t> offset(quads);
    for (std::int32_t k = 0; k < quads; ++k) offset[k] = kQuad * k;
    const Guarded<std::int32_t> places(random, offset);
    spoil_weight(c, given);
    kernel.pack({out_c, quads, given.data(), places.data()}, packed);
  }
  if (packed.groups != (out_c + kernel.rows - 1) / kernel.rows) return "pack made another number of groups";

  const Range groups = random_range(random, packed.groups);
  Guarded<Act> y(random, static_cast<std::size_t>(padded(out_c, 16)));
  const std::vector<Act> before = y.copy();
  kernel.run({x.data(), y.data(), &packed, &e, groups.begin, groups.end});
  if (c.fault == Fault::write) y[0] ^= 1;
  if (c.fault == Fault::read) read_behind(x);

  for (std::int32_t o = 0; o < static_cast<std::int32_t>(y.size()); ++o) {
    Act want = before[o];
    if (o >= groups.begin * kernel.rows && o < groups.end * kernel.rows) {
      if (o >= out_c) continue;  // arbitrary
      std::int64_t acc = e.bias[o];
      for (std::int32_t k = 0; k < depth; ++k) acc += std::int64_t{w[static_cast<std::size_t>(o) * depth + k]} * x[k];
      want = requantized(e, o, acc);
    }
    if (y[o] != want) return differs("channel of", o, out_c, y[o], want);
  }
  return y.intact() ? "" : "bytes before or behind y changed";
}

// -- depthwise convolution -------------------------------------------------------------------------------------------

std::string check_depthwise(const DepthwiseKernel &kernel, Case &c) {
  Random &random = c.random;
  const std::int32_t channels = random.size(1, 40), taps = random.one_of({1, 3, 4, 9, 9, 25});
  const std::int32_t all_quads = (channels + kQuad - 1) / kQuad;
  const Range vectors = random_range(random, random.size(1, 14)), quads = random_range(random, all_quads);
  const std::vector<std::int8_t> w = random_weights(random, channels, taps);
  const std::vector<std::int32_t> offset = random_offsets(random, taps, 1);
  const auto [first, last] = std::minmax_element(offset.begin(), offset.end());
  const std::int32_t bytes = *last - *first + kVectorBytes * (vectors.end - vectors.begin);
  const std::ptrdiff_t x_plane = bytes + kQuad * random.between(0, 20);
  const std::int32_t planes = quads.end - quads.begin;
  Guarded<Act> x(random, planes == 0 ? 0 : static_cast<std::size_t>((planes - 1) * x_plane + bytes));
  random_activations(random, x);
  const Act *x_0 = x.data() - *first - std::ptrdiff_t{kVectorBytes} * vectors.begin - quads.begin * x_plane;
  const Requantization requantization = random_epilogue(random, magnitudes(w, channels));
  const Epilogue &e = requantization.view;
  const Guarded<std::uint16_t> valid(random, random_valid(random, vectors.end - vectors.begin));
  const std::uint16_t *valid_0 = valid.data() - vectors.begin;

  Packed packed;
  {
    Guarded<std::int8_t> given(random, w);
    const Guarded<std::int32_t> places(random, offset);
    spoil_weight(c, given);
    kernel.pack({channels, taps, given.data(), places.data()}, packed);
  }
  Planes out(random, all_quads, vectors);
  const std::vector<std::uint16_t> all(valid.size(), 0xffff);
  kernel.run({x_0, out.pixel_0(), x_plane, out.plane, &packed, &e,
              c.fault == Fault::halo ? all.data() - vectors.begin : valid_0, quads.begin, quads.end, vectors.begin,
              vectors.end});
  if (c.fault == Fault::write && out.y.size() > 0) out.y[out.y.size() - 1] ^= 1;
  if (c.fault == Fault::read) read_behind(x);

  return compare(out, quads, [&](std::int32_t quad, std::int32_t vector, std::int32_t byte) {
    const std::int32_t channel = quad * kQuad + byte % kQuad, pixel = byte / kQuad;
    if (!(valid_0[vector] >> pixel & 1)) return static_cast<Act>(e.zero);
    std::int64_t acc = e.bias[channel];
    for (std::int32_t t = 0; channel < channels && t < taps; ++t)
      acc += std::int64_t{w[static_cast<std::size_t>(channel) * taps + t]} *
             x_0[quad * x_plane + std::ptrdiff_t{kVectorBytes} * vector + byte + offset[t]];
    return requantized(e, channel, acc);
  });
}

}  // namespace prunus::check
