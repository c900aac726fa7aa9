// The session's intra-op threads as a parallel_for of the kernels.
#pragma once

#include <cstdint>

#include "ort_api.h"
#include "prunus/network.h"

namespace prunus::ort {

// Lives for one run of a kernel. The interface does not tell how many threads the session has: work is cut for all of
// the machine's. A session of one thread runs the pieces one after the other, at the cost of a function call each.
class SessionThreads {
 public:
  SessionThreads(const OrtApi *api, const OrtKernelContext *context) : api_(api), context_(context) {}
  SessionThreads(const SessionThreads &) = delete;
  SessionThreads &operator=(const SessionThreads &) = delete;

  prunus_threads handle();

  // What a parallel_for reported, to be checked after the run; the caller owns it.
  OrtStatus *status() const { return status_; }

 private:
  static void parallel_for(void *self, std::int32_t count, prunus_task task, void *state);

  const OrtApi *api_;
  const OrtKernelContext *context_;
  OrtStatus *status_ = nullptr;
};

}  // namespace prunus::ort
