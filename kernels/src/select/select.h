// Which kernel: predicted by a limit model, optionally timed.
//
// convolution:   MACs * density / rate + weight bytes / bandwidth + outputs * epilogue + blocks * overhead + call
// one vector:    max(MACs * density / rate, weight bytes / bandwidth) + the same
//
// with coefficients per kernel from a short micro-benchmark of the machine (or defaults, so labelled).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "core/kernel.h"

namespace prunus {

// One linear layer as the chooser sees it.
struct Problem {
  std::int32_t out_c = 0, quads = 0;     // quads: taps * ceil(in_c / 4)
  std::int64_t vectors = 0;              // of 16 pixels, junk included; 0: one pixel (gemv), or no run over pixels
  std::int64_t pixels = 0;               // without junk; 0: nothing for the kernels of rows
  double density_4 = 1, density_16 = 1, density_32 = 1, density_32x64 = 1;  // share of blocks of R x 4 with a nonzero
  double weight_density = 1;
};

struct Candidate {
  const char *kernel;
  double seconds;      // predicted, whole layer, one thread
  bool dense = false;  // it visits every block: as fast with other zeros, or none
};

// Usable candidates, fastest first; for convolutions those of both families that the problem fits. `isas` restricts
// (empty: all usable); `kernel` non-empty: only that one.
std::vector<Candidate> rank_conv(const Problem &, const std::vector<std::string> &isas, const std::string &kernel);
std::vector<Candidate> rank_gemv(const Problem &, const std::vector<std::string> &isas, const std::string &kernel);
// Depthwise has no zeros to skip: tiers in their order.
std::vector<Candidate> rank_depthwise(std::int64_t quads, std::int64_t vectors, std::int32_t taps,
                                      const std::vector<std::string> &isas, const std::string &kernel);

// Seconds to convert `bytes` between NCHW or NHWC and the quad-planar layout.
double relayout_seconds(std::int64_t bytes);

}  // namespace prunus
