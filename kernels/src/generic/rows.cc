// Blocks of 16 x 4 weights times one pixel, in plain C++: the portable member of a family for wide vectors.
#include <algorithm>

#include "core/pack.h"
#include "generic/epilogue.h"

namespace prunus::generic {
namespace {

constexpr int kRows = 16;

void rows_pixel(const RowsArgs &args, std::int32_t group, const Act *x, Act *y) {
  const Packed &packed = *args.weights;
  std::int32_t acc[kRows];
  std::copy_n(args.epilogue->bias + std::ptrdiff_t{group} * kRows, kRows, acc);
  for (std::int32_t b = args.block_begin[group]; b < args.block_end[group]; ++b) {
    const Act *quad = x + packed.offset[b];
    const std::int8_t *w = &packed.value[std::size_t{kRows} * kQuad * b];
    for (int r = 0; r < kRows; ++r)
      for (int c = 0; c < kQuad; ++c) acc[r] += w[kQuad * r + c] * quad[c];
  }
  for (int r = 0; r < kRows; r += kQuad) {
    const std::int32_t quad = (group * kRows + r) / kQuad;
    if (quad >= args.y_quads) return;
    store_channels(*args.epilogue, quad * kQuad, reinterpret_cast<const std::int32_t(&)[kQuad]>(acc[r]),
                   y + quad * args.y_plane);
  }
}

}  // namespace

void pack_rows_16x4(const Matrix &matrix, Packed &packed) { pack_blocks(matrix, kRows, packed); }

void rows_16x4(const RowsArgs &args) {
  for (std::int32_t g = args.group_begin; g < args.group_end; ++g)
    for (std::int32_t r = args.row_begin; r < args.row_end; ++r)
      for (std::int32_t c = 0; c < args.width; ++c)
        rows_pixel(args, g, args.x + r * args.x_row + c * args.x_step,
                   args.y + r * args.y_row + std::ptrdiff_t{kQuad} * c);
}

}  // namespace prunus::generic
