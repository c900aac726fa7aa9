// The entry point that SessionOptions.register_custom_ops_library calls.

#include <map>
#include <mutex>
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
                              " or later; this is onnxruntime " + (version != nullptr ? version : "?");
  return oldest->CreateStatus(ORT_FAIL, message.c_str());
}

// One domain for all sessions of a runtime, of which a process may hold several. A runtime keeps pointers to it until
// it ends: it is never freed.
OrtCustomOpDomain *domain(const OrtApi *api) {
  static std::mutex mutex;
  static std::map<const OrtApi *, OrtCustomOpDomain *> domains;
  const std::lock_guard lock(mutex);
  OrtCustomOpDomain *&found = domains[api];
  if (found == nullptr) {
    OrtCustomOpDomain *created = nullptr;
    check(api->CreateCustomOpDomain(kDomain, &created));
    check(api->CustomOpDomain_Add(created, network_op()));
    found = created;
  }
  return found;
}

}  // namespace
}  // namespace prunus::ort

extern "C" __attribute__((visibility("default"))) OrtStatus *RegisterCustomOps(OrtSessionOptions *options,
                                                                                const OrtApiBase *base) {
  using namespace prunus::ort;
  const OrtApi *api = base->GetApi(ORT_API_VERSION);
  if (api == nullptr) return refuse(base);
  return guarded(api, [&] { check(api->AddCustomOpDomain(options, domain(api))); });
}
