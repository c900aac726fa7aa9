// Depthwise convolution in 256-bit registers: four taps of a channel are brought together, then multiplied at once.
#pragma once

#include "avx2/epilogue.h"

namespace prunus::simd256 {
namespace {

inline constexpr int kTapsTogether = 4;

// Eight pixels of a quad. Register i holds pixel i in its low half and pixel i + 4 in its high half; its 32-bit lanes
// are the four channels.
struct PixelLanes {
  __m256i r0, r1, r2, r3;
};

// Lanes of four taps, one byte each: what a dot product of bytes wants.
inline PixelLanes four_taps(const Act *x, const std::int32_t *offset) {
  const __m256i t0 = load(x + offset[0]), t1 = load(x + offset[1]);
  const __m256i t2 = load(x + offset[2]), t3 = load(x + offset[3]);
  const __m256i low01 = _mm256_unpacklo_epi8(t0, t1), high01 = _mm256_unpackhi_epi8(t0, t1);
  const __m256i low23 = _mm256_unpacklo_epi8(t2, t3), high23 = _mm256_unpackhi_epi8(t2, t3);
  return {_mm256_unpacklo_epi16(low01, low23), _mm256_unpackhi_epi16(low01, low23),
          _mm256_unpacklo_epi16(high01, high23), _mm256_unpackhi_epi16(high01, high23)};
}

// The 16 bytes at p in both halves: the weights or biases of a quad.
inline __m256i both_halves(const void *p) {
  return _mm256_broadcastsi128_si256(_mm_loadu_si128(static_cast<const __m128i *>(p)));
}

// Stores accumulate(quad, x, bias), a PixelLanes of sums, for every eight pixels of every quad that is asked for.
template <class Scale, class Accumulate>
inline void run_depthwise(const DepthwiseArgs &args, Accumulate accumulate) {
  const Epilogue &e = *args.epilogue;
  const Output output = Output::of(e);
  for (std::int32_t quad = args.quad_begin; quad < args.quad_end; ++quad) {
    const std::ptrdiff_t channel = std::ptrdiff_t{quad} * kQuad;
    const Scale scale = Scale::quad(e, channel);
    const __m256i bias = both_halves(e.bias + channel);
    for (std::int32_t half = 2 * args.vector_begin; half < 2 * args.vector_end; ++half) {
      const std::ptrdiff_t pixels = std::ptrdiff_t{half} * kHalfBytes;
      const PixelLanes sum =
          accumulate(quad, args.x + quad * args.x_plane + pixels, PixelLanes{bias, bias, bias, bias});
      const __m256i bytes =
          output.pack(scale.apply(sum.r0), scale.apply(sum.r1), scale.apply(sum.r2), scale.apply(sum.r3));
      output.store(args.y + quad * args.y_plane + pixels, bytes, valid_half(args.valid[half / 2], half % 2));
    }
  }
}

}  // namespace
}  // namespace prunus::simd256
