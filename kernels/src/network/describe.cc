// What a network says of itself: its inputs and outputs, and its plan as JSON.
#include <cmath>
#include <cstdio>
#include <cstring>
#include <string>

#include "network/network.h"
#include "network/plan.h"
#include "select/coefficients.h"

namespace prunus {
namespace {

std::string number(double value) {
  char text[32];
  std::snprintf(text, sizeof text, "%.6g", value);
  return text;
}

// A path may hold anything.
std::string escaped(const std::string &text) {
  std::string safe;
  for (const char c : text) {
    const bool plain = c >= ' ' && c != '"' && c != '\\';
    char code[8];
    std::snprintf(code, sizeof code, "\\u%04x", static_cast<unsigned>(static_cast<unsigned char>(c)));
    safe += plain || static_cast<unsigned char>(c) >= 0x80 ? std::string(1, c) : code;
  }
  return safe;
}

std::string quoted(const std::string &text) { return '"' + text + '"'; }  // names are our own: nothing to escape

std::string geometry_json(const Value &value) {
  const Geometry &g = value.geometry;
  std::string text = "{\"layout\": " + quoted(layout_name(value.layout));
  if (value.layout != Layout::flat)
    text += ", \"images\": " + std::to_string(g.images) + ", \"channels\": " + std::to_string(g.channels) +
            ", \"height\": " + std::to_string(g.height) + ", \"width\": " + std::to_string(g.width) +
            ", \"pitch\": " + std::to_string(g.pitch) + ", \"vectors\": " + std::to_string(g.vectors());
  return text + ", \"tensor\": " + std::to_string(value.tensor) + "}";
}

std::string step_json(const Plan &plan, const Step &step) {
  const StepInfo &info = step.info;
  std::string text = "{\"operator\": " + (info.node < 0 ? "null" : std::to_string(info.node));
  if (info.absorbed >= 0) text += ", \"absorbed\": " + std::to_string(info.absorbed);
  text += ", \"kind\": " + quoted(info.kind) + ", \"kernel\": " + (*info.kernel ? quoted(info.kernel) : "null");
  text += ", \"output\": " + geometry_json(plan.value(step.writes)) + ", \"units\": " + std::to_string(step.units);
  text += ", \"density\": " + number(info.density) + ", \"predicted_seconds\": " + number(info.predicted_seconds);
  text += ", \"timed_seconds\": " + (info.timed_seconds > 0 ? number(info.timed_seconds) : "null") + ", \"losers\": [";
  for (std::size_t i = 0; i < info.losers.size(); ++i)
    text += (i ? ", {\"kernel\": " : "{\"kernel\": ") + quoted(info.losers[i].kernel) +
            ", \"seconds\": " + number(info.losers[i].seconds) + "}";
  return text + "]}";
}

std::string plan_json(const Plan &plan) {
  std::string text = "{\"arena_bytes\": " + std::to_string(plan.arena_bytes);
  text += ", \"costs\": " + quoted(escaped(coefficients()->source));
  text += ", \"timings\": " + (plan.timings.empty() ? "null" : quoted(escaped(plan.timings))) + ", \"steps\": [";
  for (std::size_t i = 0; i < plan.steps.size(); ++i) text += (i ? ",\n  " : "\n  ") + step_json(plan, *plan.steps[i]);
  return text + "\n]}";
}

prunus_status tensor_at(const prunus_network *network, const std::vector<std::int32_t> Definition::*ids,
                        std::int32_t index, prunus_tensor *out) {
  if (!network || !out) return static_cast<prunus_status>(PRUNUS_E_STATE);
  const std::vector<std::int32_t> &list = network->definition.*ids;
  if (index < 0 || static_cast<std::size_t>(index) >= list.size()) return PRUNUS_E_RANGE;
  const auto &tensors = network->plan ? network->plan->tensors : network->definition.tensors;
  *out = tensors[static_cast<std::size_t>(list[static_cast<std::size_t>(index)])];
  return PRUNUS_OK;
}

}  // namespace
}  // namespace prunus

using namespace prunus;

prunus_status prunus_network_input_tensor(const prunus_network *network, std::int32_t index, prunus_tensor *out) {
  return tensor_at(network, &Definition::inputs, index, out);
}

prunus_status prunus_network_output_tensor(const prunus_network *network, std::int32_t index, prunus_tensor *out) {
  return tensor_at(network, &Definition::outputs, index, out);
}

prunus_status prunus_network_describe(const prunus_network *network, char *text, std::size_t *bytes) {
  if (!network || !network->plan || !bytes) return static_cast<prunus_status>(PRUNUS_E_STATE);
  try {
    const std::string json = plan_json(*network->plan);
    const std::size_t room = *bytes;
    *bytes = json.size() + 1;
    if (!text) return PRUNUS_OK;
    if (room < *bytes) return PRUNUS_E_SHAPE;
    std::memcpy(text, json.c_str(), *bytes);
    return PRUNUS_OK;
  } catch (const std::exception &) {
    return static_cast<prunus_status>(PRUNUS_E_MEMORY);
  }
}
