#include "network/choose.h"

#include <algorithm>
#include <limits>
#include <span>
#include <string_view>

#include "core/cpu.h"
#include "core/table.h"
#include "network/network.h"

namespace prunus {
namespace {

constexpr const char *kClampingIsa = "generic";
constexpr double kPhaseCopies = 3;  // what a copy of every other pixel costs, in changes of layout

template <class Kernel>
const Kernel *by_name(std::span<const Kernel> kernels, std::string_view name) {
  const auto at = std::find_if(kernels.begin(), kernels.end(), [&](const Kernel &k) { return k.name == name; });
  return at == kernels.end() ? nullptr : &*at;
}

// The named kernel restricts its own family only, and layers that it computes exactly.
template <class Kernel>
std::string name_for(const Options &options, std::span<const Kernel> family, bool safe) {
  const Kernel *kernel = by_name(family, options.kernel);
  return kernel && (safe || kernel->isa == std::string_view(kClampingIsa)) ? options.kernel : std::string();
}

template <class Kernel>
const Kernel &take(std::span<const Kernel> family, const std::vector<Candidate> &ranked, StepInfo &info) {
  if (ranked.empty()) throw Failure(PRUNUS_E_OPTION, "the options leave no kernel for a layer");
  const Kernel *kernel = by_name(family, ranked.front().kernel);
  if (!kernel) throw Failure(PRUNUS_E_OPTION, "the chooser named a kernel that does not exist");
  info.kernel = kernel->name;
  info.predicted_seconds = ranked.front().seconds;
  info.dense = ranked.front().dense;
  info.losers.assign(ranked.begin() + 1, ranked.end());
  return *kernel;
}

std::vector<std::string> isas_for(const Options &options, bool safe) {
  return safe ? options.isas : std::vector<std::string>{kClampingIsa};
}

std::vector<Candidate> ranked_conv(const Options &options, const Problem &problem, bool safe) {
  std::string name = name_for(options, conv_kernels(), safe);
  if (name.empty() && problem.pixels > 0) name = name_for(options, rows_kernels(), safe);
  if (problem.vectors == 0 && !by_name(rows_kernels(), name)) name.clear();
  return rank_conv(problem, isas_for(options, safe), name);
}

std::vector<std::string> split(std::string_view text) {
  std::vector<std::string> names;
  for (std::size_t begin = 0; begin <= text.size();) {
    const std::size_t end = std::min(text.find(',', begin), text.size());
    if (end > begin) names.emplace_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return names;
}

void check_kernel(const std::string &name) {
  const auto check = [&](const auto *kernel) {
    if (kernel && !usable(kernel->isa)) throw Failure(PRUNUS_E_OPTION, "this machine cannot run the kernel " + name);
    return kernel != nullptr;
  };
  if (!check(by_name(conv_kernels(), name)) && !check(by_name(rows_kernels(), name)) &&
      !check(by_name(gemv_kernels(), name)) && !check(by_name(depthwise_kernels(), name)))
    throw Failure(PRUNUS_E_OPTION, "no kernel has the name " + name);
}

}  // namespace

ConvChoice choose_conv(const Options &options, const Problem &problem, bool safe, StepInfo &info) {
  const std::vector<Candidate> ranked = ranked_conv(options, problem, safe);
  if (!ranked.empty() && by_name(rows_kernels(), ranked.front().kernel)) return &take(rows_kernels(), ranked, info);
  return &take(conv_kernels(), ranked, info);
}

bool skip_phases(const Options &options, const Problem &problem, std::int64_t phase_bytes, bool safe) {
  const double phases = kPhaseCopies * relayout_seconds(phase_bytes);
  double direct = std::numeric_limits<double>::max(), flat = direct;
  for (const Candidate &candidate : ranked_conv(options, problem, safe)) {
    const bool rows = by_name(rows_kernels(), candidate.kernel);
    double &best = rows ? direct : flat;
    best = std::min(best, candidate.seconds + (rows ? 0 : phases));
  }
  return direct < flat;
}

const GemvKernel &choose_gemv(const Options &options, const Problem &problem, bool safe, StepInfo &info) {
  const auto family = gemv_kernels();
  return take(family, rank_gemv(problem, isas_for(options, safe), name_for(options, family, safe)), info);
}

const DepthwiseKernel &choose_depthwise(const Options &options, std::int64_t quads, std::int64_t vectors,
                                        std::int32_t taps, bool safe, StepInfo &info) {
  const auto family = depthwise_kernels();
  const std::string name = name_for(options, family, safe);
  return take(family, rank_depthwise(quads, vectors, taps, isas_for(options, safe), name), info);
}

Options options_of(const prunus_plan_options *given) {
  Options options;
  if (!given) return options;
  if (given->isa) {
    options.isas = split(given->isa);
    for (const std::string &isa : options.isas)
      if (!usable(isa)) throw Failure(PRUNUS_E_OPTION, "this machine lacks the instruction set " + isa);
    if (std::find(options.isas.begin(), options.isas.end(), kClampingIsa) == options.isas.end())
      options.isas.emplace_back(kClampingIsa);
  }
  if (given->kernel) {
    options.kernel = given->kernel;
    check_kernel(options.kernel);
  }
  if (given->timed < 0) throw Failure(PRUNUS_E_OPTION, "a negative number of candidates to time");
  if (given->batch < 0) throw Failure(PRUNUS_E_OPTION, "a negative batch");
  options.timed = given->timed;
  options.batch = given->batch;
  if (given->cache) options.cache = given->cache;
  return options;
}

VectorKernels vector_kernels_of(const Options &options) {
  if (options.isas.empty()) return vector_kernels();
  VectorKernels kernels{};
  for (const std::string &isa : usable_isas()) {
    const VectorKernels *tier = vector_kernels(isa);
    if (!tier || std::find(options.isas.begin(), options.isas.end(), isa) == options.isas.end()) continue;
    const auto take = [](auto &member, auto candidate) { member = member ? member : candidate; };
    take(kernels.isa, tier->isa);
    take(kernels.add, tier->add);
    take(kernels.mul, tier->mul);
    take(kernels.requantize, tier->requantize);
    take(kernels.lut, tier->lut);
    take(kernels.max, tier->max);
    take(kernels.sum, tier->sum);
    take(kernels.interleave, tier->interleave);
    take(kernels.deinterleave, tier->deinterleave);
    take(kernels.stride, tier->stride);
    take(kernels.transpose, tier->transpose);
    take(kernels.rgb, tier->rgb);
    take(kernels.quantize, tier->quantize);
    take(kernels.dequantize, tier->dequantize);
  }
  return kernels;
}

}  // namespace prunus
