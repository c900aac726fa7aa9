// Between arrays whose channels are the last dimension and images. One unit is a row of an image.
#include <algorithm>

#include "network/plan.h"
#include "network/relayout.h"

namespace prunus {
namespace {

constexpr std::int32_t kRgb = 3;

class ChannelsLastStep : public Step {
 public:
  ChannelsLastStep(std::int32_t x, std::int32_t y, bool image_is_output) : Step({x}, y), image_is_output_(image_is_output) {}

  void prepare(const Plan &plan, const Options &) override {
    const Geometry &g = plan.value(image_is_output_ ? writes : reads[0]).geometry;
    units = std::int64_t{g.images} * g.height;
  }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const std::int64_t height = memory.plan.value(image_is_output_ ? writes : reads[0]).geometry.height;
    while (begin < end) {
      const std::int64_t image = begin / height, stop = std::min(end, (image + 1) * height);
      rows(memory, static_cast<std::int32_t>(image), static_cast<std::int32_t>(begin - image * height),
           static_cast<std::int32_t>(stop - image * height));
      begin = stop;
    }
  }

 protected:
  virtual void rows(const Memory &memory, std::int32_t image, std::int32_t begin, std::int32_t end) const = 0;

  // The first byte of a row of the array.
  static std::ptrdiff_t array_at(const Geometry &g, std::int32_t image, std::int32_t row) {
    return (std::ptrdiff_t{image} * g.height + row) * g.width * g.channels;
  }

 private:
  bool image_is_output_;
};

class ChannelsLastToImage final : public ChannelsLastStep {
 public:
  ChannelsLastToImage(std::int32_t x, std::int32_t y) : ChannelsLastStep(x, y, true) {}

  void rows(const Memory &memory, std::int32_t image, std::int32_t begin, std::int32_t end) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const Geometry &g = y.geometry;
    const Act *from = memory.at(reads[0]) + array_at(g, image, begin);
    Act *to = memory.at(writes) + g.at(image, 0, begin, 0);
    const bool dense = g.pitch == g.width;
    const std::int32_t runs = dense ? 1 : end - begin, pixels = dense ? (end - begin) * g.width : g.width;
    for (std::int32_t i = 0; i < runs; ++i, from += std::ptrdiff_t{pixels} * g.channels, to += std::ptrdiff_t{kQuad} * g.pitch)
      run_of(memory.plan.vector, g, from, pixels, to, flip_between(x, y));
    for (std::int32_t quad = 0; quad < g.quads(); ++quad) halo(y, begin, end, memory.at(writes) + y.plane(image, quad));
  }

 private:
  // Channels that do not exist repeat the last one: their weights are zeros.
  static void run_of(const VectorKernels &kernels, const Geometry &g, const Act *x, std::int32_t pixels, Act *y,
                     std::uint8_t flip) {
    const std::int32_t channels = g.channels, full = channels / kQuad, rest = channels % kQuad;
    if (full) kernels.transpose(x, channels, pixels, full, y, g.plane_bytes(), flip);
    y += full * g.plane_bytes();
    if (channels == kRgb) return kernels.rgb(x, y, static_cast<std::size_t>(pixels), flip);
    for (std::int32_t p = 0; rest && p < pixels; ++p)
      for (std::int32_t c = 0; c < kQuad; ++c)
        y[kQuad * p + c] = static_cast<Act>(x[std::ptrdiff_t{p} * channels + full * kQuad + std::min(c, rest - 1)] ^ flip);
  }

  static void halo(const Value &y, std::int32_t begin, std::int32_t end, Act *plane) {
    if (begin == 0) fill_above(y, plane);
    fill_right_of(y, begin, end, plane);
    if (end < y.geometry.height) return;
    fill_tail(y, plane);
    fill_below(y, plane);
  }
};

class ImageToChannelsLast final : public ChannelsLastStep {
 public:
  ImageToChannelsLast(std::int32_t x, std::int32_t y) : ChannelsLastStep(x, y, false) {}

  void rows(const Memory &memory, std::int32_t image, std::int32_t begin, std::int32_t end) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const Geometry &g = x.geometry;
    const std::int32_t channels = g.channels, full = channels / kQuad;
    const std::uint8_t flip = flip_between(x, y);
    for (std::int32_t row = begin; row < end; ++row) {
      const Act *from = memory.at(reads[0]) + g.at(image, 0, row, 0);
      Act *to = memory.at(writes) + array_at(g, image, row);
      if (full) memory.plan.vector.transpose(from, g.plane_bytes(), full, g.width, to, channels, flip);
      for (std::int32_t c = full * kQuad; c < channels; ++c)
        for (std::int32_t p = 0; p < g.width; ++p)
          to[std::ptrdiff_t{p} * channels + c] = static_cast<Act>(from[full * g.plane_bytes() + kQuad * p + c % kQuad] ^ flip);
    }
  }
};

}  // namespace

std::unique_ptr<Step> channels_last_to_image(std::int32_t x, std::int32_t y) {
  return std::make_unique<ChannelsLastToImage>(x, y);
}

std::unique_ptr<Step> image_to_channels_last(std::int32_t x, std::int32_t y) {
  return std::make_unique<ImageToChannelsLast>(x, y);
}

}  // namespace prunus
