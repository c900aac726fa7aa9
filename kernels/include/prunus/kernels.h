/* Prunus kernels: the C interface.
 *
 * Every function computes one operator of the integer graph exactly as the integer contract defines it:
 *
 *   acc = bias + sum((x - z_x) * w)                     int32, any order; padding contributes nothing
 *   y   = clip(round_half_even(acc * m) + z_y, qmin, qmax)
 *
 * with m a float32 (PRUNUS_F32), an integer times a power of two (PRUNUS_FIXED) or a power of two (PRUNUS_POW2).
 * Tensors are dense, in ONNX's order (NCHW), with an explicit batch. Activations are 8-bit, weights int8 in
 * [-127, 127], biases int32. Nothing here allocates, keeps state, uses floating-point environment or a C library:
 * the portable tier is freestanding C11. The caller has proved that accumulators fit in int32.
 *
 * All functions return PRUNUS_OK or say what is wrong with the arguments before touching the output. Outputs must not
 * overlap inputs, but for add, mul, requantize and lut, whose output may be an input of its own size. Compile with -ffp-contract=off and without -ffast-math.
 */
#ifndef PRUNUS_KERNELS_H
#define PRUNUS_KERNELS_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PRUNUS_KERNELS_VERSION 1
#define PRUNUS_MAX_RANK 6

typedef enum prunus_status {
  PRUNUS_OK = 0,
  PRUNUS_E_SHAPE = 1,  /* dimensions that do not fit together */
  PRUNUS_E_TYPE = 2,   /* unknown element type or requantization scheme */
  PRUNUS_E_RANGE = 3,  /* a multiplier, shift, zero point, index or clip range outside of the contract */
  /* Of network.h alone; here because an enumeration holds no other values than those it names. */
  PRUNUS_E_FILE = 4,   /* a packed file that is damaged, of another version, or larger than its limits */
  PRUNUS_E_STATE = 5,  /* a call out of order: run before plan, an operator after plan */
  PRUNUS_E_MEMORY = 6, /* allocation failed */
  PRUNUS_E_OPTION = 7  /* an unknown instruction set or kernel, or one that this machine lacks */
} prunus_status;

/* What a status means, in English; never NULL. */
const char *prunus_status_text(prunus_status status);

typedef enum prunus_dtype { PRUNUS_U8 = 0, PRUNUS_S8 = 1 } prunus_dtype;
typedef enum prunus_scheme { PRUNUS_F32 = 0, PRUNUS_FIXED = 1, PRUNUS_POW2 = 2 } prunus_scheme;

/* real = (q - zero_point) * scale; the scale itself never reaches a kernel. */
typedef struct prunus_type {
  int32_t dtype; /* prunus_dtype */
  int32_t zero_point;
} prunus_type;

/* F32: multiplier_f32[size], normal numbers > 0. FIXED: multiplier[size] * 2^-shift[size], multipliers >= 1, shifts in
 * [1, 62]. POW2: 2^-shift[size], shifts in [-31, 62]; a negative one shifts left. Arrays that the scheme does not name
 * may be NULL. size is 1 or one per channel (per count, per input). */
typedef struct prunus_requant {
  int32_t scheme; /* prunus_scheme */
  int32_t size;
  const float *multiplier_f32;
  const int32_t *multiplier;
  const int32_t *shift;
} prunus_requant;

/* The end of every fused operator: requantization, output type, and the range a fused Relu or Clip leaves. */
typedef struct prunus_epilogue {
  prunus_requant requant;
  prunus_type type;
  int32_t qmin, qmax;
} prunus_epilogue;

typedef struct prunus_window {
  int32_t kernel_h, kernel_w;
  int32_t stride_h, stride_w;
  int32_t pad_top, pad_left, pad_bottom, pad_right;
  int32_t dilation_h, dilation_w;
} prunus_window;

/* x [batch, in_c, in_h, in_w] -> y [batch, out_c, out_h, out_w]; w [out_c, in_c / group, kernel_h, kernel_w]. */
typedef struct prunus_conv2d_args {
  int32_t batch, in_c, in_h, in_w, out_c, out_h, out_w, group;
  prunus_window window;
  prunus_type x;
  prunus_epilogue y;
} prunus_conv2d_args;

prunus_status prunus_conv2d(const prunus_conv2d_args *args, const void *x, const int8_t *w, const int32_t *bias,
                            void *y);

/* As above with group == in_c: w [out_c, 1, kernel_h, kernel_w], output channel o reads input o / (out_c / in_c). */
prunus_status prunus_depthwise2d(const prunus_conv2d_args *args, const void *x, const int8_t *w, const int32_t *bias,
                                 void *y);

/* x [rows, in_c] -> y [rows, out_c]; w [out_c, in_c]. */
typedef struct prunus_gemm_args {
  int32_t rows, in_c, out_c;
  prunus_type x;
  prunus_epilogue y;
} prunus_gemm_args;

