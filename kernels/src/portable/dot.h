/* Dot products of int8 weights with int16 patches: plain C, and for Cortex-M cores their DSP or vector instructions.
 *
 * All give the same sums: products and accumulation are exact in 32 bits, whatever the order. The compiler's target
 * decides (`-mcpu`): MVE, 8 products an instruction; DSP, two; anything else, C that compilers vectorise.
 */
#ifndef PRUNUS_PORTABLE_DOT_H
#define PRUNUS_PORTABLE_DOT_H

#include "internal.h"

#if defined(__ARM_FEATURE_MVE) && (__ARM_FEATURE_MVE & 1)

#include <arm_mve.h>

/* Lanes behind the end load as zeros and multiply to zero. */
static inline void prunus_i_dot4(const int8_t *restrict w, const int16_t *restrict patch, int32_t depth,
                                 int32_t *restrict acc) {
  const int16_t *p0 = patch, *p1 = p0 + PRUNUS_I_LD, *p2 = p1 + PRUNUS_I_LD, *p3 = p2 + PRUNUS_I_LD;
  int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3];
  for (int32_t k = 0; k < depth; k += 8) {
    mve_pred16_t lanes = vctp16q((uint32_t)(depth - k));
    int16x8_t weight = vldrbq_z_s16(w + k, lanes);
    a0 = vmladavaq_s16(a0, weight, vldrhq_z_s16(p0 + k, lanes));
    a1 = vmladavaq_s16(a1, weight, vldrhq_z_s16(p1 + k, lanes));
    a2 = vmladavaq_s16(a2, weight, vldrhq_z_s16(p2 + k, lanes));
    a3 = vmladavaq_s16(a3, weight, vldrhq_z_s16(p3 + k, lanes));
  }
  acc[0] = a0;
  acc[1] = a1;
  acc[2] = a2;
  acc[3] = a3;
}

static inline void prunus_i_dot1(const int8_t *restrict w, const int16_t *restrict patch, int32_t depth,
                                 int32_t *restrict acc) {
  int32_t sum = *acc;
  for (int32_t k = 0; k < depth; k += 8) {
    mve_pred16_t lanes = vctp16q((uint32_t)(depth - k));
    sum = vmladavaq_s16(sum, vldrbq_z_s16(w + k, lanes), vldrhq_z_s16(patch + k, lanes));
  }
  *acc = sum;
}

#elif defined(__ARM_FEATURE_DSP) && defined(__ARM_ARCH_PROFILE) && __ARM_ARCH_PROFILE == 'M'

#include <arm_acle.h>

_Static_assert(PRUNUS_I_LD % 2 == 0, "rows of a patch start at whole words");

/* Four weights as two pairs of 16 bits, in the order of the patch. */
typedef struct prunus_i_pairs {
  int16x2_t low, high;
} prunus_i_pairs;

static inline prunus_i_pairs prunus_i_widen(const int8_t *w) {
  uint32_t bytes;
  __builtin_memcpy(&bytes, w, sizeof bytes);
  int16x2_t even = __sxtb16((int8x4_t)bytes), odd = __sxtb16((int8x4_t)(bytes >> 8 | bytes << 24));
  prunus_i_pairs pairs; /* compilers have no name for the two that put halves together */
  __asm__("pkhbt %0, %1, %2, lsl #16" : "=r"(pairs.low) : "r"(even), "r"(odd));
  __asm__("pkhtb %0, %1, %2, asr #16" : "=r"(pairs.high) : "r"(odd), "r"(even));
  return pairs;
}

/* sum plus four products; patch stands at a whole word. */
static inline int32_t prunus_i_mac4(prunus_i_pairs w, const int16_t *patch, int32_t sum) {
  int16x2_t pair[2];
  __builtin_memcpy(pair, __builtin_assume_aligned(patch, 4), sizeof pair);
  return __smlad(w.high, pair[1], __smlad(w.low, pair[0], sum));
}

static inline void prunus_i_dot4(const int8_t *restrict w, const int16_t *restrict patch, int32_t depth,
                                 int32_t *restrict acc) {
  int32_t a0 = acc[0], a1 = acc[1], a2 = acc[2], a3 = acc[3], k = 0;
  for (; k + 4 <= depth; k += 4, patch += 4) {
    prunus_i_pairs weights = prunus_i_widen(w + k);
    a0 = prunus_i_mac4(weights, patch, a0);
    a1 = prunus_i_mac4(weights, patch + PRUNUS_I_LD, a1);
    a2 = prunus_i_mac4(weights, patch + 2 * PRUNUS_I_LD, a2);
    a3 = prunus_i_mac4(weights, patch + 3 * PRUNUS_I_LD, a3);
  }
  for (; k < depth; ++k, ++patch) {
    a0 += w[k] * patch[0];
    a1 += w[k] * patch[PRUNUS_I_LD];
    a2 += w[k] * patch[2 * PRUNUS_I_LD];
    a3 += w[k] * patch[3 * PRUNUS_I_LD];
  }
  acc[0] = a0;
  acc[1] = a1;
  acc[2] = a2;
  acc[3] = a3;
}

static inline void prunus_i_dot1(const int8_t *restrict w, const int16_t *restrict patch, int32_t depth,
                                 int32_t *restrict acc) {
  int32_t sum = *acc, k = 0;
  for (; k + 4 <= depth; k += 4) sum = prunus_i_mac4(prunus_i_widen(w + k), patch + k, sum);
  for (; k < depth; ++k) sum += w[k] * patch[k];
  *acc = sum;
}

#else

/* Written so that compilers vectorise the loop over k (on x86: pmaddwd), with several patch rows per weight load. */
static inline void prunus_i_dot4(const int8_t *restrict w, const int16_t *restrict patch, int32_t depth,
                                 int32_t *restrict acc) {
  const int16_t *p0 = patch, *p1 = p0 + PRUNUS_I_LD, *p2 = p1 + PRUNUS_I_LD, *p3 = p2 + PRUNUS_I_LD;
  int32_t a0 = 0, a1 = 0, a2 = 0, a3 = 0;
  for (int32_t k = 0; k < depth; ++k) {
    int16_t weight = w[k];
    a0 += weight * p0[k];
    a1 += weight * p1[k];
    a2 += weight * p2[k];
    a3 += weight * p3[k];
  }
  acc[0] += a0;
  acc[1] += a1;
  acc[2] += a2;
  acc[3] += a3;
}

static inline void prunus_i_dot1(const int8_t *restrict w, const int16_t *restrict patch, int32_t depth,
                                 int32_t *restrict acc) {
  int32_t sum = 0;
  for (int32_t k = 0; k < depth; ++k) sum += (int16_t)w[k] * patch[k];
  *acc += sum;
}

#endif
#endif
