// The constants of the limit model: measured on this machine, or defaults of its instruction sets.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

namespace prunus {

// One kernel: MACs of the blocks it visits, blocks, stored outputs (padding included) and calls all take their time.
struct KernelCost {
  double macs_per_second = 0;
  double block_seconds = 0;
  double output_seconds = 0;
  double call_seconds = 0;
};

// Reading weights of so many bytes over and over; between two points, the logarithms are interpolated.
struct Bandwidth {
  double bytes, bytes_per_second;
};

struct Coefficients {
  std::map<std::string, KernelCost, std::less<>> kernels;  // the measured ones
  std::vector<Bandwidth> bandwidth;                        // larger and larger, slower and slower
  double relayout_bytes_per_second = 0;
  std::string source;  // "measured: FILE" or "defaults for PROCESSOR: REASON"

  KernelCost of(std::string_view kernel) const;
  double bandwidth_at(double bytes) const;
};

// Those of this process: read from the cache at first use.
std::shared_ptr<const Coefficients> coefficients();
// Reads the cache again; or takes the given ones for the rest of the process.
void reload_coefficients();
void use_coefficients(Coefficients coefficients);

Coefficients default_coefficients(std::string_view why);
// Nothing, and `why`, when the file is none of this machine's.
std::unique_ptr<Coefficients> load_coefficients(const std::string &path, std::string &why);
bool save_coefficients(const Coefficients &coefficients, const std::string &path);

// Runs every usable kernel on a few small layers and fits the model; takes about `budget_seconds` at most.
Coefficients measure_coefficients(double budget_seconds);

}  // namespace prunus
