// A tensor in one layout, and where its bytes lie.
#pragma once

#include <cstdint>
#include <vector>

#include "core/aligned.h"
#include "core/kernel.h"
#include "core/layout.h"

namespace prunus {

// flat:   dense, ONNX's order
// rows:   quad-planar over the last dimension: a matrix whose rows are the pixels of one image of height 1
// image:  quad-planar over dimension 1 of [N, C, H, W] or [N, C, W], with a halo
// phases: every stride-th row and column of an image as images of their own; a strided window is a plain one on them
enum class Layout : std::uint8_t { flat, rows, image, phases };

const char *layout_name(Layout layout);

// One reader of an image: it computes `rows` rows of vectors, and its last tap lies that far behind the pixel.
struct Reach {
  std::int32_t rows, down, right;
};

struct Phase {
  std::int32_t row, column;
};

struct Value {
  std::int32_t tensor = -1;
  Layout layout = Layout::flat;
  Geometry geometry;  // of quad-planar layouts; phases: channels are 4 * quads per phase, all phases of one image
  Halo halo;
  Act fill = 0;  // what the halo holds
  std::vector<Reach> reads;
  std::int32_t stride_h = 1, stride_w = 1;  // phases
  std::vector<Phase> phases;
  Aligned<std::uint16_t> valid;  // which pixels of each vector belong to the image
  std::uint8_t flip = 0;         // of the caller's arrays: what turns their bytes into Act
  std::int32_t element_bytes = 1;
  std::int64_t elements = 0;  // of the tensor

  std::int64_t bytes = 0;    // in the arena
  std::int64_t offset = 0;   // from the arena's begin
  std::int32_t alias = -1;   // the value in whose memory it lies
  std::int32_t input = -1;   // the caller's array it is
  std::int32_t output = -1;

  bool external() const { return input >= 0 || output >= 0; }
  std::int64_t plane_bytes() const { return geometry.plane_bytes(); }
  // From the value's begin to pixel (0, 0) of a plane.
  std::int64_t plane(std::int32_t image, std::int32_t quad) const { return geometry.at(image, quad, 0, 0); }
};

// Sets pitch-dependent members: front, plane_pixels, valid, bytes. The pitch is set.
void lay_out(Value &value);

// Pixels outside of the image, given pixel (0, 0) of a plane: rows and columns above and left of it; what lies below
// the vectors that cover the rows; and between the rows.
void fill_above(const Value &value, Act *plane);
void fill_below(const Value &value, Act *plane);
void fill_between(const Value &value, Act *plane);
void fill_right_of(const Value &value, std::int32_t row_begin, std::int32_t row_end, Act *plane);  // a part of that
void fill_tail(const Value &value, Act *plane);  // the rest of it: from the last row to the end of its vector
void fill_halo(const Value &value, Act *plane);  // all three

}  // namespace prunus
