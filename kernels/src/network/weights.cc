#include "network/weights.h"

#include <algorithm>
#include <bit>

namespace prunus {
namespace {

constexpr WeightForm kForms[] = {WeightForm::dense, WeightForm::qb4,     WeightForm::qb16,
                                 WeightForm::qb32,  WeightForm::ts32x64, WeightForm::bitmask};

std::int64_t ceil_div(std::int64_t a, std::int64_t b) { return (a + b - 1) / b; }

struct Bits {
  static std::size_t bytes(std::int64_t count) { return static_cast<std::size_t>(ceil_div(count, 8)); }
  static bool get(const std::uint8_t *bits, std::int64_t i) { return bits[i / 8] >> (i % 8) & 1; }
  static void set(std::uint8_t *bits, std::int64_t i) { bits[i / 8] |= static_cast<std::uint8_t>(1 << (i % 8)); }
  static std::int64_t count(const std::uint8_t *bits, std::size_t bytes) {
    std::int64_t total = 0;
    for (std::size_t i = 0; i < bytes; ++i) total += std::popcount(bits[i]);
    return total;
  }
  // The bits behind the last one, which must be zero.
  static bool clean(const std::uint8_t *bits, std::int64_t count) {
    return count % 8 == 0 || bits[count / 8] >> (count % 8) == 0;
  }
};

// Weights as the matrix that kernels multiply by: taps first, then input channels in quads. Column k of row o.
class Blocks {
 public:
  Blocks(WeightForm form, const WeightShape &shape) : shape_(shape), in_padded_(ceil_div(shape.in_c, 4) * 4) {
    rows_ = form == WeightForm::qb4 ? 4 : form == WeightForm::qb16 ? 16 : 32;
    columns_ = form == WeightForm::ts32x64 ? 64 : 4;
    across_ = ceil_div(shape.taps * in_padded_, columns_);
    count_ = ceil_div(shape.out_c, rows_) * across_;
  }

  std::int64_t count() const { return count_; }
  std::int64_t weights() const { return std::int64_t{rows_} * columns_; }

  // Calls visit(index in w, position in the block) for every weight of a block that exists, and then, with index -1, for
  // every position of the padding.
  template <class Visit>
  void each(std::int64_t block, const Visit &visit) const {
    const std::int64_t row = block / across_ * rows_, column = block % across_ * columns_;
    for (std::int32_t r = 0; r < rows_; ++r) {
      for (std::int32_t c = 0; c < columns_; ++c) visit(index(row + r, column + c), r * columns_ + c);
    }
  }

 private:
  std::int64_t index(std::int64_t o, std::int64_t k) const {
    const std::int64_t tap = k / in_padded_, channel = k % in_padded_;
    if (o >= shape_.out_c || tap >= shape_.taps || channel >= shape_.in_c) return -1;
    return (o * shape_.in_c + channel) * shape_.taps + tap;
  }

