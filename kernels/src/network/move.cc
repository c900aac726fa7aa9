#include "network/move.h"

#include <algorithm>
#include <cstring>

#include "core/table.h"
#include "network/elementwise.h"

namespace prunus {
namespace {

class ConcatStep final : public Step {
 public:
  ConcatStep(std::vector<std::int32_t> xs, std::int32_t y, const Concat &op) : Step(std::move(xs), y) {
    for (std::size_t i = 0; i < op.types.size(); ++i) {
      Part part{rescale_of(op.epilogue, op.copy[i] ? 0 : static_cast<std::int32_t>(i), op.types[i]), false};
      if (op.copy[i]) {  // only the clip applies
        part.rescale.args.scheme = PRUNUS_F32;
        part.rescale.args.scale[0] = 1.0f;
        part.rescale.safe = true;
        part.plain = op.epilogue.qmin == kActLow && op.epilogue.qmax == kActHigh;
      }
      parts_.push_back(part);
    }
  }

  void prepare(const Plan &plan, const Options &) override {
    for (std::size_t i = 0; i < parts_.size(); ++i)
      for (std::int32_t quad = 0; quad < plan.value(reads[i]).geometry.quads(); ++quad)
        planes_.push_back({static_cast<std::int32_t>(i), quad});
    units = std::int64_t{plan.value(writes).geometry.images} * static_cast<std::int64_t>(planes_.size());
  }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const Value &y = memory.plan.value(writes);
    const auto quads = static_cast<std::int64_t>(planes_.size());
    const auto bytes = static_cast<std::size_t>(kVectorBytes) * static_cast<std::size_t>(y.geometry.vectors());
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const auto image = static_cast<std::int32_t>(unit / quads);
      const Plane plane = planes_[static_cast<std::size_t>(unit % quads)];
      const std::int32_t id = reads[static_cast<std::size_t>(plane.part)];
      const Act *in = memory.at(id) + memory.plan.value(id).plane(image, plane.quad);
      Act *out = memory.at(writes) + y.plane(image, static_cast<std::int32_t>(unit % quads));
      const Part &part = parts_[static_cast<std::size_t>(plane.part)];
      if (part.plain)
        std::memcpy(out, in, bytes);
      else
        (part.rescale.safe ? memory.plan.vector : *vector_kernels("generic")).requantize(part.rescale.args, in, out, bytes);
      fill_above(y, out);
      if (!keeps_zero(part.rescale.args)) fill_between(y, out);
      fill_below(y, out);
    }
  }

 private:
  struct Part {
    RescaleArgs rescale;
    bool plain;  // bytes as they are
  };
  struct Plane {
    std::int32_t part, quad;
  };
  std::vector<Part> parts_;
  std::vector<Plane> planes_;  // where each output quad comes from
};

class PixelStep final : public Step {
 public:
  PixelStep(std::int32_t x, std::int32_t y, PixelMap map) : Step({x}, y), map_(std::move(map)) {}

  void prepare(const Plan &plan, const Options &) override {
    const Geometry &g = plan.value(writes).geometry;
    units = std::int64_t{g.images} * g.quads();
  }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const std::int64_t quads = y.geometry.quads();
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const auto image = static_cast<std::int32_t>(unit / quads), quad = static_cast<std::int32_t>(unit % quads);
      const Act *in = memory.at(reads[0]) + x.plane(image, quad + map_.first_quad);
      Act *out = memory.at(writes) + y.plane(image, quad);
      for (std::int32_t row = 0; row < y.geometry.height; ++row)
        copy_row(in, x.geometry.pitch, row, out + std::ptrdiff_t{kQuad} * row * y.geometry.pitch);
      fill_halo(y, out);
    }
  }

 private:
  void copy_row(const Act *x, std::int32_t pitch, std::int32_t row, Act *y) const {
    const std::int32_t from = map_.rows[static_cast<std::size_t>(row)];
    if (from < 0) {
      std::memset(y, map_.fill, kQuad * map_.columns.size());
      return;
    }
    const Act *line = x + std::ptrdiff_t{kQuad} * from * pitch;
    for (std::int32_t column : map_.columns) {
      if (column < 0)
        std::memset(y, map_.fill, kQuad);
      else
        std::memcpy(y, line + std::ptrdiff_t{kQuad} * column, kQuad);
      y += kQuad;
    }
  }

  PixelMap map_;
};

}  // namespace

std::unique_ptr<Step> concat_step(std::vector<std::int32_t> xs, std::int32_t y, const Concat &op) {
  return std::make_unique<ConcatStep>(std::move(xs), y, op);
}

std::unique_ptr<Step> pixel_step(std::int32_t x, std::int32_t y, PixelMap map) {
  return std::make_unique<PixelStep>(x, y, std::move(map));
}

}  // namespace prunus
