// What the model assumes where nothing was measured. Order of magnitude, one core; ratios between the kernels of one
// machine are what counts.
#include <algorithm>
#include <array>

#include "core/cpu.h"
#include "select/coefficients.h"

namespace prunus {
namespace {

// `macs_per_second` of blocks with many rows; blocks of four rows reach `few_rows` of it.
struct IsaDefaults {
  std::string_view isa;
  double macs_per_second, few_rows, block_seconds, output_seconds;
};

constexpr std::array kDefaults = {
    IsaDefaults{"amx", 1400e9, 0.2, 3e-9, 0.09e-9},         // Sapphire Rapids, 2.3 GHz: peak 2300
    IsaDefaults{"avx512vnni", 220e9, 0.9, 2e-9, 0.035e-9},  // Ice Lake, Sapphire Rapids: peak 280; see kNarrow
    IsaDefaults{"avxvnni", 120e9, 0.8, 2e-9, 0.05e-9},      // Alder Lake: peak 150
    IsaDefaults{"avx2", 40e9, 0.8, 3e-9, 0.06e-9},          // exact widening products, not the saturating ones
    IsaDefaults{"neoni8mm", 90e9, 0.8, 3e-9, 0.1e-9},       // Neoverse V1
    IsaDefaults{"neondot", 60e9, 0.9, 3e-9, 0.1e-9},        // Cortex-A76, Neoverse N1
    IsaDefaults{"neon", 12e9, 0.9, 5e-9, 0.2e-9},           // Cortex-A72
    IsaDefaults{"generic", 2e9, 1.0, 10e-9, 1e-9},
};
constexpr double kNarrow = 0.75;  // Zen 4 issues one 512-bit dot product a cycle, at a higher clock
constexpr double kCallSeconds = 50e-9;
constexpr std::int32_t kManyRows = 16;

bool is_amd() { return cpu_description().starts_with("AMD"); }

}  // namespace

KernelCost Coefficients::of(std::string_view kernel, std::string_view isa, std::int32_t rows) const {
  if (auto measured = kernels.find(kernel); measured != kernels.end()) return measured->second;
  auto found = std::find_if(kDefaults.begin(), kDefaults.end(), [&](const IsaDefaults &d) { return d.isa == isa; });
  const IsaDefaults &row = found == kDefaults.end() ? kDefaults.back() : *found;
  double rate = row.macs_per_second * (rows < kManyRows ? row.few_rows : 1);
  if (row.isa == "avx512vnni" && is_amd()) rate *= kNarrow;
  return {rate, row.block_seconds, row.output_seconds, kCallSeconds};
}

Coefficients default_coefficients(std::string_view why) {
  Coefficients out;
  out.bandwidth = {{256e3, 100e9}, {1e6, 60e9}, {8e6, 25e9}, {64e6, 12e9}};
  out.relayout_bytes_per_second = 5e9;
  out.source = "defaults for " + cpu_description() + ": " + std::string(why);
  return out;
}

}  // namespace prunus
