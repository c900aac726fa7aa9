// The micro-benchmark behind the limit model: every usable kernel on a few small layers that differ in what dominates.
#include <algorithm>
#include <functional>
#include <limits>
#include <map>
#include <numeric>
#include <string>

#include "core/table.h"
#include "select/fit.h"
#include "select/tune.h"

namespace prunus {
namespace {

constexpr std::int32_t kChannelMultiple = 32;  // arrays of an Epilogue
constexpr int kPasses = 3;                     // over everything, so that a disturbance spoils one at most

// A fixed sequence of numbers that look random.
class Numbers {
 public:
  std::uint32_t next() {
    state_ = state_ * 6364136223846793005u + 1442695040888963407u;
    return static_cast<std::uint32_t>(state_ >> 33);
  }
  bool chance(double share) { return next() % 1000 < share * 1000; }

 private:
  std::uint64_t state_ = 1;
};

struct FlatEpilogue {
  std::vector<std::int32_t> zeros;
  std::vector<float> scale;

  explicit FlatEpilogue(std::int32_t channels)
      : zeros(static_cast<std::size_t>(channels + kChannelMultiple)),
        scale(static_cast<std::size_t>(channels + kChannelMultiple), 1e-3f) {}
  Epilogue view() const {
    return {zeros.data(), PRUNUS_F32, scale.data(), zeros.data(), zeros.data(), 0, kActLow, kActHigh};
  }
};

// A layer of random weights, zero in whole blocks of rows x 4 * quads.
struct Weights {
  std::vector<std::int8_t> w;
  std::vector<std::int32_t> offset;
  Matrix matrix;
  double blocks = 0;

  Weights(std::int32_t out_c, std::int32_t quads, std::int32_t quad_bytes, std::int32_t rows, std::int32_t block_quads,
          double density)
      : w(static_cast<std::size_t>(out_c) * static_cast<std::size_t>(quads) * kQuad) {
    Numbers numbers;
    for (std::int32_t q = 0; q < quads; ++q) offset.push_back(q * quad_bytes);
    for (std::int32_t o = 0; o < out_c; o += rows) {
      for (std::int32_t q = 0; q < quads; q += block_quads) {
        if (numbers.chance(1 - density)) continue;
        fill(numbers, o, std::min(o + rows, out_c), q, std::min(q + block_quads, quads), quads);
        ++blocks;
      }
    }
    matrix = {out_c, quads, w.data(), offset.data()};
  }

