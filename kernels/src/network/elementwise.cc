#include "network/elementwise.h"

#include <algorithm>
#include <utility>

#include "core/table.h"

namespace prunus {
namespace {

constexpr std::int64_t kChunk = 32 * 1024;  // bytes of a flat tensor per unit

// A value as units of contiguous bytes: planes, or chunks of a flat tensor. Equal for all values of a step.
struct Units {
  explicit Units(const Value &value) : flat(value.layout == Layout::flat) {
    const Geometry &g = value.geometry;
    bytes = flat ? value.elements : std::int64_t{kVectorBytes} * g.vectors();
    quads = flat ? 1 : g.quads();
    count = flat ? (bytes + kChunk - 1) / kChunk : std::int64_t{g.images} * quads;
  }
  std::int64_t begin(const Value &value, std::int64_t unit) const {
    if (flat) return unit * kChunk;
    return value.plane(static_cast<std::int32_t>(unit / quads), static_cast<std::int32_t>(unit % quads));
  }
  std::size_t size(std::int64_t unit) const {
    return static_cast<std::size_t>(flat ? std::min(kChunk, bytes - unit * kChunk) : bytes);
  }

  bool flat;
  std::int64_t bytes, quads, count;
};

class ElementwiseStep : public Step {
 public:
  ElementwiseStep(std::vector<std::int32_t> reads, std::int32_t writes) : Step(std::move(reads), writes) {}

  void prepare(const Plan &plan, const Options &) override { units = Units(plan.value(writes)).count; }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const Value &y = memory.plan.value(writes);
    const Units cut(y);
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const Act *in[2] = {};
      for (std::size_t i = 0; i < reads.size(); ++i)
        in[i] = memory.at(reads[i]) + cut.begin(memory.plan.value(reads[i]), unit);
      Act *out = memory.at(writes) + cut.begin(y, unit);
      apply(memory.plan.vector, in, out, cut.size(unit));
      if (cut.flat) continue;
      fill_above(y, out);
      if (!halo_stays_) fill_between(y, out);
      fill_below(y, out);
    }
  }

 protected:
  virtual void apply(const VectorKernels &kernels, const Act *const *in, Act *out, std::size_t count) const = 0;

  bool halo_stays_ = false;  // the operator turns the halo of its inputs into that of its output
};

class BinaryStep final : public ElementwiseStep {
 public:
  BinaryStep(std::int32_t a, std::int32_t b, std::int32_t y, const Binary &op) : ElementwiseStep({a, b}, y), kernel_(op) {
    halo_stays_ = kernel_.keeps_zero();
  }

  void apply(const VectorKernels &kernels, const Act *const *in, Act *out, std::size_t count) const override {
    kernel_.run(kernels, in[0], in[1], out, count);
  }

 private:
  BinaryKernel kernel_;
};

// An image and one element per channel, which is repeated over a stretch of pixels.
class ChannelwiseStep final : public Step {
 public:
  ChannelwiseStep(std::int32_t a, std::int32_t b, std::int32_t y, const Binary &op, bool a_is_image)
      : Step({a, b}, y), kernel_(op), a_is_image_(a_is_image) {}

  void prepare(const Plan &plan, const Options &) override { units = Units(plan.value(writes)).count; }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const std::int32_t image_id = reads[a_is_image_ ? 0 : 1], channels_id = reads[a_is_image_ ? 1 : 0];
    const Value &x = memory.plan.value(image_id), &y = memory.plan.value(writes);
    const std::int64_t quads = y.geometry.quads(), bytes = std::int64_t{kVectorBytes} * y.geometry.vectors();
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const auto image = static_cast<std::int32_t>(unit / quads), quad = static_cast<std::int32_t>(unit % quads);
      Act repeated[kStretch];
      repeat(memory.at(channels_id) + std::int64_t{image} * y.geometry.channels, y.geometry.channels, quad, repeated);
      const Act *in = memory.at(image_id) + x.plane(image, quad);
      Act *out = memory.at(writes) + y.plane(image, quad);
      for (std::int64_t at = 0; at < bytes; at += kStretch) {
        const Act *a = a_is_image_ ? in + at : repeated, *b = a_is_image_ ? repeated : in + at;
        kernel_.run(memory.plan.vector, a, b, out + at, static_cast<std::size_t>(std::min(kStretch, bytes - at)));
      }
      fill_halo(y, out);
    }
  }

 private:
  static constexpr std::int64_t kStretch = 1024;

  static void repeat(const Act *channel, std::int32_t channels, std::int32_t quad, Act (&to)[kStretch]) {
    for (std::int32_t i = 0; i < kStretch; ++i) to[i] = channel[std::min(quad * kQuad + i % kQuad, channels - 1)];
  }

  BinaryKernel kernel_;
  bool a_is_image_;
};

