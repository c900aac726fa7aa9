#include "network/plan.h"

#include <algorithm>

#include "network/choose.h"
#include "network/lower.h"
#include "network/network.h"
#include "network/types.h"

namespace prunus {
namespace {

bool has_pitch(const Value &value) { return value.layout == Layout::image || value.layout == Layout::phases; }

// Tensors that share a pitch get the widest that one of them needs.
void lay_out_values(Plan &plan, const std::vector<std::int32_t> &pitch_class) {
  std::vector<std::int32_t> pitch(plan.values.size(), 0);
  const auto pitch_of = [&](std::size_t i) -> std::int32_t & { return pitch[static_cast<std::size_t>(pitch_class[i])]; };
  for (std::size_t i = 0; i < plan.values.size(); ++i) {
    const Value &v = plan.values[i];
    if (has_pitch(v)) pitch_of(i) = std::max(pitch_of(i), v.geometry.width + std::max(v.halo.left, v.halo.right));
  }
  for (std::size_t i = 0; i < plan.values.size(); ++i) {
    if (has_pitch(plan.values[i])) plan.values[i].geometry.pitch = pitch_of(i);
    lay_out(plan.values[i]);
  }
}

std::vector<prunus_tensor> with_batch(std::vector<prunus_tensor> tensors, std::int32_t batch) {
  for (prunus_tensor &tensor : tensors)
    if (batch != 0) tensor.shape[0] = batch;
  return tensors;
}

}  // namespace

Act *Memory::at(std::int32_t id) const {
  const Value &value = plan.value(id);
  if (value.input >= 0) return static_cast<Act *>(const_cast<void *>(inputs[value.input]));
  if (value.output >= 0) return static_cast<Act *>(outputs[value.output]);
  return arena + value.offset;
}

std::shared_ptr<const Plan> make_plan(const Definition &definition, Options options) {
  if (definition.outputs.empty()) throw Failure(PRUNUS_E_STATE, "the network has no outputs");
  auto plan = std::make_shared<Plan>();
  plan->options = std::move(options);
  plan->vector = vector_kernels_of(plan->options);
  plan->definition = normalised(definition, plan->options.batch);
  plan->tensors = with_batch(definition.tensors, plan->options.batch);
  Lowering lowering(*plan);
  lowering.run();
  lay_out_values(*plan, lowering.pitch_classes());
  assign_arena(*plan);
  for (const auto &step : plan->steps) step->prepare(*plan, plan->options);
  if (plan->options.timed > 0) race_candidates(*plan);
  return plan;
}

}  // namespace prunus

using namespace prunus;

prunus_status prunus_network_plan(prunus_network *network, const prunus_plan_options *options) {
  if (!network) return static_cast<prunus_status>(PRUNUS_E_STATE);
  return guarded(network, [&] { network->plan = make_plan(network->definition, options_of(options)); });
}
