// What the model assumes where nothing was measured: typical of one core, right within a factor of two or so. What
// counts are the ratios between kernels of one machine.
#include <algorithm>
#include <array>

#include "core/cpu.h"
#include "select/coefficients.h"

namespace prunus {
namespace {

// For kernels whose names begin so; the first that fits.
struct Default {
  std::string_view prefix;
  double gmacs_per_second, block_ns, output_ns;
};

constexpr std::array kDefaults = {
    // Sapphire Rapids, 2.3 GHz; tiles peak at 2300. Gathering rows of inputs costs what smaller blocks save.
    Default{"amx_32x64", 1500, 3, 0.09},
    Default{"amx_32x4", 1100, 3, 0.09},
    Default{"amx", 800, 3, 0.09},
    // Zen 4 and Ice Lake; Sapphire Rapids is a little faster.
    Default{"avx512vnni_dense", 110, 0, 0.1},
    Default{"avx512vnni_blocks", 105, 0, 0.25},
    Default{"avx512vnni_bitmask", 65, 0, 0.15},
    Default{"avx512vnni_runs", 85, 0, 0.01},
    Default{"avx512vnni_rows", 235, 0.6, 0.115},
    Default{"avx512vnni", 235, 0.3, 0.053},
    // Alder Lake: half as wide.
    Default{"avxvnni_taps", 60, 0, 0.15},
    Default{"avxvnni", 130, 0.3, 0.1},
    // Haswell and later, products widened so that none saturates.
    Default{"avx2_taps", 50, 0, 0.15},
    Default{"avx2_blocks", 50, 0, 0.35},
    Default{"avx2", 75, 0.3, 0.18},
    // Neoverse V1; Neoverse N1 and Cortex-A76; Cortex-A72. From their issue widths, not measured.
    Default{"neoni8mm", 120, 0.5, 0.15},
    Default{"neondot", 60, 0.5, 0.15},
    Default{"neon", 12, 1, 0.3},
    Default{"generic_taps", 1.8, 0, 1.5},
    Default{"", 5, 5, 1.3},
};
constexpr double kCallSeconds = 20e-9;

}  // namespace

KernelCost Coefficients::of(std::string_view kernel) const {
  if (auto measured = kernels.find(kernel); measured != kernels.end()) return measured->second;
  const Default &row =
      *std::find_if(kDefaults.begin(), kDefaults.end(), [&](const Default &d) { return kernel.starts_with(d.prefix); });
  return {row.gmacs_per_second * 1e9, row.block_ns * 1e-9, row.output_ns * 1e-9, kCallSeconds};
}

Coefficients default_coefficients(std::string_view why) {
  Coefficients out;
  out.bandwidth = {{256e3, 90e9}, {1e6, 80e9}, {8e6, 40e9}, {64e6, 15e9}};
  out.relayout_bytes_per_second = 20e9;
  out.source = "defaults for " + cpu_description() + ": " + std::string(why);
  return out;
}

}  // namespace prunus
