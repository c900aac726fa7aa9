// The generic tier's members by name: SIMD tiers pass on what they do not speed up (FIXED and POW2).
#pragma once

#include "core/kernel.h"

namespace prunus::generic {

extern const VectorKernels vector_kernels;

}  // namespace prunus::generic
