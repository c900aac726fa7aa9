#include "select/fit.h"

#include <cmath>
#include <cstddef>
#include <limits>
#include <optional>
#include <utility>

namespace prunus {
namespace {

constexpr std::size_t kTerms = 4;  // MACs, blocks, outputs, calls
using Row = std::array<double, kTerms>;

// Seconds per unit of each term, relative to the measured time: every sample's right-hand side is 1.
Row row_of(const Sample &s) { return {s.macs / s.seconds, s.blocks / s.seconds, s.outputs / s.seconds, 1 / s.seconds}; }

bool in(unsigned subset, std::size_t term) { return subset >> term & 1; }

// Least squares over the terms of the subset by its normal equations; nothing where they are singular.
std::optional<Row> solve(const std::vector<Row> &rows, unsigned subset) {
  std::array<std::array<double, kTerms + 1>, kTerms> a{};
  for (std::size_t i = 0; i < kTerms; ++i) {
    for (std::size_t j = 0; j < kTerms; ++j) {
      if (in(subset, i) && in(subset, j)) {
        for (const Row &row : rows) a[i][j] += row[i] * row[j];
      } else {
        a[i][j] = i == j;
      }
    }
    if (in(subset, i)) {
      for (const Row &row : rows) a[i][kTerms] += row[i];
    }
  }
  for (std::size_t i = 0; i < kTerms; ++i) {  // symmetric and positive definite: no pivoting
    if (!(a[i][i] > 0)) return std::nullopt;
    for (std::size_t k = 0; k < kTerms; ++k) {
      if (k == i) continue;
      const double factor = a[k][i] / a[i][i];
      for (std::size_t j = i; j <= kTerms; ++j) a[k][j] -= factor * a[i][j];
    }
  }
  Row x;
  for (std::size_t i = 0; i < kTerms; ++i) x[i] = a[i][kTerms] / a[i][i];
  return x;
}

double squared_error(const std::vector<Row> &rows, const Row &x) {
  double total = 0;
  for (const Row &row : rows) {
    double error = -1;
    for (std::size_t i = 0; i < kTerms; ++i) error += row[i] * x[i];
    total += error * error;
  }
  return total;
}

}  // namespace

KernelCost fit_cost(const std::vector<Sample> &samples) {
  std::vector<Row> rows;
  for (const Sample &sample : samples) rows.push_back(row_of(sample));
  Row best{1e-9, 0, 0, 0};
  double least = std::numeric_limits<double>::max();
  for (unsigned subset = 1; subset < 1u << kTerms; subset += 2) {  // with the first term; the nonnegative optimum is
    const std::optional<Row> x = solve(rows, subset);              // the unconstrained one of some subset
    if (!x || !((*x)[0] > 0) || (*x)[1] < 0 || (*x)[2] < 0 || (*x)[3] < 0) continue;
    const double error = squared_error(rows, *x);
    if (error < least) best = *x, least = error;
  }
  return {1 / best[0], best[1], best[2], best[3]};
}

}  // namespace prunus
