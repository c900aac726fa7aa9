// Weights as the kernels of this folder want them. No vector instructions here.
#include <algorithm>

#include "core/kernel.h"

namespace prunus::avx512vnni {
namespace {

bool any(const Matrix &matrix, std::int32_t row, std::int32_t rows, std::int32_t quad) {
  for (std::int32_t o = row; o < std::min(row + rows, matrix.out_c); ++o) {
    const std::int8_t *w = matrix.w + (std::int64_t{o} * matrix.quads + quad) * kQuad;
    if (w[0] || w[1] || w[2] || w[3]) return true;
  }
  return false;
}

// Per group of `rows` output channels the blocks with a nonzero; their values output quad by output quad, each a list
// of 4 x 4 weights.
void pack(const Matrix &matrix, std::int32_t rows, Packed &packed) {
  packed.rows = rows;
  packed.groups = (matrix.out_c + rows - 1) / rows;
  packed.begin.assign(1, 0);
  packed.offset.clear();
  packed.value.clear();
  std::vector<std::int32_t> quads;
  for (std::int32_t row = 0; row < matrix.out_c; row += rows) {
    quads.clear();
    for (std::int32_t quad = 0; quad < matrix.quads; ++quad)
      if (any(matrix, row, rows, quad)) quads.push_back(quad);
    for (std::int32_t quad : quads) packed.offset.push_back(matrix.offset[quad]);
    packed.begin.push_back(static_cast<std::int32_t>(packed.offset.size()));
    for (std::int32_t first = row; first < row + rows; first += kQuad)
      for (std::int32_t quad : quads)
        for (std::int32_t o = first; o < first + kQuad; ++o)
          for (std::int32_t i = 0; i < kQuad; ++i)
            packed.value.push_back(
                o < matrix.out_c ? matrix.w[(std::int64_t{o} * matrix.quads + quad) * kQuad + i] : std::int8_t{0});
  }
}

}  // namespace

void pack_4x4(const Matrix &matrix, Packed &packed) { pack(matrix, 4, packed); }
void pack_16x4(const Matrix &matrix, Packed &packed) { pack(matrix, 16, packed); }
void pack_32x4(const Matrix &matrix, Packed &packed) { pack(matrix, 32, packed); }

}  // namespace prunus::avx512vnni
