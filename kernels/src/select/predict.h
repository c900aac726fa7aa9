// What a layer would cost, from its shape and the structure of its zeros: no weights needed.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "prunus/network.h"
#include "select/select.h"

namespace prunus {

// Weights of which a share `density` of the blocks of rows x columns (output channels x input channels) is not zero,
// the others anywhere.
struct Structure {
  double density;
  std::int32_t rows, columns;
};

Problem problem_of(const prunus_conv2d_args &args, const Structure &structure);

struct Forecast {
  std::vector<Candidate> candidates;  // fastest first
  double dense_seconds;               // of the best kernel without any zeros
};

Forecast forecast(const prunus_conv2d_args &args, const Structure &structure, const std::string &kernel);

}  // namespace prunus
