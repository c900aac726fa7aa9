#include "network/pooling.h"

#include <algorithm>

#include "generic/epilogue.h"

namespace prunus {
namespace {

class MaxPoolStep final : public Step {
 public:
  MaxPoolStep(std::int32_t x, std::int32_t y, std::vector<Tap> taps) : Step({x}, y), taps_(std::move(taps)) {}

  void prepare(const Plan &plan, const Options &) override {
    offsets_ = tap_offsets(plan.value(reads[0]), taps_);
    const Geometry &g = plan.value(writes).geometry;
    units = std::int64_t{g.images} * g.quads();
  }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const std::int64_t quads = y.geometry.quads();
    const auto bytes = static_cast<std::size_t>(kVectorBytes) * static_cast<std::size_t>(y.geometry.vectors());
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const auto image = static_cast<std::int32_t>(unit / quads), quad = static_cast<std::int32_t>(unit % quads);
      Act *out = memory.at(writes) + y.plane(image, quad);
      memory.plan.vector.max(memory.at(reads[0]) + x.plane(image, quad), offsets_.data(),
                             static_cast<std::int32_t>(offsets_.size()), out, bytes);
      fill_halo(y, out);
    }
  }

 private:
  std::vector<Tap> taps_;
  std::vector<std::int32_t> offsets_;
};

class GlobalAverageStep final : public Step {
 public:
  GlobalAverageStep(std::int32_t x, std::int32_t y, const AvgPool &op) : Step({x}, y), op_(op) {}

  void prepare(const Plan &plan, const Options &) override {
    const Geometry &g = plan.value(reads[0]).geometry;
    units = std::int64_t{g.images} * g.quads();
  }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const Value &x = memory.plan.value(reads[0]);
    const std::int64_t quads = x.geometry.quads();
    const std::int32_t pixels = x.geometry.vectors() * kPixels;  // those between the rows are zero points: they add 0
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const auto image = static_cast<std::int32_t>(unit / quads), quad = static_cast<std::int32_t>(unit % quads);
      std::int32_t acc[kQuad] = {}, value[kQuad];
      memory.plan.vector.sum(memory.at(reads[0]) + x.plane(image, quad), static_cast<std::size_t>(pixels), acc);
      for (std::int32_t &sum : acc) sum -= pixels * op_.args.x.zero_point;
      requantize(acc, value);
      Act *out = memory.at(writes) + std::int64_t{image} * x.geometry.channels + quad * kQuad;
      const std::int32_t channels = std::min(kQuad, x.geometry.channels - quad * kQuad);
      for (std::int32_t c = 0; c < channels; ++c) out[c] = static_cast<Act>(value[c]);
    }
  }

 private:
  void requantize(const std::int32_t (&acc)[kQuad], std::int32_t (&value)[kQuad]) const {
    const EpilogueData &data = op_.epilogue;
    const Epilogue epilogue{nullptr,           data.scheme, data.multiplier_f32.data(), data.multiplier.data(),
                            data.shift.data(), data.type.zero_point, data.qmin, data.qmax};
    requantize_row(epilogue, op_.count_index[0], acc, value);
  }

  const AvgPool &op_;
};

}  // namespace

std::unique_ptr<Step> maxpool_step(std::int32_t x, std::int32_t y, std::vector<Tap> taps) {
  return std::make_unique<MaxPoolStep>(x, y, std::move(taps));
}

std::unique_ptr<Step> global_average_step(std::int32_t x, std::int32_t y, const AvgPool &op) {
  return std::make_unique<GlobalAverageStep>(x, y, op);
}

}  // namespace prunus
