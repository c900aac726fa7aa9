#include "core/table.h"

#include <algorithm>

#include "core/cpu.h"

namespace prunus {

// Declarations of the functions that the rows name.
#define PRUNUS_CONV(isa, name, rows, quads)     \
  namespace isa {                               \
  void pack_##name(const Matrix &, Packed &);   \
  void conv_##name(const ConvArgs &);           \
  }
#define PRUNUS_ROWS(isa, name, rows)               \
  namespace isa {                                  \
  void pack_rows_##name(const Matrix &, Packed &); \
  void rows_##name(const RowsArgs &);              \
  }
#define PRUNUS_GEMV(isa, name, format, rows)    \
  namespace isa {                               \
  void pack_##name(const Matrix &, Packed &);   \
  void gemv_##name(const GemvArgs &);           \
  }
#define PRUNUS_DEPTHWISE(isa, name)                     \
  namespace isa {                                       \
  void pack_##name(const DepthwiseMatrix &, Packed &);  \
  void depthwise_##name(const DepthwiseArgs &);         \
  }
#define PRUNUS_VECTOR(isa)                    \
  namespace isa {                             \
  extern const VectorKernels vector_kernels;  \
  }
#include "kernels.inc"
#undef PRUNUS_CONV
#undef PRUNUS_ROWS
#undef PRUNUS_GEMV
#undef PRUNUS_DEPTHWISE
#undef PRUNUS_VECTOR

namespace {

// One family a pass: the others expand to nothing.
#define PRUNUS_CONV(isa, name, rows, quads) {#isa "_" #name, #isa, rows, quads, isa::pack_##name, isa::conv_##name},
#define PRUNUS_ROWS(isa, name, rows)
#define PRUNUS_GEMV(isa, name, format, rows)
#define PRUNUS_DEPTHWISE(isa, name)
#define PRUNUS_VECTOR(isa)
constexpr ConvKernel kConv[] = {
#include "kernels.inc"
};
#undef PRUNUS_CONV
#undef PRUNUS_ROWS

#define PRUNUS_CONV(isa, name, rows, quads)
#define PRUNUS_ROWS(isa, name, rows) {#isa "_rows" #name, #isa, rows, isa::pack_rows_##name, isa::rows_##name},
constexpr RowsKernel kRows[] = {
#include "kernels.inc"
};
#undef PRUNUS_ROWS
#undef PRUNUS_GEMV

#define PRUNUS_ROWS(isa, name, rows)
#define PRUNUS_GEMV(isa, name, format, rows) \
  {#isa "_" #name, #isa, GemvFormat::format, rows, isa::pack_##name, isa::gemv_##name},
constexpr GemvKernel kGemv[] = {
#include "kernels.inc"
};
#undef PRUNUS_GEMV
#undef PRUNUS_DEPTHWISE

#define PRUNUS_GEMV(isa, name, format, rows)
#define PRUNUS_DEPTHWISE(isa, name) {#isa "_" #name, #isa, isa::pack_##name, isa::depthwise_##name},
constexpr DepthwiseKernel kDepthwise[] = {
#include "kernels.inc"
};
#undef PRUNUS_DEPTHWISE
#undef PRUNUS_VECTOR

#define PRUNUS_DEPTHWISE(isa, name)
#define PRUNUS_VECTOR(isa) &isa::vector_kernels,
constexpr const VectorKernels *kVector[] = {
#include "kernels.inc"
};
#undef PRUNUS_CONV
#undef PRUNUS_ROWS
#undef PRUNUS_GEMV
#undef PRUNUS_DEPTHWISE
#undef PRUNUS_VECTOR

template <class Function>
void take(Function *&member, Function *candidate) {
  if (member == nullptr) member = candidate;
}

// Tiers come best first: the first one that has a member provides it.
VectorKernels best_members() {
  VectorKernels best{};
  best.isa = usable_isas().front().c_str();
  for (const std::string &isa : usable_isas()) {
    const VectorKernels *tier = vector_kernels(isa);
    if (tier == nullptr) continue;
    take(best.add, tier->add);
    take(best.mul, tier->mul);
    take(best.requantize, tier->requantize);
    take(best.lut, tier->lut);
    take(best.max, tier->max);
    take(best.sum, tier->sum);
    take(best.interleave, tier->interleave);
    take(best.deinterleave, tier->deinterleave);
    take(best.stride, tier->stride);
    take(best.transpose, tier->transpose);
    take(best.rgb, tier->rgb);
    take(best.quantize, tier->quantize);
    take(best.dequantize, tier->dequantize);
  }
  return best;
}

}  // namespace

std::span<const ConvKernel> conv_kernels() { return kConv; }
std::span<const RowsKernel> rows_kernels() { return kRows; }
std::span<const GemvKernel> gemv_kernels() { return kGemv; }
std::span<const DepthwiseKernel> depthwise_kernels() { return kDepthwise; }

const VectorKernels &vector_kernels() {
  static const VectorKernels best = best_members();
  return best;
}

const VectorKernels *vector_kernels(std::string_view isa) {
  const auto *const tier = std::ranges::find_if(kVector, [&](const VectorKernels *t) { return t->isa == isa; });
  return tier == std::end(kVector) ? nullptr : *tier;
}

bool usable(std::string_view isa) { return std::ranges::find(usable_isas(), isa) != usable_isas().end(); }

}  // namespace prunus
