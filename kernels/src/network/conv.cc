#include "network/conv.h"

#include <algorithm>
#include <string>

#include "network/choose.h"
#include "network/elementwise.h"

namespace prunus {
namespace {

constexpr std::int64_t kStripBytes = 192 * 1024;  // of inputs that the units of a strip share: a part of L2
constexpr std::int64_t kUnitMacs = 1 << 20;       // about 10 us: what a unit should cost at least

// Rows of the output for which the same taps count, and their blocks by group.
struct Band {
  std::int32_t row_begin, row_end;
  std::vector<std::int32_t> block_begin, block_end;
};

// The first block of each group that belongs to `quad` of the matrix or a later one.
std::vector<std::int32_t> first_blocks(const Packed &packed, const Matrix &matrix, std::int32_t quad) {
  std::vector<std::int32_t> blocks;
  for (std::int32_t g = 0; g < packed.groups; ++g) {
    const auto group = static_cast<std::size_t>(g);
    std::int32_t b = packed.begin[group];
    for (std::int32_t k = 0; k < quad && b < packed.begin[group + 1]; ++k)
      b += packed.offset[static_cast<std::size_t>(b)] == matrix.offset[k];
    blocks.push_back(b);
  }
  return blocks;
}

// Lines are what strips are made of: vectors of 16 pixels, or rows of the image for kernels of rows.
class ConvStep final : public Step {
 public:
  ConvStep(std::int32_t x, std::int32_t y, const LinearLayer &layer, std::vector<Tap> taps, Stride stride)
      : Step({x}, y), layer_(layer), taps_(std::move(taps)), stride_(stride) {}

  void prepare(const Plan &plan, const Options &options) override {
    const Value &x = plan.value(reads[0]), &y = plan.value(writes);
    epilogue_ = LinearEpilogue(layer_);
    DenseMatrix matrix(layer_, tap_offsets(x, taps_), x.plane_bytes());
    info.problem = matrix.problem(vectors_of(y), rows_pixels(y.geometry, layer_.in_c));
    info.timing = "conv,width" + std::to_string(y.geometry.width) + ",pitch" + std::to_string(y.geometry.pitch) +
                  ",images" + std::to_string(y.geometry.images) + ",stride" + std::to_string(stride_.down) + "x" +
                  std::to_string(stride_.right) + ",scheme" + std::to_string(layer_.epilogue->scheme) +
                  (addition_ ? ",add" : "");
    info.density = info.problem.weight_density;
    kernel_ = choose_conv(options, info.problem, epilogue_.conversion_is_safe(), info);
    packed_ = {};
    std::visit([&](const auto *kernel) { kernel->pack(matrix.view(), packed_); }, kernel_);
    cut(x, y);
    bands_.clear();
    if (by_rows()) cut_bands(matrix.view(), x.geometry.height, y.geometry.height);
  }

  std::unique_ptr<Step> copy() const override {
    auto step = std::make_unique<ConvStep>(reads[0], writes, layer_, taps_, stride_);
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
    for (std::int64_t unit = begin; unit < end; ++unit) {
      const auto strip = static_cast<std::int32_t>(unit / chunks_ % strips_) * strip_lines_;
      const auto chunk = static_cast<std::int32_t>(unit % chunks_) * chunk_groups_;
      const Part part{static_cast<std::int32_t>(unit / (strips_ * chunks_)), chunk,
                      std::min(chunk + chunk_groups_, groups_), strip, std::min(strip + strip_lines_, lines_)};
      std::visit([&](const auto *kernel) { run(*kernel, memory, part); }, kernel_);
      finish(memory, part);
    }
  }

 private:
  // Groups of output channels by lines.
  struct Part {
    std::int32_t image, group_begin, group_end, line_begin, line_end;
  };

  bool by_rows() const { return std::holds_alternative<const RowsKernel *>(kernel_); }
  bool strided() const { return stride_.down > 1 || stride_.right > 1; }

  std::int64_t vectors_of(const Value &y) const {
    return strided() ? 0 : std::int64_t{y.geometry.images} * y.geometry.vectors();
  }

  void run(const ConvKernel &kernel, const Memory &memory, const Part &part) const {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const Epilogue epilogue = epilogue_.view();
    kernel.run({memory.at(reads[0]) + x.plane(part.image, 0), memory.at(writes) + y.plane(part.image, 0),
                y.plane_bytes(), y.geometry.quads(), &packed_, &epilogue, y.valid.data(), part.group_begin,
                part.group_end, part.line_begin, part.line_end});
  }

  void run(const RowsKernel &kernel, const Memory &memory, const Part &part) const {
    const Value &x = memory.plan.value(reads[0]), &y = memory.plan.value(writes);
    const Epilogue epilogue = epilogue_.view();
    for (const Band &band : bands_) {
      const std::int32_t begin = std::max(part.line_begin, band.row_begin), end = std::min(part.line_end, band.row_end);
      if (begin >= end) continue;
      kernel.run({memory.at(reads[0]) + x.plane(part.image, 0), memory.at(writes) + y.plane(part.image, 0),
                  std::ptrdiff_t{kQuad} * stride_.down * x.geometry.pitch, std::ptrdiff_t{kQuad} * stride_.right,
                  std::ptrdiff_t{kQuad} * y.geometry.pitch, y.plane_bytes(), y.geometry.quads(), y.geometry.width,
                  &packed_, band.block_begin.data(), band.block_end.data(), &epilogue, part.group_begin,
                  part.group_end, begin, end});
    }
  }

