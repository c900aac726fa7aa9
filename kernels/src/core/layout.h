// Where the pixels of a quad-planar tensor lie.
//
// A plane holds one quad of channels (4 bytes a pixel) of one image:
//
//   front words | row 0: width pixels, then halo | row 1 ... | bottom rows | tail to a whole number of vectors
//
// Rows are `pitch` pixels apart, pitch >= width + the larger horizontal padding: the halo to the right of a row is the
// halo to the left of the next. `front` pixels lie before pixel (0, 0) (the rows and columns above and left of it) and
// are a multiple of 16, so that every plane's pixel (0, 0) begins a line. Everything outside of the image holds the
// zero point: a convolution needs no test for the border, and may read and overwrite the halo with that same value.
// plane_pixels / 16 is odd, so that equal pixels of neighbouring planes do not share a cache set.
#pragma once

#include <cstdint>

namespace prunus {

struct Halo {
  std::int32_t top = 0, left = 0, bottom = 0, right = 0;  // pixels that a window may reach outside of the image
};

struct Geometry {
  std::int32_t images = 1, channels = 0, height = 0, width = 0;
  std::int32_t pitch = 0, front = 0, plane_pixels = 0;

  std::int32_t quads() const { return (channels + 3) / 4; }
  std::int64_t plane_bytes() const { return std::int64_t{4} * plane_pixels; }
  std::int64_t image_bytes() const { return plane_bytes() * quads(); }
  // Bytes from the tensor's begin to pixel (row, column) of a plane; negative rows and columns are the halo.
  std::int64_t at(std::int32_t image, std::int32_t quad, std::int32_t row, std::int32_t column) const {
    return image * image_bytes() + quad * plane_bytes() + 4 * (front + std::int64_t{row} * pitch + column);
  }
  // Vectors of 16 pixels that cover all rows of an output of this geometry, halo between the rows included.
  std::int32_t vectors() const { return (height * pitch + 15) / 16; }
};

}  // namespace prunus
