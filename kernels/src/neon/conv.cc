// Blocks of 4x4 weights times 16 pixels for cores without dot products (Cortex-A53, A72).
//
// Bytes are multiplied into int16 lanes: x * w is at most 128 * 127, so that two products fit, which two blocks provide
// (SMULL, SMLAL); SADALP then adds neighbouring channels into int32. A lane of an accumulator holds two channels of a
// pixel: 4 rows x 8 pixels are 16 registers, and the two halves of a vector take turns.
#include <arm_neon.h>

#include <algorithm>

#include "core/pack.h"
#include "neon/epilogue.h"
#include "neon/registers.h"

namespace prunus::neon {
namespace {

constexpr int kRows = 4;

// One row of two blocks, 8 pixels: four independent chains, interleaved for cores that issue in order.
inline void accumulate(const int8x16_t (&xa)[2], int8x16_t wa, const int8x16_t (&xb)[2], int8x16_t wb,
                       int32x4_t (&acc)[4]) {
  int16x8_t product[4];
  product[0] = vmull_s8(vget_low_s8(xa[0]), vget_low_s8(wa));
  product[1] = vmull_high_s8(xa[0], wa);
  product[2] = vmull_s8(vget_low_s8(xa[1]), vget_low_s8(wa));
  product[3] = vmull_high_s8(xa[1], wa);
  product[0] = vmlal_s8(product[0], vget_low_s8(xb[0]), vget_low_s8(wb));
  product[1] = vmlal_high_s8(product[1], xb[0], wb);
  product[2] = vmlal_s8(product[2], vget_low_s8(xb[1]), vget_low_s8(wb));
  product[3] = vmlal_high_s8(product[3], xb[1], wb);
  unrolled<4>([&](auto i) { acc[i] = vpadalq_s16(acc[i], product[i]); });
}

template <int row>
inline int8x16_t repeat_row(int8x16_t block) {
  return vreinterpretq_s8_s32(vdupq_laneq_s32(vreinterpretq_s32_s8(block), row));
}

// 8 pixels of one group: sum[r][first] and the next get row r.
inline void half_vector(const Packed &packed, std::int32_t group, const std::int32_t *bias, const Act *x,
                        int32x4_t (&sum)[kRows][4], int first) {
  int32x4_t acc[kRows][4];
  for (int r = 0; r < kRows; ++r)
    for (int32x4_t &a : acc[r]) a = vreinterpretq_s32_s64(vdupq_n_s64(static_cast<std::uint32_t>(bias[r])));
  const std::int8_t *w = packed.value.data() + std::ptrdiff_t{kQuad} * kRows * packed.begin[group];
  for (std::int32_t b = packed.begin[group]; b < packed.begin[group + 1]; b += 2, w += 2 * kQuad * kRows) {
    const Act *a = x + packed.offset[b], *c = x + packed.offset[b + 1];
    const int8x16_t xa[2] = {vld1q_s8(a), vld1q_s8(a + 16)}, xb[2] = {vld1q_s8(c), vld1q_s8(c + 16)};
    const int8x16_t wa = vld1q_s8(w), wb = vld1q_s8(w + kQuad * kRows);
    unrolled<kRows>([&](auto row) { accumulate(xa, repeat_row<row>(wa), xb, repeat_row<row>(wb), acc[row]); });
  }
  for (int r = 0; r < kRows; ++r) {
    sum[r][first] = vpaddq_s32(acc[r][0], acc[r][1]);
    sum[r][first + 1] = vpaddq_s32(acc[r][2], acc[r][3]);
  }
}

}  // namespace

void pack_4x4(const Matrix &matrix, Packed &packed) { pack_block_pairs(matrix, kRows, packed); }

void conv_4x4(const ConvArgs &args) {
  const std::int32_t groups = std::min(args.group_end, args.y_quads);
  for (std::int32_t g = args.group_begin; g < groups; ++g)
    for (std::int32_t v = args.vector_begin; v < args.vector_end; ++v) {
      const std::ptrdiff_t at = std::ptrdiff_t{kVectorBytes} * v;
      const std::int32_t *bias = args.epilogue->bias + kRows * g;
      int32x4_t sum[kRows][4];
      half_vector(*args.weights, g, bias, args.x + at, sum, 0);
      half_vector(*args.weights, g, bias, args.x + at + kVectorBytes / 2, sum, 2);
      store_tile(*args.epilogue, kRows * g, sum, args.valid[v], args.y + g * args.y_plane + at);
    }
}

}  // namespace prunus::neon