  void add_to(const BinaryKernel &kernel, std::int32_t other, std::int32_t y) {
    addition_ = kernel;
    reads.push_back(other);
    writes = y;
  }

  // What follows the kernel: the other operand, and the halo of these lines.
  void finish(const Memory &memory, const Part &part) const {
    const Value &y = memory.plan.value(writes);
    const std::int32_t end = std::min(part.group_end * packed_.rows / kQuad, y.geometry.quads());
    for (std::int32_t quad = part.group_begin * packed_.rows / kQuad; quad < end; ++quad) {
      Act *plane = memory.at(writes) + y.plane(part.image, quad);
      if (addition_) add(memory, part, quad, plane);
      if (by_rows()) fill_right_of(y, part.line_begin, part.line_end, plane);
      if (part.line_begin == 0) fill_above(y, plane);
      if (part.line_end < lines_) continue;
      if (by_rows()) fill_tail(y, plane);
      fill_below(y, plane);
    }
  }

  void add(const Memory &memory, const Part &part, std::int32_t quad, Act *plane) const {
    const Value &other = memory.plan.value(reads[1]);
    const std::ptrdiff_t begin = line_bytes_ * part.line_begin;
    Act *y = plane + begin;
    const Act *b = memory.at(reads[1]) + other.plane(part.image, quad) + begin;
    addition_->run(memory.plan.vector, y, b, y,
                   static_cast<std::size_t>(line_bytes_) * static_cast<std::size_t>(part.line_end - part.line_begin));
  }

  // Strips of lines whose inputs stay in cache while all groups use them, and chunks of groups for several threads.
  void cut(const Value &x, const Value &y) {
    lines_ = by_rows() ? y.geometry.height : y.geometry.vectors();
    line_bytes_ = std::int64_t{kQuad} * (by_rows() ? y.geometry.pitch : kPixels);
    const std::int64_t column = std::int64_t{x.geometry.quads()} * kVectorBytes;
    const std::int64_t vectors = std::clamp<std::int64_t>(kStripBytes / column, 24, 1 << 20);
    const std::int64_t strip = std::max<std::int64_t>(1, vectors * kVectorBytes / line_bytes_);
    groups_ = packed_.groups;
    strips_ = std::max<std::int64_t>(1, (lines_ + strip / 2) / strip);
    strip_lines_ = static_cast<std::int32_t>((lines_ + strips_ - 1) / strips_);
    strips_ = (lines_ + strip_lines_ - 1) / strip_lines_;
    const double weights = static_cast<double>(packed_.begin.empty() ? 1 : packed_.begin.back()) * packed_.rows * kQuad;
    const double macs = weights * static_cast<double>(line_bytes_ / kQuad) * strip_lines_;
    const auto chunks = std::clamp<std::int64_t>(static_cast<std::int64_t>(macs / kUnitMacs), 1, std::min(groups_, 8));
    chunk_groups_ = static_cast<std::int32_t>((groups_ + chunks - 1) / chunks);
    chunks_ = (groups_ + chunk_groups_ - 1) / chunk_groups_;
    units = y.geometry.images * strips_ * chunks_;
  }

  // Where padding is zero, taps on it are left out.
  void cut_bands(const Matrix &matrix, std::int32_t x_height, std::int32_t y_height) {
    const auto taps = static_cast<std::int32_t>(taps_.size()), quads = matrix.quads / taps;
    std::pair<std::int32_t, std::int32_t> last{-1, -1};
    for (std::int32_t row = 0; row < y_height; ++row) {
      const auto inside = [&](const Tap &tap) {
        const std::int32_t at = row * stride_.down + tap.row;
        return layer_.x_zero != 0 || (at >= 0 && at < x_height);
      };
      const auto first = std::find_if(taps_.begin(), taps_.end(), inside);
      const auto behind = std::find_if(taps_.rbegin(), std::make_reverse_iterator(first), inside).base();
      const std::pair now{static_cast<std::int32_t>(first - taps_.begin()),
                          static_cast<std::int32_t>(behind - taps_.begin())};
      if (now != last)
        bands_.push_back({row, row, first_blocks(packed_, matrix, now.first * quads),
                          first_blocks(packed_, matrix, now.second * quads)});
      bands_.back().row_end = row + 1;
      last = now;
    }
  }

  LinearLayer layer_;
  std::vector<Tap> taps_;
  Stride stride_;
  LinearEpilogue epilogue_;
  std::optional<BinaryKernel> addition_;
  ConvChoice kernel_;
  Packed packed_;
  std::vector<Band> bands_;
  std::int32_t groups_ = 0, chunk_groups_ = 0, lines_ = 0, strip_lines_ = 0;
  std::int64_t line_bytes_ = 0, strips_ = 1, chunks_ = 1;
};

}  // namespace

std::int64_t rows_pixels(const Geometry &y, std::int32_t in_c) {
  const bool fits = std::int64_t{y.width} * in_c <= kStripBytes;
  return fits && y.width >= kRowsWidth ? std::int64_t{y.images} * y.height * y.width : 0;
}

std::unique_ptr<Step> conv_step(std::int32_t x, std::int32_t y, const LinearLayer &layer, std::vector<Tap> taps,
                                Stride stride) {
  return std::make_unique<ConvStep>(x, y, layer, std::move(taps), stride);
}

}  // namespace prunus
