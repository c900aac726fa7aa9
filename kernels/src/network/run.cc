// Running a plan: step by step, each cut into tasks for the caller's threads.
#include <algorithm>
#include <chrono>
#include <cstdint>

#include "network/network.h"
#include "network/plan.h"

namespace prunus {
namespace {

constexpr std::int64_t kTasksPerThread = 4;  // so that threads that start late or run slowly cost little
constexpr double kThreadedSeconds = 5e-6;    // a step below it would wait longer for other threads than it takes
constexpr double kBytesPerSecond = 1e10;     // of steps for which nothing was predicted

double expected_seconds(const Step &step, const Plan &plan) {
  if (step.info.predicted_seconds > 0) return step.info.predicted_seconds;
  const Value &y = plan.value(step.writes);
  return static_cast<double>(std::max(y.bytes, y.elements * y.element_bytes)) / kBytesPerSecond;
}

struct Work {
  const Step &step;
  const Memory &memory;
  std::int64_t tasks;
};

void run_task(void *state, std::int32_t index) {
  const Work &work = *static_cast<const Work *>(state);
  const std::int64_t units = work.step.units;
  work.step.run(work.memory, units * index / work.tasks, units * (index + 1) / work.tasks);
}

void run_step(const Step &step, const Memory &memory, const prunus_threads *threads) {
  if (!threads || !threads->run || threads->count < 2 || step.units < 2 ||
      expected_seconds(step, memory.plan) < kThreadedSeconds) {
    step.run(memory, 0, step.units);
    return;
  }
  Work work{step, memory, std::min(step.units, kTasksPerThread * threads->count)};
  threads->run(threads->context, static_cast<std::int32_t>(work.tasks), run_task, &work);
}

bool all_set(const void *const *pointers, std::size_t count) {
  return count == 0 || (pointers && std::all_of(pointers, pointers + count, [](const void *p) { return p != nullptr; }));
}

double now() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

}  // namespace
}  // namespace prunus

using namespace prunus;

prunus_status prunus_network_run(const prunus_network *network, const void *const *inputs, void *const *outputs,
                                 void *workspace, const prunus_threads *threads, double *seconds) {
  if (!network || !network->plan) return static_cast<prunus_status>(PRUNUS_E_STATE);
  const Plan &plan = *network->plan;
  if (!all_set(inputs, plan.definition.inputs.size()) || !all_set(outputs, plan.definition.outputs.size()))
    return PRUNUS_E_SHAPE;
  if (reinterpret_cast<std::uintptr_t>(workspace) % kLine != 0) return PRUNUS_E_RANGE;
  if (!workspace && plan.arena_bytes > 0) return PRUNUS_E_SHAPE;
  const Memory memory{plan, static_cast<Act *>(workspace), inputs, outputs};
  for (std::size_t i = 0; i < plan.steps.size(); ++i) {
    const double start = seconds ? now() : 0;
    run_step(*plan.steps[i], memory, threads);
    if (seconds) seconds[i] = now() - start;
  }
  return PRUNUS_OK;
}

std::size_t prunus_network_workspace_bytes(const prunus_network *network) {
  return network && network->plan ? static_cast<std::size_t>(network->plan->arena_bytes) : 0;
}

std::int32_t prunus_network_step_count(const prunus_network *network) {
  return network && network->plan ? static_cast<std::int32_t>(network->plan->steps.size()) : 0;
}
