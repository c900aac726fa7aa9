// Weights in the order in which conv.cc reads them.
#include <algorithm>

#include "core/pack.h"

namespace prunus::avx512vnni {
namespace {

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

void pack_dense(const Matrix &matrix, Packed &packed) { pack_all(matrix, 16, packed); }
void pack_blocks(const Matrix &matrix, Packed &packed) { prunus::pack_blocks(matrix, 16, packed); }

}  // namespace prunus::avx512vnni
