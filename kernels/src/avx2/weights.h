// How the kernels of this folder store weights.
//
// AVX2 has no exact product of bytes: vpmaddubsw adds two products of u8 and s8 and saturates at int16. But
// |x0 w0 + x1 w1| <= 255 (|w0| + |w1|), so weights can prove that it never does. Blocks are sorted into three classes:
//
//   paired   two blocks whose sums still fit in int16 when added: 4 vpmaddubsw, 2 vpaddw, 2 vpmaddwd for 8 weights
//   narrow   a block whose sums fit:                               2 vpmaddubsw, 2 vpmaddwd for 4 weights
//   wide     any block: activations split into even and odd bytes, weights widened to int16, vpmaddwd alone
//
// (per output channel and 16 pixels). Order within a group is free, because int32 addition is.
#pragma once

#include "core/kernel.h"

namespace prunus::avx2 {

// 255 * 128 <= 32767 < 255 * 129
inline constexpr int kNarrowLimit = 128;

// Packed::extra of convolutions, per group. Weights stand by output quad: the 16 bytes of each paired and narrow block,
// then the 32 bytes of each wide one, where a row is (w0, w2, w1, w3) as int16.
struct ConvGroup {
  std::int32_t value;   // index into Packed::value
  std::int32_t paired;  // blocks, an even number
  std::int32_t narrow;
};

// Packed::extra of depthwise convolutions, per quad. Taps are padded to fours, `offset` likewise. Four taps of four
// channels take 16 bytes, [channel][tap], or where `wide` 32: (w0, w2) of each channel, then (w1, w3), as int16.
struct DepthwiseQuad {
  std::int32_t value;
  std::int32_t wide;
};

inline constexpr int kTaps = 4;

// Packed::extra of matrix-vector products, per group: how many blocks are narrow; the rest is wide, in the same bytes.

template <class Record>
inline const Record &record(const Packed &packed, std::ptrdiff_t index) {
  return reinterpret_cast<const Record *>(packed.extra.data())[index];
}

}  // namespace prunus::avx2
