// Weights as the kernels of this folder want them. No vector instructions here.
#include <algorithm>
#include <array>
#include <cstdlib>
#include <vector>

#include "avx2/weights.h"
#include "core/pack.h"

namespace prunus::avx2 {
namespace {

constexpr std::int32_t kBlockBytes = kQuad * kQuad;  // 4 output channels x 4 input channels
constexpr std::ptrdiff_t kPartnersTried = 64;        // keeps packing linear

void append(Packed &packed, std::int32_t value) { packed.value.push_back(static_cast<std::int8_t>(value)); }

void append_int16(Packed &packed, std::int32_t value) {
  append(packed, value & 0xff);  // little-endian, as x86 is
  append(packed, value >> 8);
}

template <std::size_t kCount>
void append_extra(Packed &packed, const std::array<std::int32_t, kCount> &record) {
  packed.extra.insert(packed.extra.end(), record.begin(), record.end());
}

// The blocks of one group and, per block and row, the two sums |w0| + |w1| and |w2| + |w3|.
class Group {
 public:
  Group(const Packed &blocks, std::int32_t group)
      : blocks_(blocks), first_(blocks.begin[group]), count_(blocks.begin[group + 1] - first_) {
    sums_.reserve(static_cast<std::size_t>(count_) * width());
    for (std::int32_t i = 0; i < count_; ++i) {
      const std::int8_t *w = weights(i);
      for (std::int32_t k = 0; k < blocks_.rows * kQuad; k += 2) sums_.push_back(std::abs(w[k]) + std::abs(w[k + 1]));
    }
  }

  // Indices of paired, narrow and wide blocks.
  struct Classes {
    std::vector<std::int32_t> paired, narrow, wide;
  };

  // From the lightest block on, each takes the heaviest partner that it fits with.
  Classes pair() const {
    Classes classes = classify();
    std::vector<std::int32_t> sorted = std::move(classes.narrow);
    classes.narrow.clear();
    std::ranges::stable_sort(sorted, [&](std::int32_t a, std::int32_t b) { return heaviest(a) > heaviest(b); });
    while (!sorted.empty()) {
      const std::int32_t light = sorted.back();
      sorted.pop_back();
      const auto end = sorted.begin() + std::min<std::ptrdiff_t>(std::ssize(sorted), kPartnersTried);
      const auto heavy = std::find_if(sorted.begin(), end, [&](std::int32_t i) { return fit_together(i, light); });
      if (heavy == end) {
        classes.narrow.push_back(light);
        continue;
      }
      classes.paired.insert(classes.paired.end(), {*heavy, light});
      sorted.erase(heavy);
    }
    return classes;
  }

  Classes classify() const {
    Classes classes;
    for (std::int32_t i = 0; i < count_; ++i)
      (heaviest(i) <= kNarrowLimit ? classes.narrow : classes.wide).push_back(i);
    return classes;
  }

  const std::int8_t *weights(std::int32_t i) const {
    return blocks_.value.data() + (std::ptrdiff_t{first_} + i) * blocks_.rows * kQuad;
  }
  std::int32_t offset(std::int32_t i) const { return blocks_.offset[first_ + i]; }

 private:
  std::size_t width() const { return static_cast<std::size_t>(blocks_.rows) * kQuad / 2; }
  const std::int32_t *sums(std::int32_t i) const { return sums_.data() + i * width(); }
  std::int32_t heaviest(std::int32_t i) const { return *std::max_element(sums(i), sums(i) + width()); }
  bool fit_together(std::int32_t i, std::int32_t k) const {
    return std::equal(sums(i), sums(i) + width(), sums(k),
                      [](std::int32_t a, std::int32_t b) { return a + b <= kNarrowLimit; });
  }

