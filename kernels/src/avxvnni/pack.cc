// Weights as the kernels of this folder want them. No vector instructions here.
#include <cstddef>

#include "core/pack.h"

namespace prunus::avxvnni {
namespace {

constexpr std::size_t kTapsTogether = 4;

}  // namespace

void pack_4x4(const Matrix &matrix, Packed &packed) { prunus::pack_blocks(matrix, 4, packed); }
void pack_16x4(const Matrix &matrix, Packed &packed) { prunus::pack_blocks(matrix, 16, packed); }
void pack_dense(const Matrix &matrix, Packed &packed) { prunus::pack_all(matrix, 16, packed); }
void pack_blocks(const Matrix &matrix, Packed &packed) { prunus::pack_blocks(matrix, 16, packed); }

// Taps are padded to fours: value[quads][taps / 4][channel][4].
void pack_taps(const DepthwiseMatrix &matrix, Packed &packed) {
  Packed taps;
  prunus::pack_taps(matrix, taps);
  packed = {};
  packed.rows = kQuad;
  packed.groups = taps.groups;
  packed.offset = taps.offset;
  while (packed.offset.size() % kTapsTogether != 0) packed.offset.push_back(packed.offset.front());
  const std::size_t given = taps.offset.size(), padded = packed.offset.size();
  packed.value.assign(padded * kQuad * taps.groups, 0);
  for (std::size_t q = 0; q < static_cast<std::size_t>(taps.groups); ++q)
    for (std::size_t t = 0; t < given; ++t)
      for (std::size_t c = 0; c < kQuad; ++c)
        packed.value[q * padded * kQuad + (t / kTapsTogether * kQuad + c) * kTapsTogether + t % kTapsTogether] =
            taps.value[(q * given + t) * kQuad + c];
}

}  // namespace prunus::avxvnni
