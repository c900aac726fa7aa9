#include "select/predict.h"

#include <algorithm>
#include <cmath>
#include <cstring>

#include "core/kernel.h"

namespace prunus {
namespace {

std::int32_t ceil_div(std::int32_t a, std::int32_t b) { return (a + b - 1) / b; }

// The share of blocks of rows x columns with a nonzero: all of the given blocks that one touches must be zero.
double density_of(const Structure &s, std::int32_t rows, std::int32_t columns) {
  const double touched = static_cast<double>(ceil_div(rows, s.rows)) * ceil_div(columns, s.columns);
  return 1 - std::pow(1 - s.density, touched);
}

// Pixels of all images, the halo that lies between rows included (layout.h).
std::int64_t pixels_of(const prunus_conv2d_args &args) {
  const prunus_window &w = args.window;
  const std::int32_t halo = ceil_div(std::max(w.pad_left, w.pad_right), w.stride_w);
  return std::int64_t{args.out_h} * (args.out_w + (args.out_h > 1 ? halo : 0));
}

bool is_depthwise(const prunus_conv2d_args &args) { return args.group > 1 && args.group == args.in_c; }

std::vector<Candidate> ranked(const prunus_conv2d_args &args, const Problem &problem, const std::string &kernel) {
  if (is_depthwise(args)) {
    const std::int32_t taps = args.window.kernel_h * args.window.kernel_w;
    return rank_depthwise(ceil_div(args.out_c, kQuad), problem.vectors, taps, {}, kernel);
  }
  return problem.vectors ? rank_conv(problem, {}, kernel) : rank_gemv(problem, {}, kernel);
}

prunus_status check(const prunus_conv2d_args &args, const Structure &structure) {
  prunus_conv2d_args nothing = args;
  const float one = 1;
  nothing.batch = 0;
  nothing.y = {{PRUNUS_F32, 1, &one, nullptr, nullptr}, {PRUNUS_U8, 0}, 0, 255};
  nothing.x = {PRUNUS_U8, 0};
  const prunus_status status = prunus_conv2d(&nothing, nullptr, nullptr, nullptr, nullptr);
  if (status != PRUNUS_OK) return status;
  if (args.batch < 1 || structure.rows < 1 || structure.columns < 1) return PRUNUS_E_SHAPE;
  return structure.density >= 0 && structure.density <= 1 ? PRUNUS_OK : PRUNUS_E_RANGE;
}

}  // namespace

Problem problem_of(const prunus_conv2d_args &args, const Structure &structure) {
  const prunus_window &w = args.window;
  Problem p;
  p.out_c = args.out_c;
  p.quads = w.kernel_h * w.kernel_w * ceil_div(args.in_c, kQuad);
  const std::int64_t pixels = pixels_of(args);
  p.vectors = pixels * args.batch == 1 ? 0 : (pixels + kPixels - 1) / kPixels * args.batch;
  p.pixels = args.out_w >= kRowsWidth ? std::int64_t{args.out_h} * args.out_w * args.batch : 0;
  const double inside = 1.0 / args.group;  // a grouped convolution is zero outside of its groups
  p.density_4 = inside * density_of(structure, 4, 4), p.density_16 = inside * density_of(structure, 16, 4);
  p.density_32 = inside * density_of(structure, 32, 4), p.density_32x64 = inside * density_of(structure, 32, 64);
  p.weight_density = inside * structure.density;
  return p;
}

Forecast forecast(const prunus_conv2d_args &args, const Structure &structure, const std::string &kernel) {
  const std::vector<Candidate> dense = ranked(args, problem_of(args, {1, 1, 1}), kernel);
  return {ranked(args, problem_of(args, structure), kernel), dense.empty() ? 0 : dense.front().seconds};
}

}  // namespace prunus

using namespace prunus;

prunus_status prunus_predict(const prunus_conv2d_args *args, double density, std::int32_t block_rows,
                             std::int32_t block_columns, const char *kernel, prunus_prediction *out) {
  if (!args || !out) return PRUNUS_E_SHAPE;
  const Structure structure{density, block_rows, block_columns};
  if (const prunus_status status = check(*args, structure); status != PRUNUS_OK) return status;
  try {
    const Forecast found = forecast(*args, structure, kernel ? kernel : "");
    if (found.candidates.empty()) return static_cast<prunus_status>(PRUNUS_E_OPTION);
    const Candidate &best = found.candidates.front();
    *out = {best.seconds, found.dense_seconds, {}};
    std::strncpy(out->kernel, best.kernel, sizeof out->kernel - 1);
    return PRUNUS_OK;
  } catch (const std::exception &) {
    return static_cast<prunus_status>(PRUNUS_E_MEMORY);
  }
}
