// From accumulators in registers to bytes in memory: the end of every fused operator, 64 outputs at a time.
//
// Everything here is static or a template over this folder's own types: inline functions of an instruction set must not
// be merged with those of another one by the linker.
#pragma once

#include <immintrin.h>

#include "core/kernel.h"

namespace prunus::avx512vnni {

// acc * multiplier * 2^-shift: an exact product in int64 and one rounding, half to even, as
// floor((v + half - 1 + bit(v, shift)) / 2^shift). A negative shift is a left shift.
struct IntegerScale {
  std::int64_t multiplier, half_less_one;
  std::int32_t right, left;

  IntegerScale(const Epilogue &epilogue, std::int32_t channel)
      : IntegerScale(epilogue.scheme == PRUNUS_POW2 ? 1 : epilogue.multiplier[channel], epilogue.shift[channel]) {}
  IntegerScale(std::int32_t m, std::int32_t shift)
      : multiplier(m),
        half_less_one(shift > 0 ? (std::int64_t{1} << (shift - 1)) - 1 : 0),
        right(shift > 0 ? shift : 0),
        left(shift < 0 ? -shift : 0) {}

  __m512i round(__m512i value) const {
    const __m512i odd = _mm512_and_si512(_mm512_srl_epi64(value, _mm_cvtsi32_si128(right)),
                                         _mm512_set1_epi64(right > 0 ? 1 : 0));
    value = _mm512_add_epi64(value, _mm512_add_epi64(odd, _mm512_set1_epi64(half_less_one)));
    return _mm512_sll_epi64(_mm512_sra_epi64(value, _mm_cvtsi32_si128(right)), _mm_cvtsi32_si128(left));
  }

  __m512i apply(__m512i acc) const {
    const __m512i m = _mm512_set1_epi64(multiplier);
    const __m512i low = _mm512_cvtepi32_epi64(_mm512_castsi512_si256(acc));
    const __m512i high = _mm512_cvtepi32_epi64(_mm512_extracti64x4_epi64(acc, 1));
    return _mm512_inserti64x4(
        _mm512_castsi256_si512(_mm512_cvtsepi64_epi32(round(_mm512_mul_epi32(low, m)))),
        _mm512_cvtsepi64_epi32(round(_mm512_mul_epi32(high, m))), 1);
  }
};

// The same with lanes of 16 channels, each with its own multiplier and shift.
struct ChannelScale {
  struct Half {
    __m512i multiplier, half_less_one, odd_bit, right, left;
  };
  Half low, high;

  ChannelScale(const Epilogue &e, std::int32_t channel) : low(half_of(e, channel)), high(half_of(e, channel + 8)) {}

  static Half half_of(const Epilogue &e, std::int32_t channel) {
    const auto load = [&](const std::int32_t *from) {
      return _mm512_cvtepi32_epi64(_mm256_loadu_si256(reinterpret_cast<const __m256i *>(from + channel)));
    };
    const __m512i zero = _mm512_setzero_si512(), one = _mm512_set1_epi64(1), shift = load(e.shift);
    const __mmask8 rounds = _mm512_cmpgt_epi64_mask(shift, zero);
    const __m512i half = _mm512_sllv_epi64(one, _mm512_sub_epi64(shift, one));
    return {e.scheme == PRUNUS_POW2 ? one : load(e.multiplier), _mm512_maskz_sub_epi64(rounds, half, one),
            _mm512_maskz_mov_epi64(rounds, one), _mm512_max_epi64(shift, zero),
            _mm512_max_epi64(_mm512_sub_epi64(zero, shift), zero)};
  }

  static __m256i round(__m256i acc, const Half &h) {
    __m512i value = _mm512_mul_epi32(_mm512_cvtepi32_epi64(acc), h.multiplier);
    const __m512i odd = _mm512_and_si512(_mm512_srlv_epi64(value, h.right), h.odd_bit);
    value = _mm512_add_epi64(value, _mm512_add_epi64(odd, h.half_less_one));
    return _mm512_cvtsepi64_epi32(_mm512_sllv_epi64(_mm512_srav_epi64(value, h.right), h.left));
  }

  __m512i apply(__m512i acc) const {
    return _mm512_inserti64x4(_mm512_castsi256_si512(round(_mm512_castsi512_si256(acc), low)),
                              round(_mm512_extracti64x4_epi64(acc, 1), high), 1);
  }
};

// |acc * scale| < 2^31 is the caller's promise; the conversions round half to even.
static inline __m512i requantize_float(__m512i acc, __m512 scale) {
  return _mm512_cvtps_epi32(_mm512_mul_ps(_mm512_cvtepi32_ps(acc), scale));
}

// Transposes 4 x 4 bytes within each lane.
static inline __m512i transpose_lanes(__m512i bytes) {
  alignas(kVectorBytes) static constexpr std::uint8_t kOrder[kVectorBytes] = {
      0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,
      0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15, 0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15};
  return _mm512_shuffle_epi8(bytes, _mm512_load_si512(kOrder));
}

// The output type of an operator. Saturation to int16 on the way changes nothing: the result is clipped to a byte.
// Branches that always go one way cost nothing where vector instructions are the limit.
struct Output {
  __m512i zero_words, zero_bytes, low, high;
  bool shifted, clipped;

  Output(std::int32_t zero, std::int32_t low_byte, std::int32_t high_byte)
      : zero_words(_mm512_set1_epi16(static_cast<short>(zero))),
        zero_bytes(_mm512_set1_epi8(static_cast<char>(zero))),
        low(_mm512_set1_epi8(static_cast<char>(low_byte))),
        high(_mm512_set1_epi8(static_cast<char>(high_byte))),
        shifted(zero != 0),
        clipped(low_byte > kActLow || high_byte < kActHigh) {}
  explicit Output(const Epilogue &e) : Output(e.zero, e.low, e.high) {}

  // Four vectors of requantized values to bytes: lane i of the result has lane i of a, b, c and d one after another.
  [[gnu::always_inline]] __m512i narrow(__m512i a, __m512i b, __m512i c, __m512i d) const {
    __m512i ab = _mm512_packs_epi32(a, b), cd = _mm512_packs_epi32(c, d);
    if (shifted) {
      ab = _mm512_adds_epi16(ab, zero_words);
      cd = _mm512_adds_epi16(cd, zero_words);
    }
    const __m512i bytes = _mm512_packus_epi16(ab, cd);
    return clipped ? _mm512_min_epu8(_mm512_max_epu8(bytes, low), high) : bytes;
  }

  // 16 pixels of a quad; where a bit of `valid` is 0, the zero point.
  [[gnu::always_inline]] void store(Act *y, __m512i bytes, std::uint16_t valid) const {
    _mm512_storeu_si512(y, _mm512_mask_mov_epi32(zero_bytes, valid, bytes));
  }
};

}  // namespace prunus::avx512vnni
