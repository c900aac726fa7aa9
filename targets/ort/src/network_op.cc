#include "network_op.h"

#include <cstddef>
#include <cstdint>
#include <limits>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "plans.h"
#include "runtime.h"
#include "threads.h"

namespace prunus::ort {
namespace {

ONNXTensorElementDataType onnx_type(std::int32_t element) {
  switch (element) {
    case PRUNUS_ELEMENT_U8: return ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8;
    case PRUNUS_ELEMENT_S8: return ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8;
    case PRUNUS_ELEMENT_F32: return ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT;
    default: return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  }
}

const char *type_name(ONNXTensorElementDataType type) {
  switch (type) {
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8: return "uint8";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_INT8: return "int8";
    case ONNX_TENSOR_ELEMENT_DATA_TYPE_FLOAT: return "float32";
    default: return "another type";
  }
}

// "[3, 8, 8]", or with a name for the free batch "[n, 8, 8]".
template <class Dimension>
std::string shape_text(std::span<const Dimension> shape, bool free_batch) {
  std::string text = "[";
  for (std::size_t i = 0; i < shape.size(); ++i) {
    if (i > 0) text += ", ";
    text += free_batch && i == 0 ? "n" : std::to_string(shape[i]);
  }
  return text + "]";
}

std::span<const std::byte> bytes_of(const TensorView &packed) {
  if (packed.element != ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 || packed.shape.size() != 1) {
    throw Failure{ORT_INVALID_ARGUMENT, "prunus.Network: the first input must be the packed network, a uint8 vector"};
  }
  return {static_cast<const std::byte *>(packed.data), static_cast<std::size_t>(packed.shape[0])};
}

class Kernel {
 public:
  Kernel(const OrtApi *api, const OrtKernelInfo *info);
  void compute(OrtKernelContext *context);

 private:
  void require_match(std::size_t index, const TensorView &tensor, std::int64_t batch) const;
  std::int64_t batch_of(const std::vector<TensorView> &inputs) const;
  std::vector<void *> outputs(OrtKernelContext *context, std::int64_t batch) const;

