// Blocks of 16x4 weights times one vector with SDOT: a lane is an output channel. All weights (dense) or those blocks
// that have a nonzero, 64 bytes each, are read once and in order.
#include <arm_neon.h>

#include "core/pack.h"
#include "neon/epilogue.h"
#include "neon/registers.h"

namespace prunus::neondot {
namespace {

constexpr int kRows = 16, kRegisters = kRows / 4;

inline void accumulate(const std::int8_t *w, int8x16_t x, int32x4_t (&acc)[kRegisters]) {
  for (int i = 0; i < kRegisters; ++i) acc[i] = vdotq_s32(acc[i], vld1q_s8(w + 16 * i), x);
}

// Two sets of sums, so that SDOT's latency does not bind. `offset(b)` is where block b's quad lies.
template <class Offset>
void gemv(const GemvArgs &args, Offset offset) {
  const Packed &packed = *args.weights;
  for (std::int32_t g = args.group_begin; g < args.group_end; ++g) {
    int32x4_t acc[kRegisters], other[kRegisters];
    for (int i = 0; i < kRegisters; ++i) {
      acc[i] = vld1q_s32(args.epilogue->bias + kRows * g + 4 * i);
      other[i] = vdupq_n_s32(0);
    }
    const std::int32_t begin = packed.begin[g], end = packed.begin[g + 1];
    const std::int8_t *w = packed.value.data() + std::ptrdiff_t{kQuad} * kRows * begin;
    std::int32_t b = begin;
    for (; b + 1 < end; b += 2, w += 2 * kQuad * kRows) {
      accumulate(w, repeat_word(args.x + offset(b, begin)), acc);
      accumulate(w + kQuad * kRows, repeat_word(args.x + offset(b + 1, begin)), other);
    }
    if (b < end) accumulate(w, repeat_word(args.x + offset(b, begin)), acc);
    for (int i = 0; i < kRegisters; ++i) acc[i] = vaddq_s32(acc[i], other[i]);
    store_channels(*args.epilogue, kRows * g, acc, args.y + kRows * g);
  }
}

}  // namespace

void pack_dense(const Matrix &matrix, Packed &packed) { pack_all(matrix, kRows, packed); }

void gemv_dense(const GemvArgs &args) {
  gemv(args, [](std::int32_t b, std::int32_t begin) { return kQuad * std::ptrdiff_t{b - begin}; });
}

void pack_blocks(const Matrix &matrix, Packed &packed) { prunus::pack_blocks(matrix, kRows, packed); }

void gemv_blocks(const GemvArgs &args) {
  const std::int32_t *offset = args.weights->offset.data();
  gemv(args, [=](std::int32_t b, std::int32_t) { return std::ptrdiff_t{offset[b]}; });
}

}  // namespace prunus::neondot
