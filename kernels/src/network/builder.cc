// Creating a network, its tensors, inputs and outputs; the checks that all operators share.
#include "network/builder.h"

#include <algorithm>
#include <limits>
#include <new>

namespace prunus {
namespace {

bool exists(const prunus_network &network, std::int32_t id) {
  return id >= 0 && static_cast<std::size_t>(id) < network.states.size();
}

TensorState &state(prunus_network &network, std::int32_t id) { return network.states[static_cast<std::size_t>(id)]; }

void require_unplanned(const prunus_network &network) {
  if (network.plan) throw Failure(PRUNUS_E_STATE, "the network is planned: nothing more can be defined");
}

void check_tensor(const prunus_tensor &tensor) {
  if (tensor.element < PRUNUS_ELEMENT_U8 || tensor.element > PRUNUS_ELEMENT_F32)
    throw Failure(PRUNUS_E_TYPE, "a tensor of an unknown element type");
  if (tensor.rank < 1 || tensor.rank > PRUNUS_MAX_RANK) throw Failure(PRUNUS_E_SHAPE, "a tensor of rank 0 or above 6");
  std::int64_t count = 1;
  for (std::int32_t i = 0; i < tensor.rank; ++i) {
    if (tensor.shape[i] < 1) throw Failure(PRUNUS_E_SHAPE, "a dimension below 1");
    count *= tensor.shape[i];
    if (count > std::numeric_limits<std::int32_t>::max())
      throw Failure(PRUNUS_E_SHAPE, "a tensor of more than 2^31 - 1 elements");
  }
}

template <class T>
std::vector<T> entries(const T *values, bool used, std::int32_t size) {
  return used ? copied(values, size) : std::vector<T>();
}

}  // namespace

std::int64_t elements(const prunus_tensor &tensor) {
  std::int64_t count = 1;
  for (std::int32_t i = 0; i < tensor.rank; ++i) count *= tensor.shape[i];
  return count;
}

std::string shape_text(const prunus_tensor &tensor) {
  std::string text = "[";
  for (std::int32_t i = 0; i < tensor.rank; ++i) text += (i ? ", " : "") + std::to_string(tensor.shape[i]);
  return text + "]";
}

bool same_shape(const prunus_tensor &a, const prunus_tensor &b) {
  return a.rank == b.rank && std::equal(a.shape, a.shape + a.rank, b.shape);
}

prunus_epilogue EpilogueData::view() const {
  prunus_epilogue epilogue{};
  epilogue.requant.scheme = scheme;
  const std::size_t size = scheme == PRUNUS_F32 ? multiplier_f32.size() : shift.size();
  epilogue.requant.size = static_cast<std::int32_t>(size);
  epilogue.requant.multiplier_f32 = multiplier_f32.data();
  epilogue.requant.multiplier = multiplier.data();
  epilogue.requant.shift = shift.data();
  epilogue.type = type;
  epilogue.qmin = qmin;
  epilogue.qmax = qmax;
  return epilogue;
}

Builder::Builder(prunus_network *network, const char *kind) : network_(*network) {
  where_ = "operator " + std::to_string(network_.definition.nodes.size()) + " (" + kind + "): ";
  require_unplanned(network_);
}

void Builder::require(bool condition, int status, const std::string &what) const {
  if (!condition) throw Failure(status, where_ + what);
}

void Builder::require_pointer(const void *pointer, const char *name) const {
  require(pointer != nullptr, PRUNUS_E_SHAPE, std::string(name) + " is NULL");
}

const prunus_tensor &Builder::input(std::int32_t id) const {
  require(exists(network_, id), PRUNUS_E_SHAPE, "no tensor has the id " + std::to_string(id));
  require(state(network_, id).written, PRUNUS_E_STATE,
          "tensor " + std::to_string(id) + " is neither an input nor the output of an earlier operator");
  return network_.definition.tensors[static_cast<std::size_t>(id)];
}

const prunus_tensor &Builder::output(std::int32_t id) const {
  require(exists(network_, id), PRUNUS_E_SHAPE, "no tensor has the id " + std::to_string(id));
  require(!state(network_, id).written, PRUNUS_E_STATE, "tensor " + std::to_string(id) + " is written twice");
  return network_.definition.tensors[static_cast<std::size_t>(id)];
}

void Builder::require_element(const prunus_tensor &tensor, std::int32_t element, const char *name) const {
  require(tensor.element == element, PRUNUS_E_TYPE,
          std::string(name) + " has another element type than the operator's arguments say");
}

void Builder::require_shape(const prunus_tensor &tensor, std::initializer_list<std::int32_t> shape,
                            const char *name) const {
  prunus_tensor wanted{};
  wanted.rank = static_cast<std::int32_t>(shape.size());
  std::copy(shape.begin(), shape.end(), wanted.shape);
  require(same_shape(tensor, wanted), PRUNUS_E_SHAPE,
          std::string(name) + " has the shape " + shape_text(tensor) + ", but the arguments say " + shape_text(wanted));
}

void Builder::require_ok(prunus_status status) const {
  require(status == PRUNUS_OK, status, prunus_status_text(status));
}

void Builder::require_type(std::int32_t id, prunus_type type, const char *name) const {
  require_element(network_.definition.tensors[static_cast<std::size_t>(id)], type.dtype, name);
  std::optional<std::int32_t> &known = state(network_, id).zero_point;
  require(!known || *known == type.zero_point, PRUNUS_E_RANGE,
          std::string(name) + " has the zero point " + std::to_string(type.zero_point) +
              " here, but another operator says " + std::to_string(known.value_or(0)));
  known = type.zero_point;
}

EpilogueData Builder::copy(const prunus_epilogue &epilogue) const {
  const prunus_requant &requant = epilogue.requant;
  EpilogueData data;
  data.scheme = static_cast<prunus_scheme>(requant.scheme);
  data.multiplier_f32 = entries(requant.multiplier_f32, requant.scheme == PRUNUS_F32, requant.size);
  data.multiplier = entries(requant.multiplier, requant.scheme == PRUNUS_FIXED, requant.size);
  data.shift = entries(requant.shift, requant.scheme != PRUNUS_F32, requant.size);
  data.type = epilogue.type;
  data.qmin = epilogue.qmin;
  data.qmax = epilogue.qmax;
  return data;
}

void Builder::add(std::vector<std::int32_t> inputs, std::int32_t output, Operator op) const {
  network_.definition.nodes.push_back(Node{std::move(inputs), output, std::move(op)});
  state(network_, output).written = true;
}

}  // namespace prunus

