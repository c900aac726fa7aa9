// Changes of scale, byte by byte: 64 bytes are four vectors of int32, the first bytes of all words, the second ...
#include <algorithm>

#include "avx512vnni/unroll.h"
#include "avx512vnni/vector.h"

namespace prunus::avx512vnni {
namespace {

// byte(k): byte k of every word, less the zero point.
struct Words {
  __m512i words, zero;

  template <int kByte>
  [[gnu::always_inline]] __m512i byte() const {
    const __m512i value = kByte == 3 ? _mm512_srli_epi32(words, 24)
                                     : _mm512_and_si512(_mm512_srli_epi32(words, 8 * kByte), _mm512_set1_epi32(255));
    return _mm512_sub_epi32(value, zero);
  }
};

// To int32; whatever saturates a byte may saturate earlier, and the conversion itself does so downwards.
inline __m512i round_float(__m512 value) {
  return _mm512_cvtps_epi32(_mm512_min_ps(value, _mm512_set1_ps(32768.0f)));
}

Output output_of(const Rescale &r) { return Output(r.y_zero, r.low, r.high); }

// y = f(a, b) for 16 values of int32 each
template <class F>
[[gnu::always_inline]] inline void binary(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count,
                                          F f) {
  const Output output = output_of(r);
  const __m512i a_zero = _mm512_set1_epi32(r.a_zero), b_zero = _mm512_set1_epi32(r.b_zero);
  for_vectors(count, [&](auto extent, std::size_t i) __attribute__((always_inline)) {
    const Words left{extent.load(a + i), a_zero}, right{extent.load(b + i), b_zero};
    const __m512i bytes = output.narrow(
        f(left.template byte<0>(), right.template byte<0>()), f(left.template byte<1>(), right.template byte<1>()),
        f(left.template byte<2>(), right.template byte<2>()), f(left.template byte<3>(), right.template byte<3>()));
    extent.store(y + i, transpose_lanes(bytes));
  });
}

template <class F>
[[gnu::always_inline]] inline void unary(const Rescale &r, const Act *a, Act *y, std::size_t count, F f) {
  const Output output = output_of(r);
  const __m512i a_zero = _mm512_set1_epi32(r.a_zero);
  for_vectors(count, [&](auto extent, std::size_t i) __attribute__((always_inline)) {
    const Words x{extent.load(a + i), a_zero};
    const __m512i bytes = output.narrow(f(x.template byte<0>()), f(x.template byte<1>()), f(x.template byte<2>()),
                                        f(x.template byte<3>()));
    extent.store(y + i, transpose_lanes(bytes));
  });
}

IntegerScale integer_scale(const Rescale &r) {
  return IntegerScale(r.scheme == PRUNUS_POW2 ? 1 : r.multiplier[0], r.shift[0]);
}

// Both multipliers at the larger shift, one rounding.
void add_integer(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  const std::int32_t shift = std::max(r.shift[0], r.shift[1]);
  const auto aligned = [&](int i) {
    const std::int64_t m = r.scheme == PRUNUS_POW2 ? 1 : r.multiplier[i];
    return _mm512_set1_epi64(m * (std::int64_t{1} << (shift - r.shift[i])));
  };
  const __m512i a_multiplier = aligned(0), b_multiplier = aligned(1);
  const IntegerScale scale(1, shift);
  const auto half = [&](__m256i p, __m256i q) {
    const __m512i left = _mm512_mullo_epi64(_mm512_cvtepi32_epi64(p), a_multiplier);
    const __m512i right = _mm512_mullo_epi64(_mm512_cvtepi32_epi64(q), b_multiplier);
    return _mm512_cvtsepi64_epi32(scale.round(_mm512_add_epi64(left, right)));
  };
  binary(r, a, b, y, count, [&](__m512i p, __m512i q) {
    const __m256i low = half(_mm512_castsi512_si256(p), _mm512_castsi512_si256(q));
    const __m256i high = half(_mm512_extracti64x4_epi64(p, 1), _mm512_extracti64x4_epi64(q, 1));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  });
}

}  // namespace

void add(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  if (r.scheme != PRUNUS_F32) return add_integer(r, a, b, y, count);
  const __m512 a_scale = _mm512_set1_ps(r.scale[0]), b_scale = _mm512_set1_ps(r.scale[1]);
  binary(r, a, b, y, count, [&](__m512i p, __m512i q) __attribute__((always_inline)) {
    return round_float(_mm512_add_ps(_mm512_mul_ps(_mm512_cvtepi32_ps(p), a_scale),
                                     _mm512_mul_ps(_mm512_cvtepi32_ps(q), b_scale)));
  });
}

void mul(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  if (r.scheme != PRUNUS_F32) {
    const IntegerScale scale = integer_scale(r);
    return binary(r, a, b, y, count, [&](__m512i p, __m512i q) { return scale.apply(_mm512_mullo_epi32(p, q)); });
  }
  const __m512 scale = _mm512_set1_ps(r.scale[0]);
  binary(r, a, b, y, count, [&](__m512i p, __m512i q) __attribute__((always_inline)) {
    // factors and product fit in 16 and 32 bits: vpmaddwd multiplies faster than vpmulld
    const __m512i product = _mm512_madd_epi16(_mm512_and_si512(p, _mm512_set1_epi32(0xffff)), q);
    return round_float(_mm512_mul_ps(_mm512_cvtepi32_ps(product), scale));
  });
}

void requantize(const Rescale &r, const Act *a, Act *y, std::size_t count) {
  if (r.scheme != PRUNUS_F32) {
    const IntegerScale scale = integer_scale(r);
    return unary(r, a, y, count, [&](__m512i p) { return scale.apply(p); });
  }
  const __m512 scale = _mm512_set1_ps(r.scale[0]);
  unary(r, a, y, count, [&](__m512i p) __attribute__((always_inline)) {
    return round_float(_mm512_mul_ps(_mm512_cvtepi32_ps(p), scale));
  });
}

// 16 at a time. A true division; beyond 2^24 every value saturates, whatever the zero point.
void quantize(const float *x, float scale, std::int32_t zero, std::int32_t low, std::int32_t high, Act *y,
              std::size_t count) {
  const __m512 divisor = _mm512_set1_ps(scale), limit = _mm512_set1_ps(16777216.0f);
  const __m512i zeros = _mm512_set1_epi32(zero), lows = _mm512_set1_epi32(low), highs = _mm512_set1_epi32(high);
  for (std::size_t i = 0; i < count; i += kPixels) {
    const __mmask16 mask = count - i < kPixels ? (1u << (count - i)) - 1 : 0xffff;
    const __m512 quotient = _mm512_div_ps(_mm512_maskz_loadu_ps(mask, x + i), divisor);
    const __m512 clamped = _mm512_max_ps(_mm512_min_ps(quotient, limit), _mm512_sub_ps(_mm512_setzero_ps(), limit));
    const __m512i value = _mm512_add_epi32(_mm512_cvtps_epi32(clamped), zeros);
    _mm512_mask_cvtepi32_storeu_epi8(y + i, mask, _mm512_min_epi32(_mm512_max_epi32(value, lows), highs));
  }
}

void dequantize(const Act *x, float scale, std::int32_t zero, float *y, std::size_t count) {
  const __m512 scales = _mm512_set1_ps(scale);
  const __m512i zeros = _mm512_set1_epi32(zero);
  for (std::size_t i = 0; i < count; i += kPixels) {
    const __mmask16 mask = count - i < kPixels ? (1u << (count - i)) - 1 : 0xffff;
    const __m512i value = _mm512_cvtepu8_epi32(_mm_maskz_loadu_epi8(mask, x + i));
    _mm512_mask_storeu_ps(y + i, mask, _mm512_mul_ps(_mm512_cvtepi32_ps(_mm512_sub_epi32(value, zeros)), scales));
  }
}

}  // namespace prunus::avx512vnni
