// Kernels for the layers of a plan, by the plan's options.
#pragma once

#include <variant>

#include "network/plan.h"

namespace prunus {

// Throw a Failure with PRUNUS_E_OPTION where the options leave no kernel. `safe`: LinearEpilogue; else only the generic
// kernels, which clamp, are exact.
// One of both families, by what the problem fits.
using ConvChoice = std::variant<const ConvKernel *, const RowsKernel *>;
ConvChoice choose_conv(const Options &options, const Problem &problem, bool safe, StepInfo &info);
const GemvKernel &choose_gemv(const Options &options, const Problem &problem, bool safe, StepInfo &info);
const DepthwiseKernel &choose_depthwise(const Options &options, std::int64_t quads, std::int64_t vectors,
                                        std::int32_t taps, bool safe, StepInfo &info);

// Whether a strided convolution is faster on the image itself than on phases, which `phase_bytes` are copied for. The
// problem has both pixels and the vectors of phases.
bool skip_phases(const Options &options, const Problem &problem, std::int64_t phase_bytes, bool safe);

// Checks the names in the options, and splits the list of instruction sets.
Options options_of(const prunus_plan_options *options);

// The members of the allowed tiers, the best of each.
VectorKernels vector_kernels_of(const Options &options);

}  // namespace prunus
