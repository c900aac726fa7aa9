// What the products of a matrix and one vector share: blocks of 16 rows x 4 columns, one vector of weights each.
#pragma once

#include <bit>

#include "avx512vnni/epilogue.h"
#include "avx512vnni/unroll.h"
#include "generic/epilogue.h"

namespace prunus::avx512vnni {
namespace {

constexpr int kGemvRows = 16;
constexpr int kGemvBlockBytes = kGemvRows * kQuad;
constexpr int kGemvChains = 8;  // of vpdpbusd; its latency is 4 or 5 cycles, and two may begin in a cycle

inline __m512i broadcast_quad(const Act *quad) {
  std::int32_t value;
  __builtin_memcpy(&value, quad, sizeof value);
  return _mm512_set1_epi32(value);
}

// bias + sum over blocks of weights(b) . x(b). weights() is called in order.
template <class Weights, class X>
[[gnu::always_inline]] inline __m512i dot(const std::int32_t *bias, std::int32_t blocks, Weights weights, X x) {
  __m512i acc[kGemvChains];
  unroll<kGemvChains>([&](auto i) __attribute__((always_inline)) { acc[i] = _mm512_setzero_si512(); });
  acc[0] = _mm512_loadu_si512(bias);
  std::int32_t b = 0;
  for (; b + kGemvChains <= blocks; b += kGemvChains)
    unroll<kGemvChains>([&](auto i) __attribute__((always_inline)) {
      acc[i] = _mm512_dpbusd_epi32(acc[i], x(b + i), weights(b + i));
    });
  for (; b < blocks; ++b) acc[0] = _mm512_dpbusd_epi32(acc[0], x(b), weights(b));
  unroll<kGemvChains - 1>([&](auto i) __attribute__((always_inline)) {
    acc[0] = _mm512_add_epi32(acc[0], acc[i + 1]);
  });
  return acc[0];
}

// 16 bytes of y.
inline void store_rows(const Epilogue &epilogue, std::int32_t channel, __m512i acc, Act *y) {
  if (epilogue.scheme != PRUNUS_F32) {
    std::int32_t memory[kGemvRows];
    _mm512_storeu_si512(memory, acc);
    return store_channels(epilogue, channel, memory, y);
  }
  const auto every = [](std::int32_t byte) { return _mm_set1_epi8(static_cast<char>(byte)); };
  const __m512i value = requantize_float(acc, _mm512_loadu_ps(epilogue.scale + channel));
  const __m256i zero = _mm256_set1_epi16(static_cast<short>(epilogue.zero));
  const __m256i words = _mm256_adds_epi16(_mm512_cvtsepi32_epi16(value), zero);
  const __m128i bytes = _mm_packus_epi16(_mm256_castsi256_si128(words), _mm256_extracti128_si256(words, 1));
  _mm_storeu_si128(reinterpret_cast<__m128i *>(y),
                   _mm_min_epu8(_mm_max_epu8(bytes, every(epilogue.low)), every(epilogue.high)));
}

// expand(mask, value): the block whose weights of nonzero bits lie at value.
template <class Expand>
inline void bitmask(const GemvArgs &args, Expand expand) {
  const Packed &packed = *args.weights;
  const std::int32_t quads = static_cast<std::int32_t>(packed.extra.size() / 2 / packed.groups);
  for (std::int32_t group = args.group_begin; group < args.group_end; ++group) {
    const std::int8_t *value = packed.value.data() + packed.begin[group];
    const std::int32_t *extra = packed.extra.data() + std::ptrdiff_t{2} * group * quads;
    const std::int32_t channel = group * kGemvRows;
    const __m512i acc = dot(
        args.epilogue->bias + channel, quads,
        [&](std::int32_t b) __attribute__((always_inline)) {
          std::uint64_t mask;
          __builtin_memcpy(&mask, extra + std::ptrdiff_t{2} * b, sizeof mask);
          const __m512i block = expand(mask, value);
          value += std::popcount(mask);
          return block;
        },
        [&](std::int32_t b) { return broadcast_quad(args.x + b * kQuad); });
    store_rows(*args.epilogue, channel, acc, args.y + channel);
  }
}

}  // namespace
}  // namespace prunus::avx512vnni
