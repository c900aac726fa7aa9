// Changes of scale, byte by byte: 64 bytes are four vectors of 16 values, the first bytes of all words, the second ...
#include <algorithm>
#include <type_traits>

#include "avx512vnni/vector.h"
#include "core/cpu.h"

namespace prunus::avx512vnni {
namespace {

template <int kIndex>
inline constexpr std::integral_constant<int, kIndex> kByte;

// Byte k of every word, less the zero point, as int32 or as float.
struct Words {
  __m512i words;
  std::int32_t zero;

  template <int kIndex>
  [[gnu::always_inline]] __m512i integer() const {
    const __m512i value = _mm512_and_si512(_mm512_srli_epi32(words, 8 * kIndex), _mm512_set1_epi32(255));
    return _mm512_sub_epi32(value, _mm512_set1_epi32(zero));
  }

  // The byte as the last bits of 2^23 + byte: one exact subtraction is the conversion.
  template <int kIndex>
  [[gnu::always_inline]] __m512 real() const {
    constexpr int kSecondAndFirstOrThird = 0xea;
    const __m512i exponent = _mm512_set1_epi32(0x4b000000), bits = _mm512_set1_epi32(255);
    const __m512i value =
        _mm512_ternarylogic_epi32(_mm512_srli_epi32(words, 8 * kIndex), bits, exponent, kSecondAndFirstOrThird);
    return _mm512_sub_ps(_mm512_castsi512_ps(value), _mm512_set1_ps(8388608.0f + static_cast<float>(zero)));
  }
};

// To int32; whatever saturates a byte may saturate earlier, and the conversion itself does so downwards.
inline __m512i round_float(__m512 value) {
  return _mm512_cvtps_epi32(_mm512_min_ps(value, _mm512_set1_ps(32768.0f)));
}

Output output_of(const Rescale &r) { return Output(r.y_zero, r.low, r.high); }

// y = f(byte 0 of a, of b), f(byte 1 ...), ...: f takes two Words and the number of the byte.
template <class F>
[[gnu::always_inline]] inline void binary(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count,
                                          F f) {
  const Output output = output_of(r);
  for_vectors(count, [&](auto extent, std::size_t i) __attribute__((always_inline)) {
    const Words left{extent.load(a + i), r.a_zero}, right{extent.load(b + i), r.b_zero};
    const __m512i bytes = output.narrow(f(left, right, kByte<0>), f(left, right, kByte<1>), f(left, right, kByte<2>),
                                        f(left, right, kByte<3>));
    extent.store(y + i, transpose_lanes(bytes));
  });
}

template <class F>
[[gnu::always_inline]] inline void unary(const Rescale &r, const Act *a, Act *y, std::size_t count, F f) {
  binary(r, a, a, y, count, [&](const Words &x, const Words &, auto byte) __attribute__((always_inline)) {
    return f(x.integer<byte>());
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
  binary(r, a, b, y, count, [&](const Words &left, const Words &right, auto byte) {
    const __m512i p = left.integer<byte>(), q = right.integer<byte>();
    const __m256i low = half(_mm512_castsi512_si256(p), _mm512_castsi512_si256(q));
    const __m256i high = half(_mm512_extracti64x4_epi64(p, 1), _mm512_extracti64x4_epi64(q, 1));
    return _mm512_inserti64x4(_mm512_castsi256_si512(low), high, 1);
  });
}

}  // namespace

void add(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  if (r.scheme != PRUNUS_F32) return add_integer(r, a, b, y, count);
  const __m512 a_scale = _mm512_set1_ps(r.scale[0]), b_scale = _mm512_set1_ps(r.scale[1]);
  const auto sum = [&](const Words &left, const Words &right, auto byte) __attribute__((always_inline)) {
    return _mm512_add_ps(_mm512_mul_ps(left.real<byte>(), a_scale), _mm512_mul_ps(right.real<byte>(), b_scale));
  };
  const bool small = r.scale[0] < 1e6f && r.scale[1] < 1e6f;  // the conversion to int32 cannot overflow
  if (small)
    binary(r, a, b, y, count, [&](const Words &left, const Words &right, auto byte) __attribute__((always_inline)) {
      return _mm512_cvtps_epi32(sum(left, right, byte));
    });
  else
    binary(r, a, b, y, count, [&](const Words &left, const Words &right, auto byte) __attribute__((always_inline)) {
      return round_float(sum(left, right, byte));
    });
}

void mul(const Rescale &r, const Act *a, const Act *b, Act *y, std::size_t count) {
  if (r.scheme != PRUNUS_F32) {
    const IntegerScale scale = integer_scale(r);
    return binary(r, a, b, y, count, [&](const Words &left, const Words &right, auto byte) {
      return scale.apply(_mm512_mullo_epi32(left.integer<byte>(), right.integer<byte>()));
    });
  }
  const __m512 scale = _mm512_set1_ps(r.scale[0]);
  binary(r, a, b, y, count, [&](const Words &left, const Words &right, auto byte) __attribute__((always_inline)) {
    // the low words of both factors, less the sign of one of them: vpmaddwd is faster than vpmulld
    const __m512i low = _mm512_and_si512(left.integer<byte>(), _mm512_set1_epi32(0xffff));
    const __m512i product = _mm512_madd_epi16(low, right.integer<byte>());
    return round_float(_mm512_mul_ps(_mm512_cvtepi32_ps(product), scale));
  });
}

namespace {

void requantize_each(const Rescale &r, const Act *a, Act *y, std::size_t count) {
  if (r.scheme != PRUNUS_F32) {
    const IntegerScale scale = integer_scale(r);
    return unary(r, a, y, count, [&](__m512i p) { return scale.apply(p); });
  }
  const __m512 scale = _mm512_set1_ps(r.scale[0]);
  unary(r, a, y, count, [&](__m512i p) __attribute__((always_inline)) {
    return round_float(_mm512_mul_ps(_mm512_cvtepi32_ps(p), scale));
  });
}

}  // namespace

// A byte has 256 values: a long run looks them up.
void requantize(const Rescale &r, const Act *a, Act *y, std::size_t count) {
  constexpr std::size_t kValues = 256;
  if (count < 2 * kValues || !has_avx512vbmi()) return requantize_each(r, a, y, count);
  Act table[kValues];
  for (std::size_t i = 0; i < kValues; ++i) table[i] = static_cast<Act>(i);
  requantize_each(r, table, table, kValues);
  lut_vbmi(table, a, y, count);
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
