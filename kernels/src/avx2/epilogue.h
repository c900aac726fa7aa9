// From accumulators in registers to bytes in memory, 256 bits at a time: the end of every fused operator.
//
// Shared by the instruction sets that compute in 256-bit registers. Everything is local to the file that includes it,
// so that the linker never merges code of one instruction set with that of another.
#pragma once

#include <immintrin.h>

#include "core/kernel.h"

namespace prunus::simd256 {
namespace {

inline constexpr int kLanes = 8;                   // accumulators in a register
inline constexpr int kHalfBytes = kQuad * kLanes;  // half a vector of 16 pixels

static_assert(kActType == PRUNUS_U8, "the instructions of x86 multiply unsigned activations by signed weights");

// The multipliers of eight accumulators, in one of three arrangements: one channel for all, eight channels, or the four
// channels of a quad twice.
//
// F32: |acc * scale| < 2^31 is the caller's promise; both conversions round half to even.
struct FloatScale {
  __m256 scale;

  static inline FloatScale one(const Epilogue &e, std::ptrdiff_t c) { return {_mm256_broadcast_ss(e.scale + c)}; }
  static inline FloatScale eight(const Epilogue &e, std::ptrdiff_t c) { return {_mm256_loadu_ps(e.scale + c)}; }
  static inline FloatScale quad(const Epilogue &e, std::ptrdiff_t c) {
    return {_mm256_broadcast_ps(reinterpret_cast<const __m128 *>(e.scale + c))};
  }
  inline __m256i apply(__m256i acc) const {
    return _mm256_cvtps_epi32(_mm256_mul_ps(_mm256_cvtepi32_ps(acc), scale));
  }
};

// FIXED and POW2: acc * multiplier * 2^-shift, an exact product in int64 and one rounding, half to even. A negative
// shift is a left shift.
struct IntegerScale {
  __m256i multiplier, right, left;

  static inline IntegerScale of(__m256i multiplier, __m256i shift) {
    const __m256i zero = _mm256_setzero_si256();
    return {multiplier, _mm256_max_epi32(shift, zero), _mm256_max_epi32(_mm256_sub_epi32(zero, shift), zero)};
  }
  static inline IntegerScale one(const Epilogue &e, std::ptrdiff_t c) {
    return of(_mm256_set1_epi32(e.scheme == PRUNUS_POW2 ? 1 : e.multiplier[c]), _mm256_set1_epi32(e.shift[c]));
  }
  static inline IntegerScale eight(const Epilogue &e, std::ptrdiff_t c) {
    const auto load = [c](const std::int32_t *p) {
      return _mm256_loadu_si256(reinterpret_cast<const __m256i *>(p + c));
    };
    return of(e.scheme == PRUNUS_POW2 ? _mm256_set1_epi32(1) : load(e.multiplier), load(e.shift));
  }
  static inline IntegerScale quad(const Epilogue &e, std::ptrdiff_t c) {
    const auto load = [c](const std::int32_t *p) {
      return _mm256_broadcastsi128_si256(_mm_loadu_si128(reinterpret_cast<const __m128i *>(p + c)));
    };
    return of(e.scheme == PRUNUS_POW2 ? _mm256_set1_epi32(1) : load(e.multiplier), load(e.shift));
  }

  // Saturates to int16, the zero point added later included: outputs are bytes.
  static inline __m256i round(__m256i product, __m256i right, __m256i left) {
    const __m256i one = _mm256_set1_epi64x(1), sign = _mm256_set1_epi64x(INT64_MIN);
    const __m256i limit = _mm256_set1_epi64x(INT16_MAX), floor_limit = _mm256_set1_epi64x(INT16_MIN);
    const __m256i rounds = _mm256_cmpgt_epi64(right, _mm256_setzero_si256());
    const __m256i v = _mm256_sllv_epi64(product, left);
    // floor((v + half - 1 + odd) / 2^right), where odd is the last bit of floor(v / 2^right)
    const __m256i half = _mm256_and_si256(rounds, _mm256_srli_epi64(_mm256_sllv_epi64(one, right), 1));
    const __m256i even = _mm256_andnot_si256(_mm256_srlv_epi64(v, right), _mm256_and_si256(rounds, one));
    const __m256i raised = _mm256_sub_epi64(_mm256_add_epi64(v, half), even);
    // an arithmetic shift of 64 bits, which AVX2 lacks
    const __m256i shifted = _mm256_sub_epi64(_mm256_srlv_epi64(_mm256_xor_si256(raised, sign), right),
                                             _mm256_srlv_epi64(sign, right));
    const __m256i most = _mm256_blendv_epi8(shifted, limit, _mm256_cmpgt_epi64(shifted, limit));
    return _mm256_blendv_epi8(most, floor_limit, _mm256_cmpgt_epi64(floor_limit, most));
  }
  inline __m256i apply(__m256i acc) const {
    const __m256i low = _mm256_set1_epi64x(0xffffffff);
    const __m256i even = round(_mm256_mul_epi32(acc, multiplier), _mm256_and_si256(right, low),
                               _mm256_and_si256(left, low));
    const __m256i odd = round(_mm256_mul_epi32(_mm256_srli_epi64(acc, 32), _mm256_srli_epi64(multiplier, 32)),
                              _mm256_srli_epi64(right, 32), _mm256_srli_epi64(left, 32));
    return _mm256_blend_epi32(even, _mm256_slli_epi64(odd, 32), 0xaa);
  }
};

// The output type of an operator. Saturation to int16 on the way changes nothing: the result is clipped to a byte.
// Branches that always go one way are cheaper than instructions that change nothing.
struct Output {
  __m256i zero;       // int16
  __m256i low, high;  // bytes
  __m256i halo;       // the zero point as bytes: what pixels hold that are not part of the output
  bool shifted, clipped;

