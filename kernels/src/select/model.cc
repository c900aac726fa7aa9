// The limit model: what a layer costs with each kernel, from counts alone.
#include <algorithm>
#include <cmath>

#include "core/cpu.h"
#include "core/table.h"
#include "select/coefficients.h"
#include "select/select.h"

namespace prunus {
namespace {

using Isas = std::vector<std::string>;

double ceil_div(double a, double b) { return std::ceil(a / b); }

// Share of blocks of `rows` x 4 * `quads` that hold a nonzero. Shapes that were not counted: as the next larger one, or
// as if larger blocks were made of independent ones.
double block_density(const Problem &p, std::int32_t rows, std::int32_t quads) {
  if (quads > 1) return p.density_32x64;
  if (rows <= 4) return p.density_4;
  if (rows <= 16) return p.density_16;
  if (rows <= 32) return p.density_32;
  return 1 - std::pow(1 - p.density_32, rows / 32.0);
}

// Blocks of rows x 4 * quads weights that a kernel visits, and the bytes that hold them.
struct Blocks {
  double count, macs, bytes, outputs;
};

Blocks blocks_of(const Problem &p, std::int32_t rows, std::int32_t quads, double density) {
  double groups = ceil_div(p.out_c, rows), weights = 4.0 * rows * quads;
  double count = groups * ceil_div(p.quads, quads) * density;
  return {count, count * weights, count * (weights + sizeof(std::int32_t)), groups * rows};
}

double compute_seconds(const KernelCost &cost, const Blocks &blocks, double pixels) {
  return blocks.macs * pixels / cost.macs_per_second;
}

double memory_seconds(const Coefficients &c, const Blocks &blocks) {
  return blocks.bytes / c.bandwidth_at(blocks.bytes);
}

double other_seconds(const KernelCost &cost, const Blocks &blocks, double pixels) {
  return blocks.count * cost.block_seconds + blocks.outputs * pixels * cost.output_seconds + cost.call_seconds;
}

double seconds_of(const KernelCost &cost, const Coefficients &c, const Blocks &blocks, double pixels) {
  // A weight is fetched once and then used for many pixels: the first use waits for it.
  return compute_seconds(cost, blocks, pixels) + memory_seconds(c, blocks) + other_seconds(cost, blocks, pixels);
}

Candidate candidate(const Coefficients &c, const ConvKernel &kernel, const Problem &p) {
  const double density = block_density(p, kernel.rows, kernel.quads);
  const double pixels = static_cast<double>(kPixels) * static_cast<double>(p.vectors);
  return {kernel.name, seconds_of(c.of(kernel.name), c, blocks_of(p, kernel.rows, kernel.quads, density), pixels),
          density == 1};
}

Candidate candidate(const Coefficients &c, const RowsKernel &kernel, const Problem &p) {
  const double density = block_density(p, kernel.rows, 1), pixels = static_cast<double>(p.pixels);
  return {kernel.name, seconds_of(c.of(kernel.name), c, blocks_of(p, kernel.rows, 1, density), pixels), density == 1};
}

double gemv_seconds(const Coefficients &c, const GemvKernel &kernel, const Problem &p) {
  double density = kernel.format == GemvFormat::blocks ? block_density(p, kernel.rows, 1) : 1;
  Blocks blocks = blocks_of(p, kernel.rows, 1, density);
  if (kernel.format == GemvFormat::bitmask) blocks.bytes = blocks.macs * (p.weight_density + 1.0 / 8);
  KernelCost cost = c.of(kernel.name);
  // Every weight is used once, in the order of memory: prefetching overlaps the two.
  return std::max(compute_seconds(cost, blocks, 1), memory_seconds(c, blocks)) + other_seconds(cost, blocks, 1);
}

// Position among the usable instruction sets that the caller allows, or -1.
int preference(const char *isa, const Isas &allowed) {
  if (!allowed.empty() && std::find(allowed.begin(), allowed.end(), isa) == allowed.end()) return -1;
  const Isas &usable = usable_isas();
  auto at = std::find(usable.begin(), usable.end(), isa);
  return at == usable.end() ? -1 : static_cast<int>(at - usable.begin());
}

template <class Kernel>
bool eligible(const Kernel &kernel, const Isas &isas, const std::string &name) {
  return preference(kernel.isa, isas) >= 0 && (name.empty() || name == kernel.name);
}

// Fastest first; equal ones by name, so that the order of the table does not matter.
std::vector<Candidate> sorted(std::vector<Candidate> found) {
  std::sort(found.begin(), found.end(), [](const Candidate &a, const Candidate &b) {
    return a.seconds != b.seconds ? a.seconds < b.seconds : std::string_view(a.kernel) < b.kernel;
  });
  return found;
}

}  // namespace

std::vector<Candidate> rank_conv(const Problem &problem, const Isas &isas, const std::string &kernel) {
  auto c = coefficients();
  std::vector<Candidate> found;
  for (const ConvKernel &row : conv_kernels())
    if (problem.vectors > 0 && eligible(row, isas, kernel)) found.push_back(candidate(*c, row, problem));
  for (const RowsKernel &row : rows_kernels())
    if (problem.pixels > 0 && eligible(row, isas, kernel)) found.push_back(candidate(*c, row, problem));
  return sorted(std::move(found));
}

std::vector<Candidate> rank_gemv(const Problem &problem, const Isas &isas, const std::string &kernel) {
  auto c = coefficients();
  std::vector<Candidate> found;
  for (const GemvKernel &row : gemv_kernels()) {
    const bool dense = row.format == GemvFormat::dense;
    if (eligible(row, isas, kernel)) found.push_back({row.name, gemv_seconds(*c, row, problem), dense});
  }
  return sorted(std::move(found));
}

std::vector<Candidate> rank_depthwise(std::int64_t quads, std::int64_t vectors, std::int32_t taps, const Isas &isas,
                                      const std::string &kernel) {
  auto c = coefficients();
  double outputs = static_cast<double>(quads * vectors) * kVectorBytes;
  struct Tier {
    int preference;
    Candidate candidate;
  };
  std::vector<Tier> tiers;
  for (const DepthwiseKernel &row : depthwise_kernels()) {
    if (!eligible(row, isas, kernel)) continue;
    KernelCost cost = c->of(row.name);
    double seconds = outputs * (taps / cost.macs_per_second + cost.output_seconds) + cost.call_seconds;
    tiers.push_back({preference(row.isa, isas), {row.name, seconds, true}});
  }
  std::sort(tiers.begin(), tiers.end(), [](const Tier &a, const Tier &b) {
    return a.preference != b.preference ? a.preference < b.preference : a.candidate.seconds < b.candidate.seconds;
  });
  std::vector<Candidate> found;
  for (const Tier &tier : tiers) found.push_back(tier.candidate);
  return found;
}

double relayout_seconds(std::int64_t bytes) {
  return static_cast<double>(bytes) / coefficients()->relayout_bytes_per_second;
}

}  // namespace prunus
