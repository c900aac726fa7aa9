// Timed choice: the candidates that the model ranks best are run, and the fastest stays.
#include <algorithm>

#include "core/aligned.h"
#include "network/choose.h"
#include "network/plan.h"
#include "select/tune.h"

namespace prunus {
namespace {

// Those of the first ranks and a dense one; the step's losers come in the order of the result.
std::vector<Candidate> candidates_of(const Plan &plan, StepInfo &info) {
  std::vector<Candidate> ranked{{info.kernel, info.predicted_seconds, info.dense}};
  ranked.insert(ranked.end(), info.losers.begin(), info.losers.end());
  const std::size_t count = contestants(ranked, static_cast<std::size_t>(plan.options.timed));
  info.losers.assign(ranked.begin() + 1, ranked.end());
  ranked.resize(count);
  return ranked;
}

Options with_kernel(Options options, const char *kernel) {
  options.kernel = kernel;
  return options;
}

std::vector<Candidate> timed(const Plan &plan, const Step &step, std::vector<Candidate> candidates, Act *arena) {
  std::vector<std::unique_ptr<Step>> steps;
  for (const Candidate &candidate : candidates) {
    steps.push_back(step.copy());
    steps.back()->prepare(plan, with_kernel(plan.options, candidate.kernel));
  }
  const Memory memory{plan, arena, nullptr, nullptr};  // these steps read and write the arena only
  const auto run = [&](std::size_t i) { steps[i]->run(memory, 0, steps[i]->units); };
  const std::vector<double> seconds = race(steps.size(), run);
  for (std::size_t i = 0; i < candidates.size(); ++i) candidates[i].seconds = seconds[i];
  std::stable_sort(candidates.begin(), candidates.end(),
                   [](const Candidate &a, const Candidate &b) { return a.seconds < b.seconds; });
  return candidates;
}

// Gives the step the fastest kernel; those that were not timed stay losers with their predictions.
void settle(const Plan &plan, Step &step, const std::vector<Candidate> &ranked) {
  std::vector<Candidate> losers(ranked.begin() + 1, ranked.end());
  losers.insert(losers.end(), step.info.losers.begin() + static_cast<std::ptrdiff_t>(losers.size()), step.info.losers.end());
  if (step.info.kernel != ranked.front().kernel) step.prepare(plan, with_kernel(plan.options, ranked.front().kernel));
  step.info.timed_seconds = ranked.front().seconds;
  step.info.losers = std::move(losers);
}

}  // namespace

void race_candidates(Plan &plan) {
  Aligned<Act> arena(static_cast<std::size_t>(plan.arena_bytes));
  Timings timings(plan.options.cache);
  bool changed = false;
  for (const auto &step : plan.steps) {
    if (step->info.losers.empty() || !step->copy()) continue;
    const std::vector<Candidate> candidates = candidates_of(plan, step->info);
    if (candidates.size() < 2) continue;
    const std::string key = timing_key(step->info.problem, candidates, step->info.timing);
    std::vector<Candidate> ranked = timings.find(key, candidates);
    if (ranked.empty()) {
      ranked = timed(plan, *step, candidates, arena.data());
      timings.add(key, ranked);
      changed = true;
    }
    settle(plan, *step, ranked);
  }
  plan.timings = timings.note();
  if (changed && !plan.options.cache.empty() && !timings.save()) plan.timings = plan.options.cache + " cannot be written";
}

}  // namespace prunus
