// The session's intra-op threads as a parallel_for of the kernels.
#pragma once

#include <cstdint>

#include "ort_api.h"
#include "prunus/network.h"

namespace prunus::ort {

// Lives for one run of a kernel.
class SessionThreads {
 public:
  SessionThreads(const OrtApi *api, const OrtKernelContext *context) : api_(api), context_(context) {}

  // `count` as measured by `concurrency`.
  prunus_threads handle(std::int32_t count);

  // What a parallel_for reported, to be checked after the run; the caller owns it.
  OrtStatus *status() const { return status_; }

  // How many of the session's threads work at once. The interface does not tell: tasks wait a moment for each other.
  std::int32_t concurrency();

 private:
  static void parallel_for(void *self, std::int32_t count, prunus_task task, void *state);

  const OrtApi *api_;
  const OrtKernelContext *context_;
  OrtStatus *status_ = nullptr;
};

}  // namespace prunus::ort
