// Weights as the kernels of this folder want them. No vector instructions here.
#include "amx/steps.h"

#include <algorithm>
#include <numeric>
#include <span>
#include <vector>

#include "core/kernel.h"

namespace prunus::amx {
namespace {

class Packer {
 public:
  Packer(const Matrix &matrix, std::int32_t rows, Packed &packed) : matrix_(matrix), rows_(rows), packed_(packed) {
    packed_ = {};
    packed_.rows = rows;
    packed_.groups = (matrix.out_c + rows - 1) / rows;
    packed_.begin.push_back(0);
  }

  bool nonzero(std::int32_t g, std::int32_t quad) const {
    for (std::int32_t o = g * rows_; o < std::min((g + 1) * rows_, matrix_.out_c); ++o) {
      const std::int8_t *w = weights(o, quad);
      if (std::any_of(w, w + kQuad, [](std::int8_t v) { return v != 0; })) return true;
    }
    return false;
  }

  // Quads first .. first + 15 of `quads` for group g.
  void append_step(std::int32_t g, std::span<const std::int32_t> quads, std::int32_t first) {
    const auto count = static_cast<std::int32_t>(quads.size());
    const std::int32_t start = std::min(first, std::max(count - kStepQuads, 0));
    const std::size_t step = packed_.offset.size();
    for (std::int32_t i = start; i < start + kStepQuads; ++i)
      packed_.offset.push_back(matrix_.offset[quads[std::min(i, count - 1)]]);
    packed_.extra.push_back(spacing(std::span(packed_.offset).subspan(step)));
    for (std::int32_t o = g * rows_; o < (g + 1) * rows_; ++o)
      for (std::int32_t i = start; i < start + kStepQuads; ++i)
        if (o < matrix_.out_c && first <= i && i < count)
          packed_.value.insert(packed_.value.end(), weights(o, quads[i]), weights(o, quads[i]) + kQuad);
        else
          packed_.value.insert(packed_.value.end(), kQuad, 0);
  }

  void end_group() { packed_.begin.push_back(static_cast<std::int32_t>(packed_.offset.size())); }

 private:
  const std::int8_t *weights(std::int32_t o, std::int32_t quad) const {
    return matrix_.w + (std::int64_t{o} * matrix_.quads + quad) * kQuad;
  }

  static std::int32_t spacing(std::span<const std::int32_t> offset) {
    const std::int64_t step = std::int64_t{offset[1]} - offset[0];
    for (std::size_t i = 1; i < offset.size(); ++i)
      if (std::int64_t{offset[i]} - offset[i - 1] != step) return 0;
    return static_cast<std::int32_t>(step);
  }

  const Matrix &matrix_;
  const std::int32_t rows_;
  Packed &packed_;
};

// The quads with a nonzero, side by side.
void pack_quads(const Matrix &matrix, std::int32_t rows, Packed &packed) {
  Packer packer(matrix, rows, packed);
  std::vector<std::int32_t> quads;
  for (std::int32_t g = 0; g < packed.groups; ++g) {
    quads.clear();
    for (std::int32_t q = 0; q < matrix.quads; ++q)
      if (packer.nonzero(g, q)) quads.push_back(q);
    for (std::int32_t first = 0; first < std::ssize(quads); first += kStepQuads) packer.append_step(g, quads, first);
    packer.end_group();
  }
}

}  // namespace

void pack_16x4(const Matrix &matrix, Packed &packed) { pack_quads(matrix, 16, packed); }
void pack_32x4(const Matrix &matrix, Packed &packed) { pack_quads(matrix, 32, packed); }

// Sixteen neighbouring quads with a nonzero; a dense matrix is the case in which all have one.
void pack_32x64(const Matrix &matrix, Packed &packed) {
  Packer packer(matrix, 32, packed);
  std::vector<std::int32_t> quads(matrix.quads);
  std::iota(quads.begin(), quads.end(), 0);
  for (std::int32_t g = 0; g < packed.groups; ++g) {
    for (std::int32_t first = 0; first < matrix.quads; first += kStepQuads) {
      const std::int32_t end = std::min(first + kStepQuads, matrix.quads);
      const auto block = std::span(quads).subspan(first, end - first);
      if (std::ranges::any_of(block, [&](std::int32_t q) { return packer.nonzero(g, q); }))
        packer.append_step(g, quads, first);
    }
    packer.end_group();
  }
}

}  // namespace prunus::amx
