// Weights in the order in which the kernels of this folder read them.
//
// Compiled without the folder's flags: what std::vector leaves in an object file may be chosen for any caller.
#include <algorithm>
#include <cstring>

#include "core/pack.h"

namespace prunus::avx512vnni {
namespace {

constexpr int kGemvRows = 16;
constexpr int kGemvBlockBytes = kGemvRows * kQuad;
constexpr int kRun = 3;                   // taps of a depthwise run at most
constexpr int kRunBytes = kQuad * kQuad;  // [channel][tap]

// From value[block][rows][4] to value[rows / 4][block][4][4] within each group: an output quad reads its weights in one
// run.
void pack(const Matrix &matrix, std::int32_t rows, Packed &packed) {
  prunus::pack_blocks(matrix, rows, packed);
  const std::int32_t quads = rows / kQuad, bytes = kQuad * kQuad;
  Aligned<std::int8_t> group;
  for (std::int32_t g = 0; g < packed.groups; ++g) {
    const std::int32_t blocks = packed.begin[g + 1] - packed.begin[g];
    std::int8_t *value = packed.value.data() + std::ptrdiff_t{packed.begin[g]} * quads * bytes;
    group.resize(std::size_t(blocks) * quads * bytes);
    std::copy_n(value, group.size(), group.data());
    for (std::int32_t b = 0; b < blocks; ++b)
      for (std::int32_t q = 0; q < quads; ++q)
        std::copy_n(group.data() + (std::ptrdiff_t{b} * quads + q) * bytes, bytes,
                    value + (std::ptrdiff_t{q} * blocks + b) * bytes);
  }
}

}  // namespace

void pack_4x4(const Matrix &matrix, Packed &packed) { prunus::pack_blocks(matrix, 4, packed); }
void pack_16x4(const Matrix &matrix, Packed &packed) { pack(matrix, 16, packed); }
void pack_32x4(const Matrix &matrix, Packed &packed) { pack(matrix, 32, packed); }

void pack_rows_16x4(const Matrix &matrix, Packed &packed) { prunus::pack_blocks(matrix, 16, packed); }
void pack_rows_32x4(const Matrix &matrix, Packed &packed) { prunus::pack_blocks(matrix, 32, packed); }

void pack_dense(const Matrix &matrix, Packed &packed) { pack_all(matrix, kGemvRows, packed); }
void pack_blocks(const Matrix &matrix, Packed &packed) { prunus::pack_blocks(matrix, kGemvRows, packed); }

// begin[group]: the group's first byte of value, which holds the nonzero weights; extra[group][quad]: two words, bit
// 4 r + c says whether weight (r, c) is stored.
void pack_bitmask(const Matrix &matrix, Packed &packed) {
  pack_all(matrix, kGemvRows, packed);
  packed.offset.clear();
  packed.extra.resize(std::size_t{2} * packed.groups * matrix.quads);
  const std::int8_t *from = packed.value.data();
  std::int8_t *to = packed.value.data();
  std::int32_t *extra = packed.extra.data();
  for (std::int32_t group = 0; group < packed.groups; ++group) {
    packed.begin[group] = static_cast<std::int32_t>(to - packed.value.data());
    for (std::int32_t quad = 0; quad < matrix.quads; ++quad, from += kGemvBlockBytes, extra += 2) {
      std::uint64_t mask = 0;
      for (int i = 0; i < kGemvBlockBytes; ++i) {
        const std::int8_t w = from[i];
        mask |= std::uint64_t{w != 0} << i;
        *to = w;
        to += w != 0;
      }
      std::memcpy(extra, &mask, sizeof mask);
    }
  }
  packed.begin[packed.groups] = static_cast<std::int32_t>(to - packed.value.data());
  packed.value.resize(packed.begin[packed.groups] + kGemvBlockBytes);  // whole vectors are read
  packed.value.shrink_to_fit();
}

// extra: how many runs of three, two and one taps; offset: of their first taps; value[quad][run][channel][4].
void pack_runs(const DepthwiseMatrix &matrix, Packed &packed) {
  Aligned<std::int32_t> order(matrix.taps);  // taps by offset
  for (std::int32_t t = 0; t < matrix.taps; ++t) order[t] = t;
  std::sort(order.data(), order.data() + matrix.taps,
            [&](std::int32_t a, std::int32_t b) { return matrix.offset[a] < matrix.offset[b]; });
  Aligned<std::int32_t> starts[kRun];  // positions in `order`, by length
  for (std::int32_t t = 0; t < matrix.taps;) {
    std::int32_t taps = 1;
    while (taps < kRun && t + taps < matrix.taps &&
           matrix.offset[order[t + taps]] == matrix.offset[order[t]] + taps * kQuad)
      ++taps;
    starts[kRun - taps].push_back(t);
    t += taps;
  }

  packed = {};
  packed.rows = kQuad;
  packed.groups = (matrix.channels + kQuad - 1) / kQuad;
  for (const auto &s : starts) {
    packed.extra.push_back(static_cast<std::int32_t>(s.size()));
    for (std::int32_t t : s) packed.offset.push_back(matrix.offset[order[t]]);
  }
  const std::size_t runs = packed.offset.size();
  packed.value.resize(packed.groups * runs * kRunBytes);
  for (std::int32_t c = 0; c < matrix.channels; ++c) {
    std::int8_t *w = packed.value.data() + (c / kQuad * runs) * kRunBytes + c % kQuad * kQuad;
    for (int length = 0; length < kRun; ++length)
      for (std::int32_t t : starts[length]) {
        for (int i = 0; i < kRun - length; ++i) w[i] = matrix.w[std::int64_t{c} * matrix.taps + order[t + i]];
        w += kRunBytes;
      }
  }
}

}  // namespace prunus::avx512vnni
