// Blocks of weights times 16 pixels with SDOT: a lane is a pixel, its four channels one dot product.
//
// A 4x4 block is one register of weights, a vector four of pixels, and all 4 x 16 sums are 16 accumulators: five loads
// for 16 SDOT. A 16x4 block is done as 8 rows x 8 pixels, four loads for 16 SDOT.
#include <arm_neon.h>

#include <algorithm>

#include "core/pack.h"
#include "neon/epilogue.h"

namespace prunus::neondot {
namespace {

constexpr int kLanes = 4;  // pixels of a register

// Adds the products of one register of weights, four rows, and one of inputs to acc[row][i].
template <int columns>
inline void accumulate(int8x16_t w, int8x16_t x, int32x4_t (*acc)[columns], int i) {
  acc[0][i] = vdotq_laneq_s32(acc[0][i], x, w, 0);
  acc[1][i] = vdotq_laneq_s32(acc[1][i], x, w, 1);
  acc[2][i] = vdotq_laneq_s32(acc[2][i], x, w, 2);
  acc[3][i] = vdotq_laneq_s32(acc[3][i], x, w, 3);
}

// acc[r][i]: rows first .. first + rows - 1 of a group of block_rows, pixels 4 i .. 4 i + 3 behind x.
template <int block_rows, int rows, int columns>
inline void multiply(const Packed &packed, std::int32_t group, int first, const std::int32_t *bias, const Act *x,
                     int32x4_t (&acc)[rows][columns]) {
  for (int r = 0; r < rows; ++r)
    for (int32x4_t &a : acc[r]) a = vdupq_n_s32(bias[first + r]);
  const std::int8_t *w = packed.value.data() + std::ptrdiff_t{kQuad} * block_rows * packed.begin[group] + kQuad * first;
  for (std::int32_t b = packed.begin[group]; b < packed.begin[group + 1]; ++b, w += kQuad * block_rows) {
    const Act *from = x + packed.offset[b];
    int8x16_t pixels[columns];
    for (int i = 0; i < columns; ++i) pixels[i] = vld1q_s8(from + 16 * i);
    for (int r = 0; r < rows; r += kQuad) {
      const int8x16_t weights = vld1q_s8(w + kQuad * r);
      for (int i = 0; i < columns; ++i) accumulate<columns>(weights, pixels[i], &acc[r], i);
    }
  }
}

void run_4x4(const ConvArgs &args, std::int32_t group, std::int32_t vector) {
  const std::ptrdiff_t at = std::ptrdiff_t{kVectorBytes} * vector;
  int32x4_t acc[4][4];
  multiply<4>(*args.weights, group, 0, args.epilogue->bias + 4 * group, args.x + at, acc);
  store_tile(*args.epilogue, 4 * group, acc, args.valid[vector], args.y + group * args.y_plane + at);
}

// Rows first .. first + 7 of a group of 16: two output quads.
void run_8(const ConvArgs &args, std::int32_t group, int first, std::int32_t vector) {
  const std::ptrdiff_t at = std::ptrdiff_t{kVectorBytes} * vector;
  const std::int32_t quad = (16 * group + first) / kQuad;
  if (quad >= args.y_quads) return;
  const std::int32_t *bias = args.epilogue->bias + 16 * group;
  int32x4_t acc[2][8][2];  // [half of the vector]
  for (int half = 0; half < 2; ++half)
    multiply<16>(*args.weights, group, first, bias, args.x + at + kVectorBytes / 2 * half, acc[half]);
  for (int q = 0; q < 2 && quad + q < args.y_quads; ++q) {
    int32x4_t tile[kQuad][kLanes];
    for (int r = 0; r < kQuad; ++r)
      for (int i = 0; i < kLanes; ++i) tile[r][i] = acc[i / 2][kQuad * q + r][i % 2];
    store_tile(*args.epilogue, kQuad * (quad + q), tile, args.valid[vector], args.y + (quad + q) * args.y_plane + at);
  }
}

}  // namespace

void pack_4x4(const Matrix &matrix, Packed &packed) { pack_blocks(matrix, 4, packed); }

void conv_4x4(const ConvArgs &args) {
  for (std::int32_t g = args.group_begin; g < std::min(args.group_end, args.y_quads); ++g)
    for (std::int32_t v = args.vector_begin; v < args.vector_end; ++v) run_4x4(args, g, v);
}

void pack_16x4(const Matrix &matrix, Packed &packed) { pack_blocks(matrix, 16, packed); }

void conv_16x4(const ConvArgs &args) {
  for (std::int32_t g = args.group_begin; g < args.group_end; ++g)
    for (int first = 0; first < 16; first += 8)
      for (std::int32_t v = args.vector_begin; v < args.vector_end; ++v) run_8(args, g, first, v);
}

}  // namespace prunus::neondot