 private:
  void fill(Numbers &numbers, std::int32_t row, std::int32_t row_end, std::int32_t quad, std::int32_t quad_end,
            std::int32_t quads) {
    for (std::int32_t o = row; o < row_end; ++o) {
      for (std::int32_t k = quad * kQuad; k < quad_end * kQuad; ++k)
        w[static_cast<std::size_t>(o) * static_cast<std::size_t>(quads * kQuad) + static_cast<std::size_t>(k)] =
            static_cast<std::int8_t>(numbers.next() % 127 + 1);
    }
  }
};

double seconds_of(const std::function<void()> &run, double budget_seconds) {
  return race(1, [&](std::size_t) { run(); }, budget_seconds).front();
}

std::int32_t round_up(std::int32_t value, std::int32_t multiple) { return (value + multiple - 1) / multiple * multiple; }

// -- the families -----------------------------------------------------------------------------------------------------

struct Layer {
  std::int32_t out_c, quads, vectors;
  double density;
};

// Bound by products, by blocks, by outputs, by the call.
constexpr Layer kConvLayers[] = {{64, 64, 12, 1},  {64, 64, 12, 0.25}, {128, 4, 48, 1}, {64, 16, 4, 1},
                                 {256, 64, 4, 0.5}, {64, 144, 24, 0.5}, {32, 16, 1, 1}};
constexpr Layer kGemvLayers[] = {{512, 128, 0, 1}, {512, 128, 0, 0.25}, {64, 16, 0, 1}, {1024, 16, 0, 1}, {128, 256, 0, 0.5}};

Sample sample(const ConvKernel &kernel, const Layer &layer, double budget_seconds) {
  const std::int32_t plane_vectors = layer.vectors | 1;  // odd, as in layout.h
  const Weights weights(layer.out_c, layer.quads, plane_vectors * kVectorBytes, kernel.rows, kernel.quads, layer.density);
  Packed packed;
  kernel.pack(weights.matrix, packed);
  const std::int32_t out_quads = round_up(layer.out_c, kQuad) / kQuad;
  const auto plane = static_cast<std::size_t>(plane_vectors) * kVectorBytes;
  Aligned<Act> x(plane * static_cast<std::size_t>(layer.quads), Act{3});
  Aligned<Act> y(plane * static_cast<std::size_t>(out_quads));
  const std::vector<std::uint16_t> valid(static_cast<std::size_t>(layer.vectors), 0xFFFF);
  const FlatEpilogue arrays(layer.out_c);
  const Epilogue epilogue = arrays.view();
  const ConvArgs args{x.data(),     y.data(), static_cast<std::ptrdiff_t>(plane), out_quads, &packed, &epilogue,
                      valid.data(), 0,        packed.groups,                      0,         layer.vectors};
  const double pixels = double{kPixels} * layer.vectors;
  const double macs = weights.blocks * kernel.rows * kernel.quads * kQuad * pixels;
  return {macs, weights.blocks, round_up(layer.out_c, kernel.rows) * pixels,
          seconds_of([&] { kernel.run(args); }, budget_seconds)};
}

// About as many pixels, in rows of 14.
Sample sample(const RowsKernel &kernel, const Layer &layer, double budget_seconds) {
  constexpr std::int32_t kWidth = 14;
  const std::int32_t height = round_up(layer.vectors * kPixels, kWidth) / kWidth, plane_vectors = layer.vectors | 1;
  const std::ptrdiff_t row = kWidth * kQuad;
  const auto plane = static_cast<std::size_t>(plane_vectors + 1) * kVectorBytes;
  const Weights weights(layer.out_c, layer.quads, static_cast<std::int32_t>(plane), kernel.rows, 1, layer.density);
  Packed packed;
  kernel.pack(weights.matrix, packed);
  const std::int32_t out_quads = round_up(layer.out_c, kQuad) / kQuad;
  Aligned<Act> x(plane * static_cast<std::size_t>(layer.quads), Act{3});
  Aligned<Act> y(plane * static_cast<std::size_t>(out_quads));
  const FlatEpilogue arrays(layer.out_c);
  const Epilogue epilogue = arrays.view();
  const std::int32_t *blocks = packed.begin.data();
  const RowsArgs args{x.data(),  y.data(), row,     kQuad,  row,        static_cast<std::ptrdiff_t>(plane),
                      out_quads, kWidth,   &packed, blocks, blocks + 1, &epilogue,
                      0,         packed.groups,     0,      height};
  const double pixels = double{kWidth} * height;
  const double macs = weights.blocks * kernel.rows * kQuad * pixels;
  return {macs, weights.blocks, round_up(layer.out_c, kernel.rows) * pixels,
          seconds_of([&] { kernel.run(args); }, budget_seconds)};
}

Sample sample(const GemvKernel &kernel, const Layer &layer, double budget_seconds) {
  const Weights weights(layer.out_c, layer.quads, kQuad, kernel.rows, 1, layer.density);
  Packed packed;
  kernel.pack(weights.matrix, packed);
  Aligned<Act> x(static_cast<std::size_t>(round_up(layer.quads * kQuad, kVectorBytes)), Act{3});
  Aligned<Act> y(static_cast<std::size_t>(round_up(layer.out_c, kVectorBytes)));
  const FlatEpilogue arrays(layer.out_c);
  const Epilogue epilogue = arrays.view();
  const GemvArgs args{x.data(), y.data(), &packed, &epilogue, 0, packed.groups};
  const double rows = round_up(layer.out_c, kernel.rows);
  const double blocks = kernel.format == GemvFormat::blocks ? weights.blocks : rows / kernel.rows * layer.quads;
  return {blocks * kernel.rows * kQuad, blocks, rows, seconds_of([&] { kernel.run(args); }, budget_seconds)};
}

struct DepthwiseLayer {
  std::int32_t channels, taps, vectors;
};
constexpr DepthwiseLayer kDepthwiseLayers[] = {{64, 9, 12}, {64, 25, 12}, {16, 9, 49}, {4, 9, 1}};

Sample sample(const DepthwiseKernel &kernel, const DepthwiseLayer &layer, double budget_seconds) {
  const std::int32_t quads = layer.channels / kQuad, pitch = 4 * kPixels * kQuad;
  const auto side = layer.taps == 9 ? 3 : 5;
  std::vector<std::int32_t> offset;
  for (std::int32_t tap = 0; tap < layer.taps; ++tap) offset.push_back(tap / side * pitch + tap % side * kQuad);
  const std::vector<std::int8_t> w(static_cast<std::size_t>(layer.channels * layer.taps), 5);
  Packed packed;
  kernel.pack({layer.channels, layer.taps, w.data(), offset.data()}, packed);
  const std::ptrdiff_t plane = std::ptrdiff_t{(layer.vectors + 4 * side + 1) | 1} * kVectorBytes;
  Aligned<Act> x(static_cast<std::size_t>(plane * quads), Act{3}), y(x.size());
  const std::vector<std::uint16_t> valid(static_cast<std::size_t>(layer.vectors), 0xFFFF);
  const FlatEpilogue arrays(layer.channels);
  const Epilogue epilogue = arrays.view();
  const DepthwiseArgs args{x.data(),     y.data(), plane, plane, &packed,      &epilogue,
                           valid.data(), 0,        quads, 0,     layer.vectors};
  const double outputs = double{kVectorBytes} * quads * layer.vectors;
  return {outputs * layer.taps, 0, outputs, seconds_of([&] { kernel.run(args); }, budget_seconds)};
}

using Samples = std::map<std::string, std::vector<Sample>, std::less<>>;

// Adds a pass over a family to what earlier passes found: the least times stay.
template <class Kernel, class Layers>
void sample_family(std::span<const Kernel> kernels, const Layers &layers, double budget_seconds, Samples &found) {
  for (const Kernel &kernel : kernels) {
    if (!usable(kernel.isa)) continue;
    std::vector<Sample> &samples = found[kernel.name];
    samples.resize(std::size(layers), {0, 0, 0, std::numeric_limits<double>::max()});
    for (std::size_t i = 0; i < samples.size(); ++i) {
      const Sample now = sample(kernel, layers[i], budget_seconds);
      if (now.seconds < samples[i].seconds) samples[i] = now;
    }
  }
}

template <class Kernel>
std::size_t usable_count(std::span<const Kernel> kernels) {
  return static_cast<std::size_t>(
      std::count_if(kernels.begin(), kernels.end(), [](const Kernel &kernel) { return usable(kernel.isa); }));
}

// -- memory -----------------------------------------------------------------------------------------------------------

constexpr std::size_t kFootprints[] = {256 << 10, 1 << 20, 8 << 20, 64 << 20};

double read_seconds(std::size_t bytes, double budget_seconds) {
  const Aligned<std::uint64_t> data(bytes / sizeof(std::uint64_t), 1);
  volatile std::uint64_t sink = 0;
  return seconds_of(
      [&] {
        std::uint64_t sums[16] = {};  // independent: the loads are to be the limit
        for (std::size_t i = 0; i < data.size(); i += std::size(sums)) {
          for (std::size_t lane = 0; lane < std::size(sums); ++lane) sums[lane] += data[i + lane];
        }
        sink = std::accumulate(std::begin(sums), std::end(sums), std::uint64_t{0});
      },
      budget_seconds);
}

double relayout_rate(double budget_seconds) {
  constexpr std::size_t kPlanePixels = 3136, kQuads = 16;
  const Aligned<std::uint8_t> x(kPlanePixels * kQuads * kQuad, 3);
  Aligned<Act> y(x.size());
  const double seconds = seconds_of(
      [&] {
        for (std::size_t quad = 0; quad < kQuads; ++quad) {
          const std::uint8_t *begin = x.data() + quad * kQuad * kPlanePixels;
          const std::uint8_t *const planes[kQuad] = {begin, begin + kPlanePixels, begin + 2 * kPlanePixels,
                                                     begin + 3 * kPlanePixels};
          vector_kernels().interleave(planes, y.data() + quad * kQuad * kPlanePixels, kPlanePixels, 0);
        }
      },
      budget_seconds);
  return static_cast<double>(x.size()) / seconds;
}

}  // namespace

Coefficients measure_coefficients(double budget_seconds) {
  const std::size_t samples = (usable_count(conv_kernels()) + usable_count(rows_kernels())) * std::size(kConvLayers) +
                              usable_count(gemv_kernels()) * std::size(kGemvLayers) +
                              usable_count(depthwise_kernels()) * std::size(kDepthwiseLayers) + std::size(kFootprints) + 1;
  const double each = budget_seconds / static_cast<double>(samples * kPasses);
  Samples found;
  Coefficients out;
  out.source = "measured now";
  for (const std::size_t bytes : kFootprints) out.bandwidth.push_back({static_cast<double>(bytes), 0});
  for (int pass = 0; pass < kPasses; ++pass) {
    for (Bandwidth &point : out.bandwidth) {
      const double rate = point.bytes / read_seconds(static_cast<std::size_t>(point.bytes), each);
      point.bytes_per_second = std::max(point.bytes_per_second, rate);
    }
    out.relayout_bytes_per_second = std::max(out.relayout_bytes_per_second, relayout_rate(each));
    sample_family(conv_kernels(), kConvLayers, each, found);
    sample_family(rows_kernels(), kConvLayers, each, found);
    sample_family(gemv_kernels(), kGemvLayers, each, found);
    sample_family(depthwise_kernels(), kDepthwiseLayers, each, found);
  }
  for (std::size_t i = 1; i < out.bandwidth.size(); ++i) {  // noise must not make more memory faster
    double &rate = out.bandwidth[i].bytes_per_second;
    rate = std::min(rate, out.bandwidth[i - 1].bytes_per_second);
  }
  for (const auto &[name, measured] : found) out.kernels[name] = fit_cost(measured);
  return out;
}

}  // namespace prunus
