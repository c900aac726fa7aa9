// What a prunus_network is, and how its functions report errors.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "network/definition.h"

namespace prunus {

class Plan;

// Leaves a definition or planning function; `guarded` turns it into a status and the network's error text.
class Failure : public std::exception {
 public:
  Failure(int status, std::string text) : status_(static_cast<prunus_status>(status)), text_(std::move(text)) {}
  prunus_status status() const { return status_; }
  const char *what() const noexcept override { return text_.c_str(); }

 private:
  prunus_status status_;
  std::string text_;
};

// What the definition so far says about a tensor.
struct TensorState {
  bool written = false;                     // an input, or the output of an operator
  std::optional<std::int32_t> zero_point;  // data movement and tables name none
};

}  // namespace prunus

struct prunus_network {
  prunus::Definition definition;
  std::vector<prunus::TensorState> states;  // of the definition's tensors
  std::string error;
  std::shared_ptr<const prunus::Plan> plan;  // set by prunus_network_plan; nothing may be defined afterwards
};

namespace prunus {

// Runs `body` and returns what went wrong in it, PRUNUS_OK if nothing: no exception crosses the C interface.
template <class Body>
prunus_status guarded(prunus_network *network, const Body &body) {
  try {
    network->error.clear();
    body();
    return PRUNUS_OK;
  } catch (const Failure &failure) {
    network->error.assign(failure.what());
    return failure.status();
  } catch (const std::exception &) {  // bad_alloc, length_error: sizes that no machine has
    network->error.clear();           // no allocation here
    return static_cast<prunus_status>(PRUNUS_E_MEMORY);
  }
}

}  // namespace prunus