  WeightShape shape_;
  std::int64_t in_padded_, across_, count_;
  std::int32_t rows_, columns_;
};

bool has_nonzero(const Blocks &blocks, std::int64_t block, const std::int8_t *w) {
  bool found = false;
  blocks.each(block, [&](std::int64_t index, std::int64_t) { found |= index >= 0 && w[index] != 0; });
  return found;
}

std::vector<std::uint8_t> encode_blocks(const Blocks &blocks, const std::int8_t *w) {
  std::vector<std::uint8_t> out(Bits::bytes(blocks.count()));
  for (std::int64_t block = 0; block < blocks.count(); ++block) {
    if (!has_nonzero(blocks, block, w)) continue;
    Bits::set(out.data(), block);
    const std::size_t begin = out.size();
    out.resize(begin + static_cast<std::size_t>(blocks.weights()));
    blocks.each(block, [&](std::int64_t index, std::int64_t at) {
      out[begin + static_cast<std::size_t>(at)] = index < 0 ? 0 : static_cast<std::uint8_t>(w[index]);
    });
  }
  return out;
}

bool decode_blocks(const Blocks &blocks, const std::uint8_t *data, std::size_t bytes, std::int8_t *w) {
  const std::size_t map = Bits::bytes(blocks.count());
  if (bytes < map || !Bits::clean(data, blocks.count())) return false;
  if (bytes - map != static_cast<std::size_t>(Bits::count(data, map) * blocks.weights())) return false;
  const std::uint8_t *value = data + map;
  bool padding_is_zero = true;
  for (std::int64_t block = 0; block < blocks.count(); ++block) {
    if (!Bits::get(data, block)) continue;
    blocks.each(block, [&](std::int64_t index, std::int64_t at) {
      if (index >= 0) w[index] = static_cast<std::int8_t>(value[at]);
      if (index < 0) padding_is_zero &= value[at] == 0;
    });
    value += blocks.weights();
  }
  return padding_is_zero;
}

std::vector<std::uint8_t> encode_bitmask(const std::int8_t *w, std::int64_t count) {
  std::vector<std::uint8_t> out(Bits::bytes(count));
  for (std::int64_t i = 0; i < count; ++i) {
    if (w[i] == 0) continue;
    Bits::set(out.data(), i);
    out.push_back(static_cast<std::uint8_t>(w[i]));
  }
  return out;
}

bool decode_bitmask(const std::uint8_t *data, std::size_t bytes, std::int64_t count, std::int8_t *w) {
  const std::size_t map = Bits::bytes(count);
  if (bytes < map || !Bits::clean(data, count)) return false;
  if (bytes - map != static_cast<std::size_t>(Bits::count(data, map))) return false;
  const std::uint8_t *value = data + map;
  for (std::int64_t i = 0; i < count; ++i) {
    if (Bits::get(data, i)) w[i] = static_cast<std::int8_t>(*value++);
  }
  return true;
}

std::int64_t encoded_bytes(WeightForm form, const std::int8_t *w, const WeightShape &shape) {
  const std::int64_t count = shape.count();
  if (form == WeightForm::dense) return count;
  if (form == WeightForm::bitmask) return ceil_div(count, 8) + count - std::count(w, w + count, 0);
  const Blocks blocks(form, shape);
  std::int64_t present = 0;
  for (std::int64_t block = 0; block < blocks.count(); ++block) present += has_nonzero(blocks, block, w);
  return ceil_div(blocks.count(), 8) + present * blocks.weights();
}

}  // namespace

std::vector<std::uint8_t> encode(WeightForm form, const std::int8_t *w, const WeightShape &shape) {
  if (form == WeightForm::dense) return std::vector<std::uint8_t>(w, w + shape.count());
  if (form == WeightForm::bitmask) return encode_bitmask(w, shape.count());
  return encode_blocks(Blocks(form, shape), w);
}

bool decode(WeightForm form, const std::uint8_t *data, std::size_t bytes, const WeightShape &shape, std::int8_t *w) {
  const std::int64_t count = shape.count();
  if (form == WeightForm::dense) {
    if (bytes != static_cast<std::size_t>(count)) return false;
    std::transform(data, data + bytes, w, [](std::uint8_t byte) { return static_cast<std::int8_t>(byte); });
    return true;
  }
  std::fill(w, w + count, std::int8_t{0});
  if (form == WeightForm::bitmask) return decode_bitmask(data, bytes, count, w);
  return decode_blocks(Blocks(form, shape), data, bytes, w);
}

WeightForm smallest_form(const std::int8_t *w, const WeightShape &shape) {
  WeightForm best = WeightForm::dense;
  std::int64_t fewest = shape.count();
  for (WeightForm form : kForms) {
    const std::int64_t bytes = encoded_bytes(form, w, shape);
    if (bytes < fewest && bytes * kMaxExpansion >= shape.count()) best = form, fewest = bytes;
  }
  return best;
}

}  // namespace prunus
