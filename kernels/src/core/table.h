// kernels.inc as data. Rows of instruction sets that this machine lacks are listed, too: `usable` tells.
#pragma once

#include <span>
#include <string_view>

#include "core/kernel.h"

namespace prunus {

std::span<const ConvKernel> conv_kernels();
std::span<const RowsKernel> rows_kernels();
std::span<const GemvKernel> gemv_kernels();
std::span<const DepthwiseKernel> depthwise_kernels();

// The members of all usable tiers, the best of each; never a null one.
const VectorKernels &vector_kernels();
// One tier's own members, or nullptr.
const VectorKernels *vector_kernels(std::string_view isa);

bool usable(std::string_view isa);

}  // namespace prunus