class RequantizeStep final : public ElementwiseStep {
 public:
  RequantizeStep(std::int32_t x, std::int32_t y, const Requantize &op)
      : ElementwiseStep({x}, y), rescale_(rescale_of(op.epilogue, 0, op.x)) {
    halo_stays_ = keeps_zero(rescale_.args);
  }

  void apply(const VectorKernels &kernels, const Act *const *in, Act *out, std::size_t count) const override {
    (rescale_.safe ? kernels : *vector_kernels("generic")).requantize(rescale_.args, in[0], out, count);
  }

 private:
  RescaleArgs rescale_;
};

class LutStep final : public ElementwiseStep {
 public:
  LutStep(std::int32_t x, std::int32_t y, const Lut &op) : ElementwiseStep({x}, y), table_(op.table.data()) {}

  void apply(const VectorKernels &kernels, const Act *const *in, Act *out, std::size_t count) const override {
    kernels.lut(table_, in[0], out, count);
  }

 private:
  const std::uint8_t *table_;
};

}  // namespace

RescaleArgs rescale_of(const EpilogueData &epilogue, std::int32_t entry, prunus_type a) {
  const auto at = static_cast<std::size_t>(entry);
  Rescale rescale{};
  rescale.scheme = epilogue.scheme;
  rescale.scale[0] = epilogue.scheme == PRUNUS_F32 ? epilogue.multiplier_f32[at] : 1.0f;
  rescale.multiplier[0] = epilogue.scheme == PRUNUS_FIXED ? epilogue.multiplier[at] : 1;
  rescale.shift[0] = epilogue.scheme == PRUNUS_F32 ? 0 : epilogue.shift[at];
  rescale.a_zero = a.zero_point;
  rescale.y_zero = epilogue.type.zero_point;
  rescale.low = epilogue.qmin;
  rescale.high = epilogue.qmax;
  return {rescale, rescale.scale[0] < 4194304.0f};  // two products of 255 * 2^22 are below 2^31
}

BinaryKernel::BinaryKernel(const Binary &op) : mul_(op.mul) {
  const RescaleArgs first = rescale_of(op.epilogue, 0, op.args.a);
  rescale_ = first.args;
  rescale_.b_zero = op.args.b.zero_point;
  if (mul_) {
    safe_ = op.epilogue.scheme != PRUNUS_F32 || rescale_.scale[0] < 32768.0f;  // 255 * 255 * 2^15 < 2^31
    return;
  }
  const RescaleArgs second = rescale_of(op.epilogue, 1, op.args.b);
  rescale_.scale[1] = second.args.scale[0];
  rescale_.multiplier[1] = second.args.multiplier[0];
  rescale_.shift[1] = second.args.shift[0];
  safe_ = first.safe && second.safe;
}

BinaryKernel BinaryKernel::swapped() const {
  BinaryKernel other = *this;
  std::swap(other.rescale_.a_zero, other.rescale_.b_zero);
  if (mul_) return other;  // one multiplier for the product
  std::swap(other.rescale_.scale[0], other.rescale_.scale[1]);
  std::swap(other.rescale_.multiplier[0], other.rescale_.multiplier[1]);
  std::swap(other.rescale_.shift[0], other.rescale_.shift[1]);
  return other;
}

void BinaryKernel::run(const VectorKernels &kernels, const Act *a, const Act *b, Act *y, std::size_t count) const {
  const VectorKernels &tier = safe_ ? kernels : *vector_kernels("generic");
  (mul_ ? tier.mul : tier.add)(rescale_, a, b, y, count);
}

bool keeps_zero(const Rescale &rescale) { return rescale.low <= rescale.y_zero && rescale.y_zero <= rescale.high; }

std::unique_ptr<Step> binary_step(std::int32_t a, std::int32_t b, std::int32_t y, const Binary &op) {
  return std::make_unique<BinaryStep>(a, b, y, op);
}
std::unique_ptr<Step> channelwise_step(std::int32_t a, std::int32_t b, std::int32_t y, const Binary &op,
                                       bool a_is_image) {
  return std::make_unique<ChannelwiseStep>(a, b, y, op, a_is_image);
}
std::unique_ptr<Step> requantize_step(std::int32_t x, std::int32_t y, const Requantize &op) {
  return std::make_unique<RequantizeStep>(x, y, op);
}
std::unique_ptr<Step> lut_step(std::int32_t x, std::int32_t y, const Lut &op) {
  return std::make_unique<LutStep>(x, y, op);
}

}  // namespace prunus
