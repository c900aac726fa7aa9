// The micro-kernels: what every instruction set implements, and nothing else.
//
// Activations inside of a network are *quad-planar*, X[channels / 4][pixels][4]: four channels of a pixel are one 32-bit
// word, 16 pixels are one 64-byte vector (layout.h). A convolution is then a list of byte offsets into X:
//
//   acc[o][p] = bias[o] + sum over blocks (w[o][0..3] . X[offset + 4 p + 0..3])       int32, wrapping, any order
//   y[o][p]   = clip(round_half_even(acc * m[o]) + zero, low, high)                   the contract of kernels.h
//
// whatever its window: pointwise, 3x3, dilated, strided (over phases) and fully connected layers differ in the offsets
// alone, and zeros are offsets that are not in the list. The output has the same layout, so layers chain.
//
// Kernels are pure functions: no allocation, no threads, no state. They read exactly the bytes that the formulas name,
// write exactly the vectors that they are asked for, and need no alignment unless it is stated. One folder per
// instruction set, compiled with its own flags; kernels.inc is the one table of all.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/aligned.h"
#include "prunus/kernels.h"

namespace prunus {

// -- activations -----------------------------------------------------------------------------------------------------

// The one element type of activations on a machine: VNNI, AMX and AVX2 multiply unsigned by signed, NEON signed by
// signed. A tensor of the other type is stored with the top bit flipped and its zero point moved by 128, which changes
// no result: the zero point is folded into the bias.
#if defined(__aarch64__) || defined(PRUNUS_SIGNED_ACTIVATIONS)
using Act = std::int8_t;
inline constexpr prunus_dtype kActType = PRUNUS_S8;
#else
using Act = std::uint8_t;
inline constexpr prunus_dtype kActType = PRUNUS_U8;
#endif
inline constexpr int kActLow = kActType == PRUNUS_U8 ? 0 : -128;
inline constexpr int kActHigh = kActType == PRUNUS_U8 ? 255 : 127;

inline constexpr int kQuad = 4;                             // channels that lie together
inline constexpr int kPixels = 16;                          // pixels of a vector
inline constexpr int kVectorBytes = kQuad * kPixels;        // 64

// -- the end of every fused operator ---------------------------------------------------------------------------------

// Arrays have one entry per output channel, padded to a multiple of 32 (zero bias, multiplier 1). `bias` holds
// b - z * sum(w) with the stored zero point z of x. F32 uses `scale`; FIXED and POW2 use `multiplier` and `shift`
// (kernels.h). F32 guarantees |acc * scale| < 2^31, so that conversion to int32 never overflows.
struct Epilogue {
  const std::int32_t *bias;
  prunus_scheme scheme;
  const float *scale;
  const std::int32_t *multiplier;
  const std::int32_t *shift;
  std::int32_t zero;       // of y, as stored
  std::int32_t low, high;  // of y, as stored; kActLow <= low <= high <= kActHigh
};

// -- convolution and matrix product over many pixels -----------------------------------------------------------------

// Nonzero blocks of a weight matrix: `rows` output channels share a list of input quads. Group g has the blocks
// begin[g] .. begin[g + 1]. What `value` and `extra` hold is between a kernel's pack and its run.
struct Packed {
  std::int32_t rows = 0, groups = 0;
  Aligned<std::int32_t> begin;
  Aligned<std::int32_t> offset;  // [blocks] bytes from ConvArgs::x (GemvArgs::x) to the block's quad for pixel 0
  Aligned<std::int8_t> value;
  Aligned<std::int32_t> extra;
};

struct ConvArgs {
  const Act *x;            // offset[i] + 64 v .. + 63 is readable for every block i and every vector v asked for
  Act *y;                  // pixel 0 of output quad 0
  std::ptrdiff_t y_plane;  // bytes from one output quad to the next
  std::int32_t y_quads;    // output quads that exist; a group may reach beyond them, a store must not
  const Packed *weights;
  const Epilogue *epilogue;
  const std::uint16_t *valid;  // [vectors] bit i: pixel i is part of the output; where 0, zero is written (the halo)
  std::int32_t group_begin, group_end;
  std::int32_t vector_begin, vector_end;
};

// Weights of a linear layer as given, and where its input quads lie: what `pack` starts from. Element (o, k) belongs to
// input quad k / 4, at byte offset[k / 4]; in_c is padded to quads with zeros, taps come first: k = tap * in_padded + c.
// A grouped convolution has zeros outside of its group.
struct Matrix {
  std::int32_t out_c, quads;
  const std::int8_t *w;        // [out_c][quads * 4]
  const std::int32_t *offset;  // [quads]
};

// `rows` x (4 * quads) is the shape of a block: 4x4, 16x4, 32x4, or 32x64 for skipped tiles.
struct ConvKernel {
  const char *name;  // "avx512vnni_4x4"
  const char *isa;   // a name of cpu.h
  std::int32_t rows, quads;
  void (*pack)(const Matrix &, Packed &);
  void (*run)(const ConvArgs &);
};

// -- the same, 16 output channels at a time -------------------------------------------------------------------------

// Pixel (r, c) of the output reads block i at x + offset[i] + r * x_row + c * x_step: strides are steps, and x need not
// have the pitch of y. Only pixels of the image are computed and written; the halo of y is the caller's. Weights are
// packed as for ConvArgs, the blocks of a group in the order of the matrix: the caller may leave out the first and the
// last ones, such as those that read nothing but zeros above and below an image.
struct RowsArgs {
  const Act *x;  // 4 bytes of every block are readable at every pixel asked for
  Act *y;        // pixel (0, 0) of output quad 0
  std::ptrdiff_t x_row, x_step;
  std::ptrdiff_t y_row, y_plane;
  std::int32_t y_quads;  // as in ConvArgs
  std::int32_t width;    // at least kRowsWidth
  const Packed *weights;
  const std::int32_t *block_begin, *block_end;  // [groups] all blocks: weights->begin, and the same from 1 on
  const Epilogue *epilogue;
  std::int32_t group_begin, group_end;
  std::int32_t row_begin, row_end;
};
inline constexpr std::int32_t kRowsWidth = 4;

struct RowsKernel {
  const char *name;  // "avx512vnni_rows16x4"
  const char *isa;
  std::int32_t rows;  // of a block: output channels; there are four columns
  void (*pack)(const Matrix &, Packed &);
  void (*run)(const RowsArgs &);
};

// -- matrix times one vector -----------------------------------------------------------------------------------------

// x and y are contiguous; x is readable to a multiple of 64 channels, y writable to a multiple of 16 (what lies behind
// out_c is arbitrary). Matrix::offset is 4 * quad.
struct GemvArgs {
  const Act *x;
  Act *y;
  const Packed *weights;
  const Epilogue *epilogue;
  std::int32_t group_begin, group_end;
};

enum class GemvFormat : std::uint8_t { dense, blocks, bitmask };  // bitmask: any zeros, weights read from memory once

struct GemvKernel {
  const char *name;
  const char *isa;
  GemvFormat format;
  std::int32_t rows;
  void (*pack)(const Matrix &, Packed &);
  void (*run)(const GemvArgs &);
};

// -- depthwise convolution -------------------------------------------------------------------------------------------

// acc[c][p] = bias[c] + sum over taps (w[c][tap] * x[plane c / 4][4 p + c % 4 + offset[tap]]). Taps of one window row
// are usually 4 bytes apart; pack may look for that. Packed::begin and offset are the kernel's own here.
struct DepthwiseMatrix {
  std::int32_t channels, taps;
  const std::int8_t *w;        // [channels][taps]
  const std::int32_t *offset;  // [taps] bytes
};

struct DepthwiseArgs {
  const Act *x;  // pixel 0, first tap at offset 0; vectors are readable at every tap as in ConvArgs
  Act *y;
  std::ptrdiff_t x_plane, y_plane;
  const Packed *weights;
  const Epilogue *epilogue;
  const std::uint16_t *valid;
  std::int32_t quad_begin, quad_end;
  std::int32_t vector_begin, vector_end;
};

struct DepthwiseKernel {
  const char *name;
  const char *isa;
  void (*pack)(const DepthwiseMatrix &, Packed &);
  void (*run)(const DepthwiseArgs &);
};

// -- everything that touches each byte once --------------------------------------------------------------------------

// Scale change of one or two inputs, all zero points as stored. ADD: rounds fl(fl(a' m0) + fl(b' m1)); MUL: acc = a' b',
// m0; REQUANTIZE: acc = a', m0. FIXED and POW2 as in kernels.h, integers in `multiplier` and `shift`.
struct Rescale {
  prunus_scheme scheme;
  float scale[2];
  std::int32_t multiplier[2], shift[2];
  std::int32_t a_zero, b_zero, y_zero, low, high;
};

// Runs of bytes; `y` may be `a`. A null member means: use the tier below.
struct VectorKernels {
  const char *isa;
  void (*add)(const Rescale &, const Act *a, const Act *b, Act *y, std::size_t count);
  void (*mul)(const Rescale &, const Act *a, const Act *b, Act *y, std::size_t count);
  void (*requantize)(const Rescale &, const Act *a, Act *y, std::size_t count);
  // table[(uint8_t)x], a byte as stored
  void (*lut)(const std::uint8_t table[256], const Act *x, Act *y, std::size_t count);
  // y[i] = max over k of x[offset[k] + i]
  void (*max)(const Act *x, const std::int32_t *offset, std::int32_t taps, Act *y, std::size_t count);
  // sum[c] += x[4 p + c] over pixels p
  void (*sum)(const Act *x, std::size_t pixels, std::int32_t sum[kQuad]);
  // Four NCHW rows to words and back, every byte XOR flip (0 or 0x80).
  void (*interleave)(const std::uint8_t *const planes[kQuad], Act *y, std::size_t pixels, std::uint8_t flip);
  void (*deinterleave)(const Act *x, std::uint8_t *const planes[kQuad], std::size_t pixels, std::uint8_t flip);
  // y[row][i] = x[row][i * step], words, rows in bytes
  void (*stride)(const Act *x, std::ptrdiff_t x_row, std::int32_t step, std::int32_t rows, std::int32_t pixels, Act *y,
                 std::ptrdiff_t y_row);
  // y[column][row] = x[row][column], words, steps in bytes, every byte XOR flip: NHWC <-> quad-planar
  void (*transpose)(const Act *x, std::ptrdiff_t x_row, std::int32_t rows, std::int32_t columns, Act *y,
                    std::ptrdiff_t y_column, std::uint8_t flip);
  // Three bytes a pixel to words, whose last byte repeats the third, every byte XOR flip.
  void (*rgb)(const Act *x, Act *y, std::size_t pixels, std::uint8_t flip);
  // clip(rint(x / scale) + zero, low, high) and (q - zero) * scale; bytes as stored
  void (*quantize)(const float *x, float scale, std::int32_t zero, std::int32_t low, std::int32_t high, Act *y,
                   std::size_t count);
  void (*dequantize)(const Act *x, float scale, std::int32_t zero, float *y, std::size_t count);
};

}  // namespace prunus