  const Packed &blocks_;
  std::int32_t first_, count_;
  std::vector<std::int32_t> sums_;
};

void append_wide_row(Packed &packed, const std::int8_t *w) {
  for (const int k : {0, 2, 1, 3}) append_int16(packed, w[k]);
}

void pack_conv(const Matrix &matrix, std::int32_t rows, Packed &packed) {
  Packed blocks;
  prunus::pack_blocks(matrix, rows, blocks);
  packed = {};
  packed.rows = rows;
  packed.groups = blocks.groups;
  packed.begin = blocks.begin;
  for (std::int32_t g = 0; g < blocks.groups; ++g) {
    const Group group(blocks, g);
    const Group::Classes classes = group.pair();
    append_extra<3>(packed, {static_cast<std::int32_t>(packed.value.size()),
                             static_cast<std::int32_t>(classes.paired.size()),
                             static_cast<std::int32_t>(classes.narrow.size())});
    for (const auto *list : {&classes.paired, &classes.narrow, &classes.wide})
      for (const std::int32_t i : *list) packed.offset.push_back(group.offset(i));
    for (std::int32_t row = 0; row < rows * kQuad; row += kBlockBytes) {
      for (const auto *list : {&classes.paired, &classes.narrow})
        for (const std::int32_t i : *list)
          packed.value.insert(packed.value.end(), group.weights(i) + row, group.weights(i) + row + kBlockBytes);
      for (const std::int32_t i : classes.wide)
        for (std::int32_t o = 0; o < kBlockBytes; o += kQuad) append_wide_row(packed, group.weights(i) + row + o);
    }
  }
}

// Narrow blocks first, then wide ones.
void pack_gemv(Packed &packed) {
  const Packed blocks = packed;
  packed.offset.clear();
  packed.value.clear();
  for (std::int32_t g = 0; g < blocks.groups; ++g) {
    const Group group(blocks, g);
    const Group::Classes classes = group.classify();
    packed.extra.push_back(static_cast<std::int32_t>(classes.narrow.size()));
    for (const auto *list : {&classes.narrow, &classes.wide})
      for (const std::int32_t i : *list) {
        packed.offset.push_back(group.offset(i));
        packed.value.insert(packed.value.end(), group.weights(i), group.weights(i) + blocks.rows * kQuad);
      }
  }
}

// Four taps of a quad's four channels, [tap][channel] to [channel][tap].
std::array<std::int8_t, 16> transposed(const std::int8_t *taps) {
  std::array<std::int8_t, 16> block;
  for (int c = 0; c < kQuad; ++c)
    for (int t = 0; t < kTaps; ++t) block[c * kTaps + t] = taps[t * kQuad + c];
  return block;
}

bool is_narrow(const std::array<std::int8_t, 16> &block) {
  for (std::size_t k = 0; k < block.size(); k += 2)
    if (std::abs(block[k]) + std::abs(block[k + 1]) > kNarrowLimit) return false;
  return true;
}

}  // namespace

void pack_4x4(const Matrix &matrix, Packed &packed) { pack_conv(matrix, 4, packed); }
void pack_16x4(const Matrix &matrix, Packed &packed) { pack_conv(matrix, 16, packed); }

void pack_dense(const Matrix &matrix, Packed &packed) {
  prunus::pack_all(matrix, 16, packed);
  pack_gemv(packed);
}

void pack_blocks(const Matrix &matrix, Packed &packed) {
  prunus::pack_blocks(matrix, 16, packed);
  pack_gemv(packed);
}

void pack_taps(const DepthwiseMatrix &matrix, Packed &packed) {
  Packed taps;
  prunus::pack_taps(matrix, taps);
  packed = {};
  packed.rows = kQuad;
  packed.groups = taps.groups;
  packed.offset = taps.offset;
  while (packed.offset.size() % kTaps != 0) packed.offset.push_back(packed.offset.front());
  const std::size_t padded_bytes = packed.offset.size() * kQuad, bytes = taps.offset.size() * kQuad;
  for (std::int32_t q = 0; q < taps.groups; ++q) {
    std::vector<std::int8_t> w(taps.value.begin() + q * bytes, taps.value.begin() + (q + 1) * bytes);
    w.resize(padded_bytes, 0);
    std::vector<std::array<std::int8_t, 16>> blocks;
    for (std::size_t k = 0; k < padded_bytes; k += 16) blocks.push_back(transposed(w.data() + k));
    const bool wide = !std::ranges::all_of(blocks, is_narrow);
    append_extra<2>(packed, {static_cast<std::int32_t>(packed.value.size()), wide});
    for (const auto &block : blocks) {
      if (!wide) packed.value.insert(packed.value.end(), block.begin(), block.end());
      for (int first = 0; wide && first < 2; ++first)
        for (int c = 0; c < kQuad; ++c) {
          append_int16(packed, block[c * kTaps + first]);
          append_int16(packed, block[c * kTaps + first + 2]);
        }
    }
  }
}

}  // namespace prunus::avx2
