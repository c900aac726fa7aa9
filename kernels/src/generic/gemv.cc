// A dense matrix times one vector: each weight is read once, in order.
#include <algorithm>

#include "core/kernel.h"
#include "generic/epilogue.h"

namespace prunus::generic {
namespace {

constexpr std::int32_t kRows = 16;
constexpr std::int32_t kStretch = 512;  // inputs that are widened at once

// acc[r] += the products of `depth` inputs; rows of w are `row` bytes apart.
void accumulate(const std::int8_t *w, std::ptrdiff_t row, const Act *x, std::int32_t depth,
                std::int32_t (&acc)[kRows]) {
  std::int16_t wide[kStretch];
  for (std::int32_t k = 0; k < depth; ++k) wide[k] = x[k];
  for (std::int32_t r = 0; r < kRows; ++r) {
    std::int32_t sum = 0;
    for (std::int32_t k = 0; k < depth; ++k) sum += wide[k] * static_cast<std::int16_t>(w[r * row + k]);
    acc[r] += sum;
  }
}

}  // namespace

// value[groups * 16][quads * 4], as given; extra[0] is the length of a row.
void pack_dense(const Matrix &matrix, Packed &packed) {
  const std::int32_t depth = matrix.quads * kQuad;
  packed = {};
  packed.rows = kRows;
  packed.groups = (matrix.out_c + kRows - 1) / kRows;
  packed.extra.push_back(depth);
  packed.value.assign(std::size_t{kRows} * packed.groups * depth, 0);
  std::copy_n(matrix.w, std::int64_t{matrix.out_c} * depth, packed.value.begin());
}

void gemv_dense(const GemvArgs &args) {
  const Epilogue &e = *args.epilogue;
  const std::int32_t depth = args.weights->extra[0];
  for (std::int32_t g = args.group_begin; g < args.group_end; ++g) {
    const std::int32_t channel = g * kRows;
    const std::int8_t *w = args.weights->value.data() + std::ptrdiff_t{channel} * depth;
    std::int32_t acc[kRows];
    std::copy_n(e.bias + channel, kRows, acc);
    for (std::int32_t k = 0; k < depth; k += kStretch)
      accumulate(w + k, depth, args.x + k, std::min(kStretch, depth - k), acc);
    store_channels(e, channel, acc, args.y + channel);
  }
}

}  // namespace prunus::generic
