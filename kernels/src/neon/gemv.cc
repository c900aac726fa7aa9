// Blocks of 16x4 weights times one vector, for cores without dot products: as conv.cc, the four inputs of a quad
// repeated instead of the weights. Rows 4 i .. 4 i + 3 of a block are one register.
#include <arm_neon.h>

#include "core/pack.h"
#include "neon/epilogue.h"
#include "neon/registers.h"

namespace prunus::neon {
namespace {

constexpr int kRows = 16, kRegisters = kRows / 4;

void gemv(const GemvArgs &args) {
  const Packed &packed = *args.weights;
  for (std::int32_t g = args.group_begin; g < args.group_end; ++g) {
    int32x4_t acc[2 * kRegisters];
    for (int i = 0; i < 2 * kRegisters; ++i) acc[i] = vdupq_n_s32(0);
    const std::int8_t *w = packed.value.data() + std::ptrdiff_t{kQuad} * kRows * packed.begin[g];
    for (std::int32_t b = packed.begin[g]; b < packed.begin[g + 1]; b += 2, w += 2 * kQuad * kRows) {
      const int8x16_t xa = repeat_word(args.x + packed.offset[b]), xb = repeat_word(args.x + packed.offset[b + 1]);
      unrolled<kRegisters>([&](auto i) {
        const int8x16_t wa = vld1q_s8(w + 16 * i), wb = vld1q_s8(w + kQuad * kRows + 16 * i);
        const int16x8_t low = vmlal_s8(vmull_s8(vget_low_s8(wa), vget_low_s8(xa)), vget_low_s8(wb), vget_low_s8(xb));
        const int16x8_t high = vmlal_high_s8(vmull_high_s8(wa, xa), wb, xb);
        acc[2 * i] = vpadalq_s16(acc[2 * i], low);
        acc[2 * i + 1] = vpadalq_s16(acc[2 * i + 1], high);
      });
    }
    int32x4_t sum[kRegisters];
    for (int i = 0; i < kRegisters; ++i)
      sum[i] = vaddq_s32(vpaddq_s32(acc[2 * i], acc[2 * i + 1]), vld1q_s32(args.epilogue->bias + kRows * g + 4 * i));
    store_channels(*args.epilogue, kRows * g, sum, args.y + kRows * g);
  }
}

}  // namespace

void pack_blocks(const Matrix &matrix, Packed &packed) { pack_block_pairs(matrix, kRows, packed); }
void gemv_blocks(const GemvArgs &args) { gemv(args); }

}  // namespace prunus::neon