  const OrtApi *api_;
  Plans plans_;
  std::vector<prunus_tensor> inputs_, outputs_;  // for a batch of 1
};

std::int32_t timed_attribute(const OrtApi *api, const OrtKernelInfo *info) {
  std::int64_t value = 0;
  OrtStatus *missing = api->KernelInfoGetAttribute_int64(info, "timed", &value);
  if (missing != nullptr) api->ReleaseStatus(missing);  // optional
  if (value < 0 || value > 1000) throw Failure{ORT_INVALID_ARGUMENT, "prunus.Network: `timed` must lie in [0, 1000]"};
  return static_cast<std::int32_t>(value);
}

Kernel::Kernel(const OrtApi *api, const OrtKernelInfo *info) : api_(api), plans_(timed_attribute(api, info)) {
  const OrtValue *value = nullptr;
  int constant = 0;
  check(api->KernelInfoGetConstantInput_tensor(info, 0, &constant, &value));
  if (constant == 0 || value == nullptr) {
    throw Failure{ORT_INVALID_ARGUMENT, "prunus.Network: the packed network must be an initializer of the model"};
  }
  // an error in the packed network shows when the session is created, and the plan for one sample is ready
  const std::shared_ptr<Plan> plan = plans_.get(bytes_of(view(api, value)), 1);
  inputs_ = plan->inputs();
  outputs_ = plan->outputs();
  std::size_t node_inputs = 0, node_outputs = 0;
  check(api->KernelInfo_GetInputCount(info, &node_inputs));
  check(api->KernelInfo_GetOutputCount(info, &node_outputs));
  if (node_inputs != inputs_.size() + 1 || node_outputs != outputs_.size()) {
    throw Failure{ORT_INVALID_ARGUMENT, "prunus.Network: the packed network has " + std::to_string(inputs_.size()) +
                                            " inputs and " + std::to_string(outputs_.size()) +
                                            " outputs, the node others"};
  }
}

void Kernel::require_match(std::size_t index, const TensorView &tensor, std::int64_t batch) const {
  const prunus_tensor &expected = inputs_[index];
  const std::span<const std::int32_t> shape(expected.shape, static_cast<std::size_t>(expected.rank));
  bool same = tensor.element == onnx_type(expected.element) && tensor.shape.size() == shape.size();
  for (std::size_t i = 0; same && i < shape.size(); ++i) same = tensor.shape[i] == (i == 0 ? batch : shape[i]);
  if (same) return;
  throw Failure{ORT_INVALID_ARGUMENT,
                "prunus.Network: input " + std::to_string(index) + " is " + type_name(tensor.element) + " " +
                    shape_text(std::span<const std::int64_t>(tensor.shape), false) + ", expected " +
                    type_name(onnx_type(expected.element)) + " " + shape_text(shape, true) +
                    " with n = " + std::to_string(batch)};
}

std::int64_t Kernel::batch_of(const std::vector<TensorView> &inputs) const {
  const std::int64_t batch = inputs.empty() || inputs[0].shape.empty() ? 1 : inputs[0].shape[0];
  for (std::size_t i = 0; i < inputs.size(); ++i) require_match(i, inputs[i], batch);
  if (batch > std::numeric_limits<std::int32_t>::max()) {
    throw Failure{ORT_INVALID_ARGUMENT, "prunus.Network: the batch is too large"};
  }
  return batch;
}

std::vector<void *> Kernel::outputs(OrtKernelContext *context, std::int64_t batch) const {
  std::vector<void *> pointers(outputs_.size());
  for (std::size_t i = 0; i < outputs_.size(); ++i) {
    std::vector<std::int64_t> shape(outputs_[i].shape, outputs_[i].shape + outputs_[i].rank);
    shape[0] = batch;
    OrtValue *value = nullptr;
    check(api_->KernelContext_GetOutput(context, i, shape.data(), shape.size(), &value));
    check(api_->GetTensorMutableData(value, &pointers[i]));
  }
  return pointers;
}

void Kernel::compute(OrtKernelContext *context) {
  std::size_t count = 0;
  check(api_->KernelContext_GetInputCount(context, &count));
  if (count != inputs_.size() + 1) throw Failure{ORT_INVALID_ARGUMENT, "prunus.Network: wrong number of inputs"};
  std::vector<TensorView> tensors;
  for (std::size_t i = 0; i < count; ++i) {
    const OrtValue *value = nullptr;
    check(api_->KernelContext_GetInput(context, i, &value));
    tensors.push_back(view(api_, value));
  }
  const std::span<const std::byte> packed = bytes_of(tensors[0]);
  tensors.erase(tensors.begin());
  const std::int64_t batch = batch_of(tensors);
  const std::vector<void *> results = outputs(context, batch);
  if (batch == 0) return;

  SessionThreads threads(api_, context);
  std::vector<const void *> inputs;
  for (const TensorView &tensor : tensors) inputs.push_back(tensor.data);
  const std::shared_ptr<Plan> plan = plans_.get(packed, static_cast<std::int32_t>(batch));
  plan->run(inputs.data(), results.data(), threads.handle());
  check(threads.status());
}

// -- the table that the runtime reads --------------------------------------------------------------------------------

struct NetworkOp : OrtCustomOp {
  NetworkOp();
};

// The runtime hands only the kernel to its compute function; the interface travels with it.
struct Instance {
  const OrtApi *api;
  Kernel kernel;
};

NetworkOp::NetworkOp() : OrtCustomOp{} {
  version = ORT_API_VERSION;
  GetName = [](const OrtCustomOp *) { return "Network"; };
  GetExecutionProviderType = [](const OrtCustomOp *) { return "CPUExecutionProvider"; };
  GetInputTypeCount = [](const OrtCustomOp *) -> std::size_t { return 2; };
  GetInputType = [](const OrtCustomOp *, std::size_t index) {
    return index == 0 ? ONNX_TENSOR_ELEMENT_DATA_TYPE_UINT8 : ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED;
  };
  GetInputCharacteristic = [](const OrtCustomOp *, std::size_t index) {
    return index == 0 ? INPUT_OUTPUT_REQUIRED : INPUT_OUTPUT_VARIADIC;
  };
  GetOutputTypeCount = [](const OrtCustomOp *) -> std::size_t { return 1; };
  GetOutputType = [](const OrtCustomOp *, std::size_t) { return ONNX_TENSOR_ELEMENT_DATA_TYPE_UNDEFINED; };
  GetOutputCharacteristic = [](const OrtCustomOp *, std::size_t) { return INPUT_OUTPUT_VARIADIC; };
  GetInputMemoryType = [](const OrtCustomOp *, std::size_t) { return OrtMemTypeDefault; };
  GetVariadicInputMinArity = [](const OrtCustomOp *) { return 1; };
  GetVariadicInputHomogeneity = [](const OrtCustomOp *) { return 0; };
  GetVariadicOutputMinArity = [](const OrtCustomOp *) { return 1; };
  GetVariadicOutputHomogeneity = [](const OrtCustomOp *) { return 0; };
  GetStartVersion = [](const OrtCustomOp *) { return 1; };
  GetEndVersion = [](const OrtCustomOp *) { return std::numeric_limits<int>::max(); };
  CreateKernelV2 = [](const OrtCustomOp *, const OrtApi *api, const OrtKernelInfo *info, void **kernel) {
    return guarded(api, [&] { *kernel = new Instance{api, Kernel(api, info)}; });
  };
  KernelComputeV2 = [](void *kernel, OrtKernelContext *context) {
    auto *instance = static_cast<Instance *>(kernel);
    return guarded(instance->api, [&] { instance->kernel.compute(context); });
  };
  KernelDestroy = [](void *kernel) { delete static_cast<Instance *>(kernel); };
}

}  // namespace

const OrtCustomOp *network_op() {
  static const NetworkOp op;
  return &op;
}

}  // namespace prunus::ort
