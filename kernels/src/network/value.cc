#include "network/value.h"

#include <algorithm>
#include <cstring>
#include <limits>

#include "network/network.h"

namespace prunus {
namespace {

std::int64_t round_up(std::int64_t value, std::int64_t multiple) { return (value + multiple - 1) / multiple * multiple; }

void set_valid(Value &value) {
  const Geometry &g = value.geometry;
  value.valid.assign(static_cast<std::size_t>(g.vectors()), 0);
  for (std::int32_t row = 0; row < g.height; ++row)
    for (std::int32_t column = 0; column < g.width; ++column) {
      const std::int32_t pixel = row * g.pitch + column;
      auto &bits = value.valid[static_cast<std::size_t>(pixel / kPixels)];
      bits = static_cast<std::uint16_t>(bits | 1u << pixel % kPixels);
    }
}

void fill(Act *begin, std::int64_t pixels, Act value) {
  if (pixels > 0) std::memset(begin, value, static_cast<std::size_t>(pixels) * kQuad);
}

}  // namespace

const char *layout_name(Layout layout) {
  switch (layout) {
    case Layout::flat: return "flat";
    case Layout::rows: return "rows";
    case Layout::image: return "image";
    case Layout::phases: return "phases";
  }
  return "";
}

void lay_out(Value &value) {
  if (value.layout == Layout::flat) {
    value.bytes = round_up(value.elements * value.element_bytes, kLine) + kLine;  // vectors may reach beyond the end
    return;
  }
  Geometry &g = value.geometry;
  const std::int64_t pitch = g.pitch;
  const std::int64_t front = round_up(value.halo.top * pitch + value.halo.left, kPixels);
  std::int64_t end = std::max(round_up(g.height * pitch, kPixels), (g.height + value.halo.bottom) * pitch + value.halo.right);
  for (const Reach &reach : value.reads)
    end = std::max(end, round_up(reach.rows * pitch, kPixels) + reach.down * pitch + reach.right);
  const std::int64_t pixels = (round_up(front + end, kPixels) / kPixels | 1) * kPixels;
  const std::int64_t image_bytes = 4 * pixels * g.quads();
  if (image_bytes > std::numeric_limits<std::int32_t>::max())
    throw Failure(PRUNUS_E_MEMORY, "a layer needs images of more than 2^31 - 1 bytes");
  g.front = static_cast<std::int32_t>(front);
  g.plane_pixels = static_cast<std::int32_t>(pixels);
  value.bytes = g.images * image_bytes + kLine;
  set_valid(value);
}

void fill_above(const Value &value, Act *plane) {
  const std::int64_t pixels = std::int64_t{value.halo.top} * value.geometry.pitch + value.halo.left;
  fill(plane - kQuad * pixels, pixels, value.fill);
}

void fill_below(const Value &value, Act *plane) {
  const Geometry &g = value.geometry;
  const std::int64_t begin = std::int64_t{g.vectors()} * kPixels;
  const std::int64_t end = std::int64_t{g.height + value.halo.bottom} * g.pitch + value.halo.right;
  fill(plane + kQuad * begin, end - begin, value.fill);
}

void fill_right_of(const Value &value, std::int32_t row_begin, std::int32_t row_end, Act *plane) {
  const Geometry &g = value.geometry;
  if (g.pitch == g.width) return;
  const std::uint32_t word = 0x01010101u * static_cast<std::uint8_t>(value.fill);  // rows end in one pixel or two
  for (std::int32_t row = row_begin; row < row_end; ++row) {
    Act *pixel = plane + std::ptrdiff_t{kQuad} * (std::ptrdiff_t{row} * g.pitch + g.width);
    for (std::int32_t i = g.width; i < g.pitch; ++i, pixel += kQuad) std::memcpy(pixel, &word, sizeof word);
  }
}

void fill_between(const Value &value, Act *plane) {
  fill_right_of(value, 0, value.geometry.height, plane);
  fill_tail(value, plane);
}

void fill_tail(const Value &value, Act *plane) {
  const Geometry &g = value.geometry;
  const std::int64_t covered = std::int64_t{g.height} * g.pitch;
  fill(plane + kQuad * covered, std::int64_t{g.vectors()} * kPixels - covered, value.fill);
}

void fill_halo(const Value &value, Act *plane) {
  fill_above(value, plane);
  fill_between(value, plane);
  fill_below(value, plane);
}

}  // namespace prunus
