// Depthwise convolution: four taps at a time, exact for any weights (weights.h).
#include "avx2/taps.h"
#include "avx2/weights.h"

namespace prunus::avx2 {
namespace {

using namespace simd256;

constexpr std::ptrdiff_t kTapBytes = kTapsTogether * kQuad;

inline PixelLanes accumulate_narrow(const Act *x, const Packed &weights, const std::int8_t *w, PixelLanes acc) {
  const auto product = [](__m256i pixel, __m256i weight) {
    return _mm256_madd_epi16(_mm256_maddubs_epi16(pixel, weight), _mm256_set1_epi16(1));
  };
  for (std::size_t t = 0; t < weights.offset.size(); t += kTapsTogether, w += kTapBytes) {
    const PixelLanes taps = four_taps(x, weights.offset.data() + t);
    const __m256i weight = both_halves(w);
    acc.r0 = _mm256_add_epi32(acc.r0, product(taps.r0, weight));
    acc.r1 = _mm256_add_epi32(acc.r1, product(taps.r1, weight));
    acc.r2 = _mm256_add_epi32(acc.r2, product(taps.r2, weight));
    acc.r3 = _mm256_add_epi32(acc.r3, product(taps.r3, weight));
  }
  return acc;
}

inline PixelLanes accumulate_wide(const Act *x, const Packed &weights, const std::int8_t *w, PixelLanes acc) {
  const auto product = [](__m256i pixel, __m256i even, __m256i odd) {
    return _mm256_add_epi32(_mm256_madd_epi16(_mm256_and_si256(pixel, _mm256_set1_epi16(0xff)), even),
                            _mm256_madd_epi16(_mm256_srli_epi16(pixel, 8), odd));
  };
  for (std::size_t t = 0; t < weights.offset.size(); t += kTapsTogether, w += 2 * kTapBytes) {
    const PixelLanes taps = four_taps(x, weights.offset.data() + t);
    const __m256i even = both_halves(w), odd = both_halves(w + kTapBytes);
    acc.r0 = _mm256_add_epi32(acc.r0, product(taps.r0, even, odd));
    acc.r1 = _mm256_add_epi32(acc.r1, product(taps.r1, even, odd));
    acc.r2 = _mm256_add_epi32(acc.r2, product(taps.r2, even, odd));
    acc.r3 = _mm256_add_epi32(acc.r3, product(taps.r3, even, odd));
  }
  return acc;
}

template <class Scale>
void run(const DepthwiseArgs &args) {
  const Packed &weights = *args.weights;
  run_depthwise<Scale>(args, [&](std::int32_t quad, const Act *x, const PixelLanes &bias) {
    const DepthwiseQuad &of_quad = record<DepthwiseQuad>(weights, quad);
    const std::int8_t *w = weights.value.data() + of_quad.value;
    return of_quad.wide ? accumulate_wide(x, weights, w, bias) : accumulate_narrow(x, weights, w, bias);
  });
}

}  // namespace

void depthwise_taps(const DepthwiseArgs &args) {
  args.epilogue->scheme == PRUNUS_F32 ? run<FloatScale>(args) : run<IntegerScale>(args);
}

}  // namespace prunus::avx2
