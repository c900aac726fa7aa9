// A network planned for this machine: values, the steps that compute them, and one arena for all.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "network/definition.h"
#include "network/step.h"

namespace prunus {

struct Options {
  std::vector<std::string> isas;  // empty: all usable
  std::string kernel;             // empty: the chooser's
  std::int32_t timed = 0;
  std::string cache;
  std::int32_t batch = 0;
};

class Plan {
 public:
  Options options;
  VectorKernels vector{};  // of the allowed tiers
  Definition definition;  // stored types (types.h), batch replaced
  std::vector<prunus_tensor> tensors;  // as the caller sees them, batch replaced
  std::vector<Value> values;
  std::vector<std::unique_ptr<Step>> steps;  // in order
  std::int64_t arena_bytes = 0;
  std::string timings;  // where timed seconds came from and went to, for `describe`

  const Value &value(std::int32_t id) const { return values[static_cast<std::size_t>(id)]; }
};

// Throws Failure, std::bad_alloc.
std::shared_ptr<const Plan> make_plan(const Definition &definition, Options options);

// Offsets of all values in the arena, from the steps that write and read them.
void assign_arena(Plan &plan);

// Runs the best candidates of every step on the plan's own buffers, and keeps the fastest.
void race_candidates(Plan &plan);

}  // namespace prunus
