// Depthwise convolution: every byte of a vector has a weight of its own.
#include "core/pack.h"
#include "generic/epilogue.h"

namespace prunus::generic {
namespace {

void accumulate(const std::int8_t *w, const Act *x, std::int32_t (&acc)[kVectorBytes]) {
  std::int16_t wide[kVectorBytes], weight[kVectorBytes];  // the four weights, again and again: no shuffle is left
  for (int i = 0; i < kVectorBytes; ++i) wide[i] = x[i];
  for (int i = 0; i < kVectorBytes; ++i) weight[i] = w[i % kQuad];
  for (int i = 0; i < kVectorBytes; ++i) acc[i] += wide[i] * weight[i];
}

void depthwise_vector(const DepthwiseArgs &args, std::int32_t quad, std::int32_t vector) {
  const Aligned<std::int32_t> &offset = args.weights->offset;
  const Act *x = args.x + quad * args.x_plane + std::ptrdiff_t{kVectorBytes} * vector;
  const std::int8_t *w = args.weights->value.data() + std::ptrdiff_t{quad} * kQuad * std::ssize(offset);
  std::int32_t acc[kVectorBytes];
  for (int i = 0; i < kVectorBytes; ++i) acc[i] = args.epilogue->bias[quad * kQuad + i % kQuad];
  for (std::ptrdiff_t t = 0; t < std::ssize(offset); ++t) accumulate(w + kQuad * t, x + offset[t], acc);

  std::int32_t tile[kQuad][kPixels];
  for (int c = 0; c < kQuad; ++c)
    for (int p = 0; p < kPixels; ++p) tile[c][p] = acc[kQuad * p + c];
  store_tile(*args.epilogue, quad * kQuad, tile, args.valid[vector],
             args.y + quad * args.y_plane + std::ptrdiff_t{kVectorBytes} * vector);
}

}  // namespace

void pack_taps(const DepthwiseMatrix &matrix, Packed &packed) { prunus::pack_taps(matrix, packed); }

void depthwise_taps(const DepthwiseArgs &args) {
  for (std::int32_t q = args.quad_begin; q < args.quad_end; ++q)
    for (std::int32_t v = args.vector_begin; v < args.vector_end; ++v) depthwise_vector(args, q, v);
}

}  // namespace prunus::generic