using namespace prunus;

prunus_status prunus_network_create(prunus_network **network) {
  if (!network) return static_cast<prunus_status>(PRUNUS_E_STATE);
  *network = new (std::nothrow) prunus_network;
  return static_cast<prunus_status>(*network ? PRUNUS_OK : static_cast<int>(PRUNUS_E_MEMORY));
}

void prunus_network_destroy(prunus_network *network) { delete network; }

const char *prunus_network_error(const prunus_network *network) { return network ? network->error.c_str() : ""; }

prunus_status prunus_network_tensor(prunus_network *network, const prunus_tensor *tensor, std::int32_t *id) {
  if (!network || !tensor || !id) return static_cast<prunus_status>(PRUNUS_E_STATE);
  return guarded(network, [&] {
    require_unplanned(*network);
    check_tensor(*tensor);
    network->states.reserve(network->states.size() + 1);
    network->definition.tensors.push_back(*tensor);
    network->states.push_back({});
    *id = static_cast<std::int32_t>(network->definition.tensors.size()) - 1;
  });
}

prunus_status prunus_network_input(prunus_network *network, std::int32_t id) {
  if (!network) return static_cast<prunus_status>(PRUNUS_E_STATE);
  return guarded(network, [&] {
    require_unplanned(*network);
    if (!exists(*network, id)) throw Failure(PRUNUS_E_SHAPE, "an input that is no tensor");
    if (state(*network, id).written)
      throw Failure(PRUNUS_E_STATE, "tensor " + std::to_string(id) + " is an input or an operator's output already");
    network->definition.inputs.push_back(id);
    state(*network, id).written = true;
  });
}

prunus_status prunus_network_output(prunus_network *network, std::int32_t id) {
  if (!network) return static_cast<prunus_status>(PRUNUS_E_STATE);
  return guarded(network, [&] {
    require_unplanned(*network);
    if (!exists(*network, id)) throw Failure(PRUNUS_E_SHAPE, "an output that is no tensor");
    network->definition.outputs.push_back(id);
  });
}

std::int32_t prunus_network_input_count(const prunus_network *network) {
  return network ? static_cast<std::int32_t>(network->definition.inputs.size()) : 0;
}

std::int32_t prunus_network_output_count(const prunus_network *network) {
  return network ? static_cast<std::int32_t>(network->definition.outputs.size()) : 0;
}
