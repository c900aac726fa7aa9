// Depthwise convolutions, and average pooling as one.
#include <algorithm>
#include <string>

#include "network/choose.h"
#include "network/conv.h"

namespace prunus {
namespace {

constexpr std::int64_t kUnitBytes = 16 * 1024;  // of outputs: some microseconds of work

class DepthwiseStep : public Step {
 public:
  DepthwiseStep(std::int32_t x, std::int32_t y, const LinearLayer &layer, std::vector<Tap> taps)
      : Step({x}, y), layer_(layer), taps_(std::move(taps)) {}

  void prepare(const Plan &plan, const Options &options) override {
    const Value &x = plan.value(reads[0]), &y = plan.value(writes);
    epilogue_ = LinearEpilogue(layer_);
    const std::vector<std::int32_t> offsets = tap_offsets(x, taps_);
    const Geometry &g = y.geometry;
    info.problem.out_c = layer_.out_c;
    info.problem.quads = layer_.taps;
    info.problem.vectors = std::int64_t{g.images} * g.vectors();
    info.timing = "depthwise,pitch" + std::to_string(g.pitch) + ",scheme" + std::to_string(layer_.epilogue->scheme);
    kernel_ = &choose_depthwise(options, std::int64_t{g.images} * g.quads(), g.vectors(), layer_.taps,
                                epilogue_.conversion_is_safe(), info);
    packed_ = {};
    kernel_->pack({layer_.out_c, layer_.taps, layer_.w, offsets.data()}, packed_);
    unit_quads_ = static_cast<std::int32_t>(std::clamp<std::int64_t>(kUnitBytes / (std::int64_t{kVectorBytes} * g.vectors()), 1, g.quads()));
    chunks_ = (g.quads() + unit_quads_ - 1) / unit_quads_;
    units = std::int64_t{g.images} * chunks_;
  }

  // Of an AverageStep, too, whose arrays outlive the race.
  std::unique_ptr<Step> copy() const override {
    return std::make_unique<DepthwiseStep>(reads[0], writes, layer_, taps_);
  }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const Act *in = memory.at(reads[0]);
    Act *out = memory.at(writes);
    const Epilogue epilogue = epilogue_.view();
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const auto image = static_cast<std::int32_t>(unit / chunks_);
      const std::int32_t first = static_cast<std::int32_t>(unit % chunks_) * unit_quads_;
      const std::int32_t last = std::min(first + unit_quads_, y.geometry.quads());
      const DepthwiseArgs args{in + x.plane(image, 0), out + y.plane(image, 0), x.plane_bytes(), y.plane_bytes(), &packed_,
                               &epilogue, y.valid.data(), first, last, 0, y.geometry.vectors()};
      kernel_->run(args);
      for (std::int32_t quad = first; quad < last; ++quad) {
        fill_above(y, args.y + quad * args.y_plane);
        fill_below(y, args.y + quad * args.y_plane);
      }
    }
  }

 protected:
  LinearLayer layer_;

 private:
  std::vector<Tap> taps_;
  LinearEpilogue epilogue_;
  const DepthwiseKernel *kernel_ = nullptr;
  Packed packed_;
  std::int32_t unit_quads_ = 1;
  std::int64_t chunks_ = 1;
};

class AverageStep final : public DepthwiseStep {
 public:
  AverageStep(std::int32_t x, std::int32_t y, const AvgPool &op, std::vector<Tap> taps)
      : DepthwiseStep(x, y, {}, std::move(taps)) {
    const std::int32_t count = op.args.window.kernel_h * op.args.window.kernel_w;
    ones_.assign(static_cast<std::size_t>(op.args.c) * static_cast<std::size_t>(count), 1);
    bias_.assign(static_cast<std::size_t>(op.args.c), 0);
    layer_ = {op.args.c, op.args.c, op.args.c, count, ones_.data(), bias_.data(), &op.epilogue, op.args.x.zero_point,
              op.count_index[0]};
  }

 private:
  std::vector<std::int8_t> ones_;
  std::vector<std::int32_t> bias_;
};

}  // namespace

std::unique_ptr<Step> depthwise_step(std::int32_t x, std::int32_t y, const LinearLayer &layer, std::vector<Tap> taps) {
  return std::make_unique<DepthwiseStep>(x, y, layer, std::move(taps));
}

std::unique_ptr<Step> average_step(std::int32_t x, std::int32_t y, const AvgPool &op, std::vector<Tap> taps) {
  return std::make_unique<AverageStep>(x, y, op, std::move(taps));
}

}  // namespace prunus
