#include "network/relayout.h"

#include <algorithm>
#include <cstring>

#include "network/plan.h"

namespace prunus {
namespace {

std::uint8_t *bytes(Act *x) { return reinterpret_cast<std::uint8_t *>(x); }

// Channels of a quad that exist.
std::int32_t channels_in(const Geometry &g, std::int32_t quad) { return std::min(kQuad, g.channels - quad * kQuad); }

// A step with one unit per plane of the quad-planar side.
class PlaneStep : public Step {
 public:
  PlaneStep(std::int32_t x, std::int32_t y, bool image_is_output) : Step({x}, y), image_is_output_(image_is_output) {}

  void prepare(const Plan &plan, const Options &) override { units = std::int64_t{image(plan).geometry.images} * quads(plan); }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const std::int64_t per_image = quads(memory.plan);
    for (std::int64_t unit = begin; unit < end; ++unit)
      plane(memory, static_cast<std::int32_t>(unit / per_image), static_cast<std::int32_t>(unit % per_image));
  }

 protected:
  const Value &image(const Plan &plan) const { return plan.value(image_is_output_ ? writes : reads[0]); }
  virtual std::int32_t quads(const Plan &plan) const { return image(plan).geometry.quads(); }
  virtual void plane(const Memory &memory, std::int32_t image, std::int32_t quad) const = 0;

 private:
  bool image_is_output_;
};

class FlatToImage final : public PlaneStep {
 public:
  FlatToImage(std::int32_t x, std::int32_t y) : PlaneStep(x, y, true) {}

  void plane(const Memory &memory, std::int32_t image, std::int32_t quad) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const Geometry &g = y.geometry;
    const std::int64_t channel_bytes = std::int64_t{g.height} * g.width;
    const std::uint8_t *from = bytes(memory.at(reads[0])) + (std::int64_t{image} * g.channels + quad * kQuad) * channel_bytes;
    const std::uint8_t *planes[kQuad];  // channels that do not exist repeat the last one: their weights are zeros
    for (std::int32_t c = 0; c < kQuad; ++c) planes[c] = from + std::min(c, channels_in(g, quad) - 1) * channel_bytes;
    Act *to = memory.at(writes) + y.plane(image, quad);
    const bool dense = g.pitch == g.width;
    const std::int32_t rows = dense ? 1 : g.height;
    const auto pixels = static_cast<std::size_t>(dense ? channel_bytes : g.width);
    for (std::int32_t row = 0; row < rows; ++row) {
      memory.plan.vector.interleave(planes, to + std::ptrdiff_t{kQuad} * row * g.pitch, pixels, flip_between(x, y));
      for (const std::uint8_t *&channel : planes) channel += g.width;
    }
    fill_halo(y, to);
  }
};

class ImageToFlat final : public PlaneStep {
 public:
  ImageToFlat(std::int32_t x, std::int32_t y) : PlaneStep(x, y, false) {}

  void plane(const Memory &memory, std::int32_t image, std::int32_t quad) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const Geometry &g = x.geometry;
    const std::int64_t channel_bytes = std::int64_t{g.height} * g.width;
    std::uint8_t *to = bytes(memory.at(writes)) + (std::int64_t{image} * g.channels + quad * kQuad) * channel_bytes;
    std::uint8_t *planes[kQuad];
    const std::int32_t channels = channels_in(g, quad);
    for (std::int32_t c = 0; c < channels; ++c) planes[c] = to + c * channel_bytes;
    const Act *from = memory.at(reads[0]) + x.plane(image, quad);
    const bool dense = g.pitch == g.width;
    const std::int32_t rows = dense ? 1 : g.height;
    const auto pixels = static_cast<std::size_t>(dense ? channel_bytes : g.width);
    for (std::int32_t row = 0; row < rows; ++row, from += std::ptrdiff_t{kQuad} * g.pitch) {
      if (channels == kQuad)
        memory.plan.vector.deinterleave(from, planes, pixels, flip_between(x, y));
      else
        part_of_quad(from, planes, channels, pixels, flip_between(x, y));
      for (std::int32_t c = 0; c < channels; ++c) planes[c] += g.width;
    }
  }

 private:
  static void part_of_quad(const Act *x, std::uint8_t *const *planes, std::int32_t channels, std::size_t pixels,
                           std::uint8_t flip) {
    for (std::int32_t c = 0; c < channels; ++c)
      for (std::size_t p = 0; p < pixels; ++p) planes[c][p] = static_cast<std::uint8_t>(x[kQuad * p + static_cast<std::size_t>(c)] ^ flip);
  }
};

// So many pixels of one value. Gaps between rows are a word or two: a call of memset would take longer.
void fill_pixels(Act *to, std::int64_t pixels, Act value) {
  const std::uint32_t word = 0x01010101u * static_cast<std::uint8_t>(value);
  for (std::int64_t i = 0; i < pixels; ++i) std::memcpy(to + kQuad * i, &word, sizeof word);
}

class ImageToPhases final : public PlaneStep {
 public:
  ImageToPhases(std::int32_t x, std::int32_t y) : PlaneStep(x, y, false) {}

