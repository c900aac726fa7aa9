// Matrix products of few rows: one step per row, each reading all weights.
#include <algorithm>
#include <string>

#include "network/choose.h"
#include "network/conv.h"

namespace prunus {
namespace {

constexpr std::int64_t kUnitBytes = 32 * 1024;  // of packed weights: some microseconds of work

class GemvStep final : public Step {
 public:
  GemvStep(std::int32_t x, std::int32_t y, const LinearLayer &layer, std::int32_t row)
      : Step({x}, y), layer_(layer), row_(row) {}

  void prepare(const Plan &, const Options &options) override {
    epilogue_ = LinearEpilogue(layer_);
    const DenseMatrix matrix(layer_, {0}, kQuad);
    info.problem = matrix.problem(0, 0);
    info.density = info.problem.weight_density;
    info.timing = "gemv,scheme" + std::to_string(layer_.epilogue->scheme);
    kernel_ = &choose_gemv(options, info.problem, epilogue_.conversion_is_safe(), info);
    packed_ = {};
    kernel_->pack(matrix.view(), packed_);
    const std::int64_t chunks = std::clamp<std::int64_t>(static_cast<std::int64_t>(packed_.value.size()) / kUnitBytes, 1, packed_.groups);
    unit_groups_ = static_cast<std::int32_t>((packed_.groups + chunks - 1) / chunks);
    units = (packed_.groups + unit_groups_ - 1) / unit_groups_;
  }

  std::unique_ptr<Step> copy() const override { return std::make_unique<GemvStep>(reads[0], writes, layer_, row_); }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const Epilogue epilogue = epilogue_.view();
    GemvArgs args{memory.at(reads[0]) + std::int64_t{row_} * layer_.in_c,
                  memory.at(writes) + std::int64_t{row_} * layer_.out_c, &packed_, &epilogue, 0, 0};
    args.group_begin = static_cast<std::int32_t>(begin) * unit_groups_;
    args.group_end = static_cast<std::int32_t>(std::min<std::int64_t>(end * unit_groups_, packed_.groups));
    kernel_->run(args);
  }

 private:
  LinearLayer layer_;
  std::int32_t row_;
  LinearEpilogue epilogue_;
  const GemvKernel *kernel_ = nullptr;
  Packed packed_;
  std::int32_t unit_groups_ = 1;
};

}  // namespace

std::unique_ptr<Step> gemv_step(std::int32_t x, std::int32_t y, const LinearLayer &layer, std::int32_t row) {
  return std::make_unique<GemvStep>(x, y, layer, row);
}

}  // namespace prunus
