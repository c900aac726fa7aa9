// One thing that a plan does in a run: a kernel over a tensor, or a change of layout.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "network/definition.h"
#include "network/value.h"
#include "select/select.h"

namespace prunus {

class Plan;
struct Options;

// Where the bytes of a run are.
struct Memory {
  const Plan &plan;
  Act *arena;
  const void *const *inputs;
  void *const *outputs;

  // The begin of a value. Steps write to their outputs and the arena only.
  Act *at(std::int32_t value) const;
};

// What `describe` says of a step.
struct StepInfo {
  std::int32_t node = -1;      // operator of the definition; -1: a change of layout
  std::int32_t absorbed = -1;  // the operator that is computed along with it
  const char *kind = "", *kernel = "";  // of tables that outlive all plans
  double density = 1;  // share of weights that are not zero
  bool dense = false;  // the kernel visits them all
  double predicted_seconds = 0, timed_seconds = 0;  // 0: not known
  std::vector<Candidate> losers;
  Problem problem;     // what the chooser saw
  std::string timing;  // what else the speed depends on, for the cache of timings
};

// Work is cut into units, numbered so that neighbours share cached data; any number of them may run at once.
class Step {
 public:
  Step(std::vector<std::int32_t> reads, std::int32_t writes) : reads(std::move(reads)), writes(writes) {}
  virtual ~Step() = default;
  Step(const Step &) = delete;
  Step &operator=(const Step &) = delete;

  // Packs weights and counts units, once the geometry of all values is known. The options are the plan's, or name
  // another kernel.
  virtual void prepare(const Plan &plan, const Options &options) = 0;
  // Takes over the operator that follows: the value `y` is op of this step's output (b of op with `swapped`, else a) and
  // the value `other`. False where the step cannot; then it stays as it is. Before `prepare`.
  virtual bool absorb(const Binary &, std::int32_t, bool, std::int32_t) { return false; }
  // The same step, unprepared, for a race between kernels; nullptr where there is no choice.
  virtual std::unique_ptr<Step> copy() const { return nullptr; }
  virtual void run(const Memory &memory, std::int64_t begin, std::int64_t end) const = 0;

  std::vector<std::int32_t> reads;  // values
  std::int32_t writes;
  std::int64_t units = 1;
  StepInfo info;
};

}  // namespace prunus
