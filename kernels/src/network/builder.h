// What the definition functions share: ids, states and shapes are checked here, arguments by the portable kernels.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "network/network.h"

namespace prunus {

std::int64_t elements(const prunus_tensor &tensor);
std::string shape_text(const prunus_tensor &tensor);
bool same_shape(const prunus_tensor &a, const prunus_tensor &b);

// One operator being defined. Every check that fails throws a Failure that names the operator.
class Builder {
 public:
  Builder(prunus_network *network, const char *kind);

  // A tensor that may be read: an input of the network or the output of an earlier operator.
  const prunus_tensor &input(std::int32_t id) const;
  // A tensor that nothing writes yet.
  const prunus_tensor &output(std::int32_t id) const;

  void require(bool condition, int status, const std::string &what) const;
  void require_pointer(const void *pointer, const char *name) const;
  void require_element(const prunus_tensor &tensor, std::int32_t element, const char *name) const;
  void require_shape(const prunus_tensor &tensor, std::initializer_list<std::int32_t> shape, const char *name) const;
  // The status of a portable function that was called on nothing, to check its arguments.
  void require_ok(prunus_status status) const;
  // Type and zero point of a tensor; all operators that name a zero point must name the same one.
  void require_type(std::int32_t id, prunus_type type, const char *name) const;

  EpilogueData copy(const prunus_epilogue &epilogue) const;
  void add(std::vector<std::int32_t> inputs, std::int32_t output, Operator op) const;

 private:
  prunus_network &network_;
  std::string where_;
};

template <class T>
std::vector<T> copied(const T *begin, std::int64_t count) {
  return std::vector<T>(begin, begin + count);
}

// Defines an operator: `body` gets the Builder.
template <class Body>
prunus_status define(prunus_network *network, const char *kind, const Body &body) {
  if (!network) return static_cast<prunus_status>(PRUNUS_E_STATE);
  return guarded(network, [&] { body(Builder(network, kind)); });
}

}  // namespace prunus
