// Blocks of rows x 4 weights times 16 pixels, in plain C++.
#include "core/pack.h"
#include "generic/epilogue.h"

namespace prunus::generic {
namespace {

// The four channels of a vector, apart and widened: products of int16 are what every vector unit has.
inline void split(const Act *x, std::int16_t (&channel)[kQuad][kPixels]) {
  for (int p = 0; p < kPixels; ++p)
    for (int c = 0; c < kQuad; ++c) channel[c][p] = x[kQuad * p + c];
}

template <int rows>
void accumulate(const Packed &packed, std::int32_t block, const Act *x, std::int32_t (&acc)[rows][kPixels]) {
  std::int16_t channel[kQuad][kPixels];
  split(x + packed.offset[block], channel);
  const std::int8_t *w = &packed.value[std::size_t{rows} * kQuad * block];
  for (int r = 0; r < rows; ++r)
    for (int c = 0; c < kQuad; ++c) {
      const std::int16_t weight = w[kQuad * r + c];
      for (int p = 0; p < kPixels; ++p) acc[r][p] += weight * channel[c][p];
    }
}

// One group of output channels for one vector.
template <int rows>
void conv_vector(const ConvArgs &args, std::int32_t group, std::int32_t vector) {
  const Packed &packed = *args.weights;
  std::int32_t acc[rows][kPixels];
  for (int r = 0; r < rows; ++r)
    for (int p = 0; p < kPixels; ++p) acc[r][p] = args.epilogue->bias[group * rows + r];
  const Act *x = args.x + std::ptrdiff_t{kVectorBytes} * vector;
  for (std::int32_t b = packed.begin[group]; b < packed.begin[group + 1]; ++b) accumulate<rows>(packed, b, x, acc);

  for (int r = 0; r < rows; r += kQuad) {
    const std::int32_t quad = (group * rows + r) / kQuad;
    if (quad >= args.y_quads) return;
    Act *y = args.y + quad * args.y_plane + std::ptrdiff_t{kVectorBytes} * vector;
    store_tile(*args.epilogue, quad * kQuad, reinterpret_cast<const std::int32_t(&)[kQuad][kPixels]>(acc[r]),
               args.valid[vector], y);
  }
}

template <int rows>
void conv(const ConvArgs &args) {
  for (std::int32_t g = args.group_begin; g < args.group_end; ++g)
    for (std::int32_t v = args.vector_begin; v < args.vector_end; ++v) conv_vector<rows>(args, g, v);
}

}  // namespace

void pack_4x4(const Matrix &matrix, Packed &packed) { pack_blocks(matrix, 4, packed); }
void conv_4x4(const ConvArgs &args) { conv<4>(args); }

}  // namespace prunus::generic