  void plane(const Memory &memory, std::int32_t image, std::int32_t quad) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const Act *from = memory.at(reads[0]) + x.plane(image, quad);
    for (std::size_t i = 0; i < y.phases.size(); ++i) {
      const auto plane = static_cast<std::int32_t>(i) * x.geometry.quads() + quad;
      Act *to = memory.at(writes) + y.plane(image, plane);
      phase(memory.plan.vector, x.geometry, y, y.phases[i], from, to);
      fill_above(y, to);
      fill_below(y, to);
    }
  }

 private:
  // The pixels of one phase; fill where it has fewer rows or columns than others.
  static void phase(const VectorKernels &kernels, const Geometry &g, const Value &y, Phase phase, const Act *x, Act *to) {
    const std::int32_t width = (g.width - phase.column + y.stride_w - 1) / y.stride_w;
    const std::int32_t height = (g.height - phase.row + y.stride_h - 1) / y.stride_h;
    const std::int64_t pitch = y.geometry.pitch;
    const Act *from = x + kQuad * (std::ptrdiff_t{phase.row} * g.pitch + phase.column);
    kernels.stride(from, std::ptrdiff_t{kQuad} * y.stride_h * g.pitch, y.stride_w, height, width, to, kQuad * pitch);
    for (std::int32_t row = 0; row < height; ++row) fill_pixels(to + kQuad * (row * pitch + width), pitch - width, y.fill);
    const std::int64_t end = std::int64_t{y.geometry.vectors()} * kPixels;
    fill_pixels(to + kQuad * height * pitch, end - height * pitch, y.fill);
  }
};

constexpr std::int32_t kBlock = 64;  // rows of a matrix that one unit converts

class FlatToRows final : public Step {
 public:
  FlatToRows(std::int32_t x, std::int32_t y) : Step({x}, y) {}

  void prepare(const Plan &plan, const Options &) override { units = (plan.value(writes).geometry.width + kBlock - 1) / kBlock; }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const std::int64_t channels = y.geometry.channels;
    const auto full = static_cast<std::int32_t>(channels / kQuad);
    const auto first = static_cast<std::int32_t>(begin * kBlock);
    const auto count = static_cast<std::int32_t>(std::min<std::int64_t>(end * kBlock, y.geometry.width)) - first;
    const Act *from = memory.at(reads[0]) + first * channels;
    Act *to = memory.at(writes) + y.plane(0, 0) + std::ptrdiff_t{kQuad} * first;
    if (full) memory.plan.vector.transpose(from, channels, count, full, to, y.plane_bytes(), flip_between(x, y));
    for (std::int64_t c = std::int64_t{full} * kQuad; c < channels; ++c)
      for (std::int32_t r = 0; r < count; ++r)
        to[full * y.plane_bytes() + kQuad * r + c % kQuad] = static_cast<Act>(from[r * channels + c] ^ flip_between(x, y));
  }
};

class RowsToFlat final : public Step {
 public:
  RowsToFlat(std::int32_t x, std::int32_t y) : Step({x}, y) {}

  void prepare(const Plan &plan, const Options &) override { units = (plan.value(reads[0]).geometry.width + kBlock - 1) / kBlock; }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const std::int64_t channels = x.geometry.channels;
    const auto full = static_cast<std::int32_t>(channels / kQuad);
    const auto first = static_cast<std::int32_t>(begin * kBlock);
    const auto count = static_cast<std::int32_t>(std::min<std::int64_t>(end * kBlock, x.geometry.width)) - first;
    const Act *from = memory.at(reads[0]) + x.plane(0, 0) + std::ptrdiff_t{kQuad} * first;
    Act *to = memory.at(writes) + first * channels;
    if (full) memory.plan.vector.transpose(from, x.plane_bytes(), full, count, to, channels, flip_between(x, y));
    for (std::int64_t c = std::int64_t{full} * kQuad; c < channels; ++c)
      for (std::int32_t r = 0; r < count; ++r)
        to[r * channels + c] = static_cast<Act>(from[full * x.plane_bytes() + kQuad * r + c % kQuad] ^ flip_between(x, y));
  }
};

class FlatToFlat final : public Step {
 public:
  FlatToFlat(std::int32_t x, std::int32_t y) : Step({x}, y) {}

  void prepare(const Plan &, const Options &) override {}

  void run(const Memory &memory, std::int64_t, std::int64_t) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const Act *from = memory.at(reads[0]);
    Act *to = memory.at(writes);
    const auto count = static_cast<std::size_t>(x.elements * x.element_bytes);
    const std::uint8_t flip = flip_between(x, y);
    if (flip == 0)
      std::memcpy(to, from, count);
    else
      for (std::size_t i = 0; i < count; ++i) to[i] = static_cast<Act>(from[i] ^ flip);
  }
};

}  // namespace

std::unique_ptr<Step> flat_to_image(std::int32_t x, std::int32_t y) { return std::make_unique<FlatToImage>(x, y); }
std::unique_ptr<Step> image_to_flat(std::int32_t x, std::int32_t y) { return std::make_unique<ImageToFlat>(x, y); }
std::unique_ptr<Step> flat_to_rows(std::int32_t x, std::int32_t y) { return std::make_unique<FlatToRows>(x, y); }
std::unique_ptr<Step> rows_to_flat(std::int32_t x, std::int32_t y) { return std::make_unique<RowsToFlat>(x, y); }
std::unique_ptr<Step> image_to_phases(std::int32_t x, std::int32_t y) { return std::make_unique<ImageToPhases>(x, y); }
std::unique_ptr<Step> flat_to_flat(std::int32_t x, std::int32_t y) { return std::make_unique<FlatToFlat>(x, y); }

}  // namespace prunus
