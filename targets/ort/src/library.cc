// The entry point that SessionOptions.register_custom_ops_library calls.

#include <string>

#include "network_op.h"
#include "ort_api.h"
#include "runtime.h"

namespace prunus::ort {
namespace {

constexpr const char *kDomain = "prunus";

// The status that tells a runtime older than ORT_API_VERSION what it lacks. Slot 0 is in every version.
OrtStatus *refuse(const OrtApiBase *base) {
  const OrtApi *oldest = base->GetApi(1);
  if (oldest == nullptr) return nullptr;  // no way to speak to it: the model's operators stay unknown to it
  const char *version = base->GetVersionString();
  const std::string message = "prunus needs onnxruntime 1." + std::to_string(ORT_API_VERSION) +
                              " or later; this is onnxruntime " + (version != nullptr ? version : "of no known version");
  return oldest->CreateStatus(ORT_FAIL, message.c_str());
}

// One domain for all sessions of the process: the runtime keeps pointers to it and never frees it.
OrtCustomOpDomain *domain(const OrtApi *api) {
  static OrtCustomOpDomain *const shared = [api] {
    OrtCustomOpDomain *created = nullptr;
    check(api->CreateCustomOpDomain(kDomain, &created));
    check(api->CustomOpDomain_Add(created, network_op()));
    return created;
  }();
  return shared;
}

}  // namespace
}  // namespace prunus::ort

extern "C" __attribute__((visibility("default"))) OrtStatus *RegisterCustomOps(OrtSessionOptions *options,
                                                                                const OrtApiBase *base) {
  const OrtApi *api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) return prunus::ort::refuse(base);
  return prunus::ort::guarded(api, [&] { prunus::ort::check(api->AddCustomOpDomain(options, prunus::ort::domain(api))); });
}
