// The integer regions of a model as one packed function of TVM's FFI, on planned networks of the kernels:
//
//   prunus_network(region, trace, inputs..., outputs...)
//
// The first two are integers, the others compact tensors in host memory whose first dimension is the batch. Networks are
// planned for this machine when a batch size is first seen. Only the C interface of the FFI is used: the library that
// this is linked into needs nothing of TVM's but the small runtime that loads it.
#include <algorithm>
#include <cstddef>
#include <exception>
#include <list>
#include <memory>
#include <mutex>
#include <new>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "prunus/network.h"
#include "regions.h"
#include "tvm/ffi/c_api.h"

namespace prunus::tvm {
namespace {

constexpr std::align_val_t kAlignment{64};  // what prunus_network_run asks for
constexpr std::size_t kKeptPlans = 4;       // per region; each holds weights of its own

[[noreturn]] void fail(const std::string &what) { throw std::runtime_error("prunus_network: " + what); }

// No std::string: a dozen of these hold at every call, and a small network takes microseconds.
void require(bool condition, const char *what) {
  if (!condition) fail(what);
}

void require(prunus_status status, const char *what, const prunus_network *network) {
  if (status == PRUNUS_OK) return;
  const char *detail = network != nullptr ? prunus_network_error(network) : "";
  fail(std::string(what) + ": " + prunus_status_text(status) + (*detail != '\0' ? ", " : "") + detail);
}

// -- plans --------------------------------------------------------------------------------------------------------

struct DestroyNetwork {
  void operator()(prunus_network *network) const { prunus_network_destroy(network); }
};
using Network = std::unique_ptr<prunus_network, DestroyNetwork>;

struct FreeWorkspace {
  void operator()(std::byte *memory) const { ::operator delete(memory, kAlignment); }
};
using Workspace = std::unique_ptr<std::byte, FreeWorkspace>;

// A network planned for one batch size, and memory to run it: as many workspaces as runs were ever under way at once.
class Plan {
 public:
  Plan(const Region &region, bool trace, std::int32_t batch) : batch_(batch) {
    prunus_network *raw = nullptr;
    const auto bytes = static_cast<std::size_t>(region.end - region.packed);
    const prunus_status status = prunus_network_load(region.packed, bytes, &raw);
    network_.reset(raw);
    require(status, "a packed network cannot be loaded", raw);
    for (std::int32_t i = 0; trace && i < region.traced_count; ++i) {
      require(prunus_network_output(raw, region.traced[i]), "a tensor cannot be traced", raw);
    }
    prunus_plan_options options{};
    options.batch = batch;
    require(prunus_network_plan(raw, &options), "a network cannot be planned", raw);
  }

  std::int32_t batch() const { return batch_; }
  const prunus_network *network() const { return network_.get(); }

  void run(const void *const *inputs, void *const *outputs) {
    Workspace workspace = take();
    const prunus_status status =
        prunus_network_run(network_.get(), inputs, outputs, workspace.get(), nullptr, nullptr);
    {
      const std::lock_guard lock(mutex_);
      idle_.push_back(std::move(workspace));
    }
    require(status, "a network cannot be run", network_.get());
  }

 private:
  Workspace take() {
    {
      const std::lock_guard lock(mutex_);
      if (!idle_.empty()) {
        Workspace workspace = std::move(idle_.back());
        idle_.pop_back();
        return workspace;
      }
    }
    const std::size_t bytes = std::max<std::size_t>(prunus_network_workspace_bytes(network_.get()), 1);
    return Workspace(static_cast<std::byte *>(::operator new(bytes, kAlignment)));
  }

  Network network_;
  std::int32_t batch_;
  std::mutex mutex_;
  std::vector<Workspace> idle_;  // guarded by mutex_
};

// Plans by region, kind and batch, the most recently used first. They live as long as the library.
class Plans {
 public:
  std::shared_ptr<Plan> get(std::int64_t region, bool trace, std::int32_t batch) {
    const std::lock_guard lock(mutex_);
    plans_.resize(static_cast<std::size_t>(2 * region_count));
    std::list<std::shared_ptr<Plan>> &known = plans_[static_cast<std::size_t>(2 * region + trace)];
    const auto fits = [batch](const std::shared_ptr<Plan> &plan) { return plan->batch() == batch; };
    const auto found = std::find_if(known.begin(), known.end(), fits);
    if (found != known.end()) {
      known.splice(known.begin(), known, found);
    } else {
      known.push_front(std::make_shared<Plan>(regions[region], trace, batch));
      if (known.size() > kKeptPlans) known.pop_back();
    }
    return known.front();
  }

