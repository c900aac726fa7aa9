// The one instruction that AVX-VNNI adds to AVX2: four products of u8 and s8 added to an int32, without saturation.
//
// AVX512-VNNI has it, too, for registers of 256 bits and under another encoding. Compiled with -mavx512vl -mavx512vnni
// instead of -mavxvnni, the kernels of this folder compute the same on machines that lack AVX-VNNI: the tests do that.
#pragma once

#include "avx2/epilogue.h"

namespace prunus::avxvnni {
namespace {

using namespace simd256;

inline __m256i dot(__m256i acc, __m256i x, __m256i w) {
#if defined(__AVXVNNI__)
  return _mm256_dpbusd_avx_epi32(acc, x, w);
#else
  return _mm256_dpbusd_epi32(acc, x, w);
#endif
}

}  // namespace
}  // namespace prunus::avxvnni
