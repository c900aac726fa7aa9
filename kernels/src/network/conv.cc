#include "network/conv.h"

#include <algorithm>
#include <string>

#include "network/choose.h"
#include "network/elementwise.h"

namespace prunus {
namespace {

constexpr std::int64_t kStripBytes = 192 * 1024;  // of inputs that the units of a strip share: a part of L2
constexpr std::int64_t kUnitMacs = 1 << 20;       // about 10 us: what a unit should cost at least

class ConvStep final : public Step {
 public:
  ConvStep(std::int32_t x, std::int32_t y, const LinearLayer &layer, std::vector<Tap> taps)
      : Step({x}, y), layer_(layer), taps_(std::move(taps)) {}

  void prepare(const Plan &plan, const Options &options) override {
    const Value &x = plan.value(reads[0]), &y = plan.value(writes);
    epilogue_ = LinearEpilogue(layer_);
    DenseMatrix matrix(layer_, tap_offsets(x, taps_), x.plane_bytes());
    info.problem = matrix.problem(std::int64_t{y.geometry.images} * y.geometry.vectors());
    info.timing = "conv,pitch" + std::to_string(y.geometry.pitch) + ",images" + std::to_string(y.geometry.images) +
                  ",scheme" + std::to_string(layer_.epilogue->scheme) + (addition_ ? ",add" : "");
    info.density = info.problem.weight_density;
    kernel_ = &choose_conv(options, info.problem, epilogue_.conversion_is_safe(), info);
    packed_ = {};
    kernel_->pack(matrix.view(), packed_);
    cut(x, y);
  }

  std::unique_ptr<Step> copy() const override {
    auto step = std::make_unique<ConvStep>(reads[0], writes, layer_, taps_);
    if (addition_) step->add_to(*addition_, reads[1], writes);
    return step;
  }

  // A residual connection: the strip is still in cache when the other operand is added to it in place.
  bool absorb(const Binary &op, std::int32_t other, bool swapped, std::int32_t y) override {
    const BinaryKernel kernel(op);
    if (addition_ || !kernel.keeps_zero()) return false;
    add_to(swapped ? kernel.swapped() : kernel, other, y);
    return true;
  }

  void run(const Memory &memory, std::int64_t begin, std::int64_t end) const override {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const Act *in = memory.at(reads[0]);
    Act *out = memory.at(writes);
    const Epilogue epilogue = epilogue_.view();
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const auto image = static_cast<std::int32_t>(unit / (strips_ * chunks_));
      const auto strip = static_cast<std::int32_t>(unit / chunks_ % strips_);
      const auto chunk = static_cast<std::int32_t>(unit % chunks_);
      ConvArgs args{in + x.plane(image, 0), out + y.plane(image, 0), y.plane_bytes(), y.geometry.quads(), &packed_,
                    &epilogue, y.valid.data(), 0, 0, 0, 0};
      args.group_begin = chunk * chunk_groups_;
      args.group_end = std::min(args.group_begin + chunk_groups_, groups_);
      args.vector_begin = strip * strip_vectors_;
      args.vector_end = std::min(args.vector_begin + strip_vectors_, y.geometry.vectors());
      kernel_->run(args);
      if (addition_) add(memory, image, args);
      fill(y, args);
    }
  }

 private:
  void add_to(const BinaryKernel &kernel, std::int32_t other, std::int32_t y) {
    addition_ = kernel;
    reads.push_back(other);
    writes = y;
  }

  void add(const Memory &memory, std::int32_t image, const ConvArgs &args) const {
    const Value &other = memory.plan.value(reads[1]);
    const std::ptrdiff_t begin = std::ptrdiff_t{kVectorBytes} * args.vector_begin;
    const auto count = static_cast<std::size_t>(kVectorBytes) * static_cast<std::size_t>(args.vector_end - args.vector_begin);
    const std::int32_t end = std::min(args.group_end * kernel_->rows / kQuad, args.y_quads);
    for (std::int32_t quad = args.group_begin * kernel_->rows / kQuad; quad < end; ++quad) {
      Act *y = args.y + quad * args.y_plane + begin;
      const Act *b = memory.at(reads[1]) + other.plane(image, quad) + begin;
      addition_->run(memory.plan.vector, y, b, y, count);
    }
  }

  // Strips of vectors whose inputs stay in cache while all groups use them, and chunks of groups for several threads.
  void cut(const Value &x, const Value &y) {
    const std::int64_t vectors = y.geometry.vectors(), column = std::int64_t{x.geometry.quads()} * kVectorBytes;
    const std::int64_t strip = std::clamp<std::int64_t>(kStripBytes / column, 24, 1 << 20);
    groups_ = packed_.groups;
    strips_ = std::max<std::int64_t>(1, (vectors + strip / 2) / strip);
    strip_vectors_ = static_cast<std::int32_t>((vectors + strips_ - 1) / strips_);
    strips_ = (vectors + strip_vectors_ - 1) / strip_vectors_;
    const double macs = static_cast<double>(packed_.begin.empty() ? 1 : packed_.begin.back()) * packed_.rows * kVectorBytes * strip_vectors_;
    const auto chunks = std::clamp<std::int64_t>(static_cast<std::int64_t>(macs / kUnitMacs), 1, std::min(groups_, 8));
    chunk_groups_ = static_cast<std::int32_t>((groups_ + chunks - 1) / chunks);
    chunks_ = (groups_ + chunk_groups_ - 1) / chunk_groups_;
    units = y.geometry.images * strips_ * chunks_;
  }

  // The halo above and below the vectors; the kernel has written what lies between.
  void fill(const Value &y, const ConvArgs &args) const {
    const std::int32_t begin = args.group_begin * kernel_->rows / kQuad;
    const std::int32_t end = std::min(args.group_end * kernel_->rows / kQuad, y.geometry.quads());
    for (std::int32_t quad = begin; quad < end; ++quad) {
      if (args.vector_begin == 0) fill_above(y, args.y + quad * args.y_plane);
      if (args.vector_end == y.geometry.vectors()) fill_below(y, args.y + quad * args.y_plane);
    }
  }

  LinearLayer layer_;
  std::vector<Tap> taps_;
  LinearEpilogue epilogue_;
  std::optional<BinaryKernel> addition_;
  const ConvKernel *kernel_ = nullptr;
  Packed packed_;
  std::int32_t groups_ = 0, chunk_groups_ = 0, strip_vectors_ = 0;
  std::int64_t strips_ = 1, chunks_ = 1;
};

}  // namespace

std::unique_ptr<Step> conv_step(std::int32_t x, std::int32_t y, const LinearLayer &layer, std::vector<Tap> taps) {
  return std::make_unique<ConvStep>(x, y, layer, std::move(taps));
}

}  // namespace prunus
