// onnxruntime's interface with C++'s manners: failures are exceptions inside, statuses at the border.
#pragma once

#include <cstdint>
#include <exception>
#include <memory>
#include <new>
#include <string>
#include <utility>
#include <vector>

#include "ort_api.h"

namespace prunus::ort {

// A failure of our own.
struct Failure {
  OrtErrorCode code;
  std::string message;
};

// A failure that the runtime reported; whoever catches it owns it.
struct RuntimeFailure {
  OrtStatus *status;
};

inline void check(OrtStatus *status) {
  if (status != nullptr) throw RuntimeFailure{status};
}

// Runs `body`; what it throws becomes a status. Nothing passes the C border.
template <class Body>
OrtStatus *guarded(const OrtApi *api, Body &&body) noexcept {
  try {
    std::forward<Body>(body)();
    return nullptr;
  } catch (const RuntimeFailure &failure) {
    return failure.status;
  } catch (const Failure &failure) {
    return api->CreateStatus(failure.code, failure.message.c_str());
  } catch (const std::bad_alloc &) {
    return api->CreateStatus(ORT_FAIL, "prunus: out of memory");
  } catch (const std::exception &error) {
    return api->CreateStatus(ORT_FAIL, error.what());
  }
}

// A dense tensor of the runtime, not owned.
struct TensorView {
  ONNXTensorElementDataType element;
  std::vector<std::int64_t> shape;
  void *data;
};

inline TensorView view(const OrtApi *api, const OrtValue *value) {
  OrtTensorTypeAndShapeInfo *raw = nullptr;
  check(api->GetTensorTypeAndShape(value, &raw));
  const std::unique_ptr<OrtTensorTypeAndShapeInfo, decltype(api->ReleaseTensorTypeAndShapeInfo)> info(
      raw, api->ReleaseTensorTypeAndShapeInfo);
  TensorView tensor{};
  std::size_t rank = 0;
  check(api->GetTensorElementType(info.get(), &tensor.element));
  check(api->GetDimensionsCount(info.get(), &rank));
  tensor.shape.resize(rank);
  check(api->GetDimensions(info.get(), tensor.shape.data(), rank));
  // the interface has one accessor for both; inputs are only read
  check(api->GetTensorMutableData(const_cast<OrtValue *>(value), &tensor.data));
  return tensor;
}

}  // namespace prunus::ort
