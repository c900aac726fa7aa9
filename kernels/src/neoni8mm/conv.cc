// Pairs of blocks times 16 pixels with SMMLA: 2 rows x 8 weights times 8 inputs x 2 pixels in one instruction.
//
// The inputs of two blocks are zipped to 8 a pixel, their weights are packed that way: SMMLA does the work of two SDOT
// at the price of one ZIP per register of inputs. A 4x4 tile is 16 SMMLA, 8 ZIP and 10 loads; 8 rows x 8 pixels of a
// 16x4 block 16 SMMLA, 4 ZIP and 8 loads. An accumulator holds row r of pixels p, p + 1, then row r + 1 of them.
#include <arm_neon.h>

#include <algorithm>

#include "core/pack.h"
#include "neon/epilogue.h"

namespace prunus::neoni8mm {
namespace {

// value[pairs][rows][2][4]: both blocks' weights of a row together.
void pack_pairs(const Matrix &matrix, std::int32_t rows, Packed &packed) {
  pack_block_pairs(matrix, rows, packed);
  constexpr int kMostRows = 16;
  std::int8_t pair[2 * kMostRows * kQuad];
  const std::size_t bytes = std::size_t{2} * kQuad * rows;
  for (std::size_t first = 0; first < packed.value.size(); first += bytes) {
    std::int8_t *value = packed.value.data() + first;
    std::copy_n(value, bytes, pair);
    for (std::int32_t r = 0; r < rows; ++r)
      for (int block = 0; block < 2; ++block)
        std::copy_n(pair + kQuad * (block * rows + r), kQuad, value + kQuad * (2 * r + block));
  }
}

inline int8x16_t zip_low(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s32(vzip1q_s32(vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b)));
}
inline int8x16_t zip_high(int8x16_t a, int8x16_t b) {
  return vreinterpretq_s8_s32(vzip2q_s32(vreinterpretq_s32_s8(a), vreinterpretq_s32_s8(b)));
}

// acc[r][i]: rows first + 2 r, + 1 of a group of block_rows, pixels 2 i, 2 i + 1 behind x.
template <int block_rows, int row_pairs, int columns>
inline void multiply(const Packed &packed, std::int32_t group, int first, const Act *x,
                     int32x4_t (&acc)[row_pairs][columns]) {
  for (auto &row : acc)
    for (int32x4_t &a : row) a = vdupq_n_s32(0);
  const std::int8_t *w = packed.value.data() + std::ptrdiff_t{kQuad} * block_rows * packed.begin[group];
  w += 2 * kQuad * first;
  for (std::int32_t b = packed.begin[group]; b < packed.begin[group + 1]; b += 2, w += 2 * kQuad * block_rows) {
    const Act *x0 = x + packed.offset[b], *x1 = x + packed.offset[b + 1];
    int8x16_t weights[row_pairs];
    for (int r = 0; r < row_pairs; ++r) weights[r] = vld1q_s8(w + 16 * r);
    for (int i = 0; i < columns; i += 2) {
      const int8x16_t a = vld1q_s8(x0 + 8 * i), b4 = vld1q_s8(x1 + 8 * i);
      const int8x16_t low = zip_low(a, b4), high = zip_high(a, b4);
      for (int r = 0; r < row_pairs; ++r) {
        acc[r][i] = vmmlaq_s32(acc[r][i], weights[r], low);
        acc[r][i + 1] = vmmlaq_s32(acc[r][i + 1], weights[r], high);
      }
    }
  }
}

inline int32x4_t first_row(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip1q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}
inline int32x4_t second_row(int32x4_t a, int32x4_t b) {
  return vreinterpretq_s32_s64(vzip2q_s64(vreinterpretq_s64_s32(a), vreinterpretq_s64_s32(b)));
}

// Adds the bias to rows 2 r, 2 r + 1 and puts their pixels in order: `count` registers from `column` on.
template <int columns>
inline void place(const int32x4_t (&acc)[columns], const std::int32_t *bias, int column, int32x4_t (*tile)[4]) {
  for (int i = 0; i < columns; i += 2) {
    tile[0][column + i / 2] = vaddq_s32(first_row(acc[i], acc[i + 1]), vdupq_n_s32(bias[0]));
    tile[1][column + i / 2] = vaddq_s32(second_row(acc[i], acc[i + 1]), vdupq_n_s32(bias[1]));
  }
}

void run_4x4(const ConvArgs &args, std::int32_t group, std::int32_t vector) {
  const std::ptrdiff_t at = std::ptrdiff_t{kVectorBytes} * vector;
  int32x4_t acc[2][8], tile[kQuad][4];
  multiply<4>(*args.weights, group, 0, args.x + at, acc);
  for (int r = 0; r < 2; ++r) place(acc[r], args.epilogue->bias + 4 * group + 2 * r, 0, &tile[2 * r]);
  store_tile(*args.epilogue, 4 * group, tile, args.valid[vector], args.y + group * args.y_plane + at);
}

// Rows first .. first + 7 of a group of 16: two output quads.
void run_8(const ConvArgs &args, std::int32_t group, int first, std::int32_t vector) {
  const std::ptrdiff_t at = std::ptrdiff_t{kVectorBytes} * vector;
  const std::int32_t quad = (16 * group + first) / kQuad;
  if (quad >= args.y_quads) return;
  const std::int32_t *bias = args.epilogue->bias + 16 * group + first;
  int32x4_t tile[2 * kQuad][4];
  for (int half = 0; half < 2; ++half) {
    int32x4_t acc[4][4];
    multiply<16>(*args.weights, group, first, args.x + at + kVectorBytes / 2 * half, acc);
    for (int r = 0; r < 4; ++r) place(acc[r], bias + 2 * r, 2 * half, &tile[2 * r]);
  }
  for (int q = 0; q < 2 && quad + q < args.y_quads; ++q)
    store_tile(*args.epilogue, kQuad * (quad + q), reinterpret_cast<const int32x4_t(&)[kQuad][4]>(tile[kQuad * q]),
               args.valid[vector], args.y + (quad + q) * args.y_plane + at);
}

}  // namespace

void pack_4x4(const Matrix &matrix, Packed &packed) { pack_pairs(matrix, 4, packed); }

void conv_4x4(const ConvArgs &args) {
  for (std::int32_t g = args.group_begin; g < std::min(args.group_end, args.y_quads); ++g)
    for (std::int32_t v = args.vector_begin; v < args.vector_end; ++v) run_4x4(args, g, v);
}

void pack_16x4(const Matrix &matrix, Packed &packed) { pack_pairs(matrix, 16, packed); }

void conv_16x4(const ConvArgs &args) {
  for (std::int32_t g = args.group_begin; g < args.group_end; ++g)
    for (int first = 0; first < 16; first += 8)
      for (std::int32_t v = args.vector_begin; v < args.vector_end; ++v) run_8(args, g, first, v);
}

}  // namespace prunus::neoni8mm