prunus_status prunus_gemm(const prunus_gemm_args *args, const void *x, const int8_t *w, const int32_t *bias, void *y);

/* Elementwise with numpy broadcasting over `rank` dimensions, batch included; strides are implied by the shapes
 * (a dimension of 1 repeats). ADD: y = round(a' m[0] + b' m[1]), for FIXED and POW2 aligned to the larger shift and
 * rounded once; the alignment must leave multipliers <= 2^53. MUL: acc = a' b', m[0]. */
typedef struct prunus_binary_args {
  int32_t rank;
  int32_t a_shape[PRUNUS_MAX_RANK], b_shape[PRUNUS_MAX_RANK];
  prunus_type a, b;
  prunus_epilogue y;
} prunus_binary_args;

prunus_status prunus_add(const prunus_binary_args *args, const void *a, const void *b, void *y);
prunus_status prunus_mul(const prunus_binary_args *args, const void *a, const void *b, void *y);

/* A change of scale: acc = x - z_x. With `copy` set the input already has the output's type: only the clip applies.
 * Concatenation is one call per input, each writing its slice: `outer` runs of `inner` elements, `stride` apart in y. */
typedef struct prunus_requant_args {
  int32_t outer, inner, stride;
  int32_t copy;
  int32_t entry; /* which multiplier of the epilogue's requantization */
  prunus_type x;
  prunus_epilogue y;
} prunus_requant_args;

prunus_status prunus_requantize(const prunus_requant_args *args, const void *x, void *y);

/* x [batch, c, in_h, in_w] -> y [batch, c, out_h, out_w]. Padding is the lowest value of the type: 0 or -128, or
 * `fill` where a narrower type has a higher one. */
typedef struct prunus_pool2d_args {
  int32_t batch, c, in_h, in_w, out_h, out_w;
  prunus_window window;
  prunus_type x;
  int32_t fill;
} prunus_pool2d_args;

prunus_status prunus_maxpool2d(const prunus_pool2d_args *args, const void *x, void *y);

/* acc = sum(x - z_x) over the window, multiplier count_index[out_h, out_w]. */
prunus_status prunus_avgpool2d(const prunus_pool2d_args *args, const prunus_epilogue *epilogue,
                               const int32_t *count_index, const void *x, void *y);

/* y[i] = table[x[i]] (u8) or table[x[i] + 128] (s8); 256 bytes of the output's type. */
prunus_status prunus_lut(size_t count, int32_t x_dtype, const void *table, const void *x, void *y);

/* Integer softmax over `length` elements `inner` apart, `outer` times: T = table[max - q] in Q20, S = sum T,
 * y = clip(floor((2 T R + S) / (2 S)) + z_y, qmin, qmax). */
typedef struct prunus_softmax_args {
  int32_t outer, length, inner;
  int32_t reciprocal; /* R = 1 / s_y */
  prunus_type x, y;
  int32_t qmin, qmax;
} prunus_softmax_args;

prunus_status prunus_softmax(const prunus_softmax_args *args, const uint32_t *table, const void *x, void *y);

/* Data movement of 1-byte elements; y[i] = x[start + i * step] on every dimension, or `fill` where that lies outside
 * of x: covers slice (step > 0) and pad (start < 0). */
typedef struct prunus_slice_args {
  int32_t rank;
  int32_t x_shape[PRUNUS_MAX_RANK], y_shape[PRUNUS_MAX_RANK];
  int32_t start[PRUNUS_MAX_RANK], step[PRUNUS_MAX_RANK];
  int32_t fill;
} prunus_slice_args;

prunus_status prunus_slice(const prunus_slice_args *args, const void *x, void *y);

/* y = x with dimension perm[i] of x as dimension i. */
typedef struct prunus_transpose_args {
  int32_t rank;
  int32_t x_shape[PRUNUS_MAX_RANK], perm[PRUNUS_MAX_RANK];
} prunus_transpose_args;

prunus_status prunus_transpose(const prunus_transpose_args *args, const void *x, void *y);

/* y[b, c, i, j] = x[b, c, rows[i], columns[j]]. */
typedef struct prunus_resize_args {
  int32_t batch, c, in_h, in_w, out_h, out_w;
} prunus_resize_args;

prunus_status prunus_resize_nearest(const prunus_resize_args *args, const int32_t *rows, const int32_t *columns,
                                    const void *x, void *y);

/* The borders: y = clip(round_half_even(x / scale) + z, qmin, qmax), a true float32 division; y = (q - z) * scale.
 * Quantization ignores the epilogue's requantization, and its zero point may be any |z| <= 2^24, so that a
 * preprocessing (subtract a mean) can be folded into it. */
prunus_status prunus_quantize(size_t count, float scale, const prunus_epilogue *y_type, const float *x, void *y);
prunus_status prunus_dequantize(size_t count, float scale, const prunus_type *x_type, const void *x, float *y);

#ifdef __cplusplus
}
#endif
#endif /* PRUNUS_KERNELS_H */