 private:
  std::mutex mutex_;
  std::vector<std::list<std::shared_ptr<Plan>>> plans_;  // guarded by mutex_
};

// -- arguments ----------------------------------------------------------------------------------------------------

std::int64_t integer(const TVMFFIAny &any) {
  require(any.type_index == kTVMFFIInt || any.type_index == kTVMFFIBool, "expected an integer");
  return any.v_int64;
}

const DLTensor &tensor(const TVMFFIAny &any) {
  if (any.type_index == kTVMFFIDLTensorPtr) return *static_cast<const DLTensor *>(any.v_ptr);
  require(any.type_index == kTVMFFITensor, "expected a tensor");
  return *reinterpret_cast<const DLTensor *>(reinterpret_cast<const char *>(any.v_obj) + sizeof(TVMFFIObject));
}

bool is_compact(const DLTensor &t) {
  std::int64_t expected = 1;
  for (std::int32_t i = t.ndim - 1; t.strides != nullptr && i >= 0; --i) {
    if (t.shape[i] != 1 && t.strides[i] != expected) return false;
    expected *= t.shape[i];
  }
  return true;
}

bool is_element(const DLDataType &type, std::int32_t element) {
  if (type.lanes != 1) return false;
  if (element == PRUNUS_ELEMENT_F32) return type.code == kDLFloat && type.bits == 32;
  return type.bits == 8 && type.code == (element == PRUNUS_ELEMENT_U8 ? kDLUInt : kDLInt);
}

void *data(const DLTensor &t, const prunus_tensor &wanted) {
  require(t.device.device_type == kDLCPU && is_compact(t), "a tensor is not compact in host memory");
  require(is_element(t.dtype, wanted.element), "a tensor has another element type than the network");
  require(t.ndim == wanted.rank && std::equal(t.shape, t.shape + t.ndim, wanted.shape),
          "a tensor has another shape than the network");
  return static_cast<char *>(t.data) + t.byte_offset;
}

void run(const TVMFFIAny *args, std::int32_t count) {
  static Plans plans;
  require(count > 2, "too few arguments");
  const std::int64_t region = integer(args[0]), trace = integer(args[1]);
  require(region >= 0 && region < region_count, "no such region");
  const DLTensor &last = tensor(args[count - 1]);
  require(last.ndim > 0 && last.shape[0] >= 0 && last.shape[0] <= INT32_MAX, "the batch is not a 32-bit number");
  const auto batch = static_cast<std::int32_t>(last.shape[0]);
  if (batch == 0) return;

  const std::shared_ptr<Plan> plan = plans.get(region, trace != 0, batch);
  const std::int32_t inputs = prunus_network_input_count(plan->network());
  const std::int32_t outputs = prunus_network_output_count(plan->network());
  require(count == 2 + inputs + outputs, "the number of tensors is not the network's");
  std::vector<const void *> from(static_cast<std::size_t>(inputs));
  std::vector<void *> to(static_cast<std::size_t>(outputs));
  prunus_tensor wanted{};
  for (std::int32_t i = 0; i < inputs; ++i) {
    require(prunus_network_input_tensor(plan->network(), i, &wanted), "an input is unknown", nullptr);
    from[static_cast<std::size_t>(i)] = data(tensor(args[2 + i]), wanted);
  }
  for (std::int32_t i = 0; i < outputs; ++i) {
    require(prunus_network_output_tensor(plan->network(), i, &wanted), "an output is unknown", nullptr);
    to[static_cast<std::size_t>(i)] = data(tensor(args[2 + inputs + i]), wanted);
  }
  plan->run(from.data(), to.data());
}

}  // namespace
}  // namespace prunus::tvm

extern "C" __attribute__((visibility("default"))) int __tvm_ffi_prunus_network(void *, const TVMFFIAny *args,
                                                                                std::int32_t count,
                                                                                TVMFFIAny *result) {
  try {
    prunus::tvm::run(args, count);
  } catch (const std::exception &error) {
    TVMFFIErrorSetRaisedFromCStr("RuntimeError", error.what());
    return -1;
  }
  result->type_index = kTVMFFINone;
  result->zero_padding = 0;
  result->v_int64 = 0;
  return 0;
}
