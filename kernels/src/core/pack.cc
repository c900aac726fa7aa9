#include "core/pack.h"

#include <algorithm>

namespace prunus {
namespace {

// Copies the block of group g and quad k to `block` and says whether it holds a nonzero.
bool copy_block(const Matrix &matrix, std::int32_t rows, std::int32_t g, std::int32_t k, std::int8_t *block) {
  bool nonzero = false;
  for (std::int32_t r = 0; r < rows; ++r) {
    const std::int64_t o = std::int64_t{g} * rows + r;
    for (std::int32_t c = 0; c < kQuad; ++c) {
      const std::int8_t w = o < matrix.out_c ? matrix.w[(o * matrix.quads + k) * kQuad + c] : std::int8_t{0};
      block[r * kQuad + c] = w;
      nonzero |= w != 0;
    }
  }
  return nonzero;
}

enum class Keep { nonzero, nonzero_pairs, all };

void pack(const Matrix &matrix, std::int32_t rows, Keep keep, Packed &packed) {
  packed = {};
  packed.rows = rows;
  packed.groups = (matrix.out_c + rows - 1) / rows;
  packed.begin.push_back(0);
  Aligned<std::int8_t> block(static_cast<std::size_t>(rows) * kQuad);
  for (std::int32_t g = 0; g < packed.groups; ++g) {
    for (std::int32_t k = 0; k < matrix.quads; ++k) {
      if (!copy_block(matrix, rows, g, k, block.data()) && keep != Keep::all) continue;
      packed.offset.push_back(matrix.offset[k]);
      packed.value.insert(packed.value.end(), block.begin(), block.end());
    }
    if (keep == Keep::nonzero_pairs && packed.offset.size() % 2 == 1) {
      packed.offset.push_back(std::int32_t{packed.offset.back()});
      packed.value.resize(packed.value.size() + block.size(), 0);
    }
    packed.begin.push_back(static_cast<std::int32_t>(packed.offset.size()));
  }
}

}  // namespace

void pack_blocks(const Matrix &matrix, std::int32_t rows, Packed &packed) {
  pack(matrix, rows, Keep::nonzero, packed);
}

void pack_block_pairs(const Matrix &matrix, std::int32_t rows, Packed &packed) {
  pack(matrix, rows, Keep::nonzero_pairs, packed);
}

void pack_all(const Matrix &matrix, std::int32_t rows, Packed &packed) {
  pack(matrix, rows, Keep::all, packed);
}

void pack_taps(const DepthwiseMatrix &matrix, Packed &packed) {
  packed = {};
  packed.rows = kQuad;
  packed.groups = (matrix.channels + kQuad - 1) / kQuad;
  packed.offset.assign(matrix.offset, matrix.offset + matrix.taps);
  packed.value.assign(std::size_t{kQuad} * packed.groups * matrix.taps, 0);
  for (std::int32_t c = 0; c < matrix.channels; ++c)
    for (std::int32_t t = 0; t < matrix.taps; ++t)
      packed.value[(std::int64_t{c / kQuad} * matrix.taps + t) * kQuad + c % kQuad] =
          matrix.w[std::int64_t{c} * matrix.taps + t];
}

}  // namespace prunus