  static inline Output of(std::int32_t zero, std::int32_t low, std::int32_t high) {
    return {_mm256_set1_epi16(static_cast<short>(zero)),
            _mm256_set1_epi8(static_cast<char>(low)),
            _mm256_set1_epi8(static_cast<char>(high)),
            _mm256_set1_epi8(static_cast<char>(zero)),
            zero != 0,
            low > kActLow || high < kActHigh};
  }
  static inline Output of(const Epilogue &e) { return of(e.zero, e.low, e.high); }

  // Four times eight requantized values to bytes; within each half of the register in the order a b c d.
  inline __m256i pack(__m256i a, __m256i b, __m256i c, __m256i d) const {
    __m256i ab = _mm256_packs_epi32(a, b), cd = _mm256_packs_epi32(c, d);
    if (shifted) {
      ab = _mm256_adds_epi16(ab, zero);
      cd = _mm256_adds_epi16(cd, zero);
    }
    const __m256i bytes = _mm256_packus_epi16(ab, cd);
    return clipped ? _mm256_min_epu8(_mm256_max_epu8(bytes, low), high) : bytes;
  }

  // Eight pixels; bit i of `valid`: pixel i is part of the output.
  inline void store(Act *y, __m256i pixels, std::uint8_t valid) const {
    if (valid != 0xff) {
      const __m256i bit = _mm256_setr_epi32(1, 2, 4, 8, 16, 32, 64, 128);
      const __m256i keep = _mm256_cmpeq_epi32(_mm256_and_si256(_mm256_set1_epi32(valid), bit), bit);
      pixels = _mm256_blendv_epi8(halo, pixels, keep);
    }
    _mm256_storeu_si256(reinterpret_cast<__m256i *>(y), pixels);
  }
};

// Four registers, one per channel, of eight pixels each: to eight quads.
inline __m256i interleave_channels(__m256i packed) {
  const __m256i order = _mm256_setr_epi8(0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15,  //
                                         0, 4, 8, 12, 1, 5, 9, 13, 2, 6, 10, 14, 3, 7, 11, 15);
  return _mm256_shuffle_epi8(packed, order);
}

// Registers of 32 consecutive values in fours, as pack leaves them, to their order.
inline __m256i consecutive(__m256i packed) {
  return _mm256_permutevar8x32_epi32(packed, _mm256_setr_epi32(0, 4, 1, 5, 2, 6, 3, 7));
}

// 16 requantized channels of one pixel.
inline void store_rows(const Output &output, __m256i low, __m256i high, Act *y) {
  const __m256i bytes = consecutive(output.pack(low, high, low, high));
  _mm_storeu_si128(reinterpret_cast<__m128i *>(y), _mm256_castsi256_si128(bytes));
}

inline __m256i load(const void *p) { return _mm256_loadu_si256(static_cast<const __m256i *>(p)); }

// One 32-bit word in all lanes.
inline __m256i word(const void *p) {
  std::int32_t value;
  __builtin_memcpy(&value, p, sizeof value);
  return _mm256_set1_epi32(value);
}

// The valid bits of pixels 8 half .. 8 half + 7 of a vector.
inline std::uint8_t valid_half(std::uint16_t valid, int half) { return static_cast<std::uint8_t>(valid >> (8 * half)); }

}  // namespace
}  // namespace prunus::simd256
