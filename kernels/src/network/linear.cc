#include "network/linear.h"

#include <algorithm>
#include <cstdlib>

namespace prunus {
namespace {

constexpr std::int32_t kChannelPadding = 32;  // core/kernel.h: arrays of an Epilogue

std::int32_t floor_div(std::int32_t a, std::int32_t b) { return a / b - (a % b < 0 ? 1 : 0); }

// The largest |acc| of a channel over any bytes of x; accumulators wrap, so that 2^31 bounds all.
double bound_of(const LinearLayer &layer, const std::int8_t *w, std::int32_t bias) {
  std::int64_t magnitude = 0;
  for (std::int64_t i = 0; i < layer.row(); ++i) magnitude += std::abs(w[i]);
  const std::int64_t x = std::max(kActHigh - layer.x_zero, layer.x_zero - kActLow);
  return static_cast<double>(std::min(std::abs(std::int64_t{bias}) + magnitude * x, std::int64_t{1} << 31));
}

std::int32_t folded_bias(const LinearLayer &layer, const std::int8_t *w, std::int32_t bias) {
  std::uint32_t sum = 0;
  for (std::int64_t i = 0; i < layer.row(); ++i) sum += static_cast<std::uint32_t>(w[i]);
  return static_cast<std::int32_t>(static_cast<std::uint32_t>(bias) - static_cast<std::uint32_t>(layer.x_zero) * sum);
}

// One entry per channel, then `filler`.
template <class T>
Aligned<T> per_channel(const std::vector<T> &entries, const LinearLayer &layer, std::size_t padded, T filler) {
  Aligned<T> values(padded, filler);
  if (entries.empty()) return values;
  for (std::size_t o = 0; o < static_cast<std::size_t>(layer.out_c); ++o) {
    const std::size_t own = entries.size() == 1 ? 0 : o;
    values[o] = entries[layer.entry >= 0 ? static_cast<std::size_t>(layer.entry) : own];
  }
  return values;
}

}  // namespace

LinearLayer linear_layer(const Conv &op) {
  return {op.args.out_c, op.args.in_c, op.depthwise ? op.args.in_c : op.args.group,
          op.args.window.kernel_h * op.args.window.kernel_w, op.w.data(), op.bias.data(), &op.epilogue,
          op.args.x.zero_point};
}

LinearLayer linear_layer(const Gemm &op) {
  return {op.args.out_c, op.args.in_c, 1, 1, op.w.data(), op.bias.data(), &op.epilogue, op.args.x.zero_point};
}

LinearEpilogue::LinearEpilogue(const LinearLayer &layer) : data_(*layer.epilogue) {
  const std::size_t padded = static_cast<std::size_t>((std::int64_t{layer.out_c} + kChannelPadding - 1) / kChannelPadding) * kChannelPadding;
  bias_.assign(padded, 0);
  scale_ = per_channel(data_.multiplier_f32, layer, padded, 1.0f);
  multiplier_ = per_channel(data_.multiplier, layer, padded, 1);
  shift_ = per_channel(data_.shift, layer, padded, 1);
  for (std::int32_t o = 0; o < layer.out_c; ++o) {
    const auto channel = static_cast<std::size_t>(o);
    const std::int8_t *w = layer.w + o * layer.row();
    bias_[channel] = folded_bias(layer, w, layer.bias[o]);
    if (data_.scheme == PRUNUS_F32)
      safe_ = safe_ && bound_of(layer, w, layer.bias[o]) * static_cast<double>(scale_[channel]) < 2147483000.0;
  }
}

Epilogue LinearEpilogue::view() const {
  return {bias_.data(), data_.scheme, scale_.data(), multiplier_.data(), shift_.data(), data_.type.zero_point,
          data_.qmin,   data_.qmax};
}

std::vector<Tap> taps_of(const prunus_window &window, std::int32_t stride_h, std::int32_t stride_w,
                         std::vector<Phase> &phases) {
  std::vector<Tap> taps;
  phases.clear();
  for (std::int32_t i = 0; i < window.kernel_h; ++i)
    for (std::int32_t j = 0; j < window.kernel_w; ++j) {
      const std::int32_t y = i * window.dilation_h - window.pad_top, x = j * window.dilation_w - window.pad_left;
      const std::int32_t row = floor_div(y, stride_h), column = floor_div(x, stride_w);
      const Phase phase{y - row * stride_h, x - column * stride_w};
      auto at = std::find_if(phases.begin(), phases.end(),
                             [&](const Phase &p) { return p.row == phase.row && p.column == phase.column; });
      if (at == phases.end()) at = phases.insert(at, phase);
      taps.push_back({static_cast<std::int32_t>(at - phases.begin()), row, column});
    }
  return taps;
}

std::vector<std::int32_t> tap_offsets(const Value &x, const std::vector<Tap> &taps) {
  const std::int64_t phase_bytes =
      x.layout == Layout::phases ? x.geometry.image_bytes() / static_cast<std::int64_t>(x.phases.size()) : 0;
  std::vector<std::int32_t> offsets;
  for (const Tap &tap : taps)
    offsets.push_back(static_cast<std::int32_t>(tap.phase * phase_bytes +
                                                kQuad * (std::int64_t{tap.row} * x.geometry.pitch + tap.column)));
  return offsets;
}

DenseMatrix::DenseMatrix(const LinearLayer &layer, const std::vector<std::int32_t> &tap_offset,
                         std::int64_t plane_bytes)
    : out_c_(layer.out_c) {
  const std::int32_t quads_per_tap = (layer.in_c + kQuad - 1) / kQuad, in_padded = quads_per_tap * kQuad;
  quads_ = layer.taps * quads_per_tap;
  for (std::int32_t offset : tap_offset)
    for (std::int32_t q = 0; q < quads_per_tap; ++q)
      offset_.push_back(static_cast<std::int32_t>(offset + q * plane_bytes));
  w_.assign(std::size_t{kQuad} * static_cast<std::size_t>(quads_) * static_cast<std::size_t>(out_c_), 0);
  const std::int32_t in = layer.in_per_group(), out_per_group = layer.out_c / layer.group;
  for (std::int32_t o = 0; o < out_c_; ++o) {
    const std::int8_t *from = layer.w + o * layer.row();
    std::int8_t *to = w_.data() + std::int64_t{o} * quads_ * kQuad + std::int64_t{o / out_per_group} * in;
    for (std::int32_t c = 0; c < in; ++c)
      for (std::int32_t t = 0; t < layer.taps; ++t) to[std::int64_t{t} * in_padded + c] = *from++;
  }
}

Matrix DenseMatrix::view() const { return {out_c_, quads_, w_.data(), offset_.data()}; }

double DenseMatrix::density(std::int32_t rows, std::int32_t quads) const {
  const std::int64_t width = std::int64_t{quads_} * kQuad, block = std::int64_t{quads} * kQuad;
  const std::int64_t columns = (width + block - 1) / block, groups = (out_c_ + rows - 1) / rows;
  std::vector<std::uint8_t> used(static_cast<std::size_t>(columns));
  std::int64_t count = 0;
  for (std::int64_t g = 0; g < groups; ++g) {
    std::fill(used.begin(), used.end(), 0);
    for (std::int64_t o = g * rows; o < std::min<std::int64_t>((g + 1) * rows, out_c_); ++o)
      for (std::int64_t k = 0; k < width; ++k) used[static_cast<std::size_t>(k / block)] |= w_[static_cast<std::size_t>(o * width + k)] != 0;
    count += std::count(used.begin(), used.end(), 1);
  }
  return static_cast<double>(count) / static_cast<double>(columns * groups);
}

double DenseMatrix::weight_density() const {
  const auto zeros = std::count(w_.begin(), w_.end(), 0);
  return 1 - static_cast<double>(zeros) / static_cast<double>(w_.size());
}

Problem DenseMatrix::problem(std::int64_t vectors, std::int64_t pixels) const {
  Problem problem;
  problem.out_c = out_c_;
  problem.quads = quads_;
  problem.vectors = vectors;
  problem.pixels = pixels;
  problem.density_4 = density(4, 1);
  problem.density_16 = density(16, 1);
  problem.density_32 = density(32, 1);
  problem.density_32x64 = density(32, 16);
  problem.weight_density = weight_density();
  return problem;
}

}  // namespace prunus
