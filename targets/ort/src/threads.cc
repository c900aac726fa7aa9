#include "threads.h"

#include <algorithm>
#include <cstddef>
#include <thread>

namespace prunus::ort {
namespace {

constexpr unsigned kMostThreads = 32;  // a layer rarely has work for more

struct Call {
  prunus_task task;
  void *state;
};

}  // namespace

prunus_threads SessionThreads::handle() {
  static const auto count = static_cast<std::int32_t>(std::min(std::thread::hardware_concurrency(), kMostThreads));
  return {parallel_for, this, count};
}

void SessionThreads::parallel_for(void *self, std::int32_t count, prunus_task task, void *state) {
  auto *threads = static_cast<SessionThreads *>(self);
  Call call{task, state};
  const auto run = [](void *raw, std::size_t index) {
    const auto *work = static_cast<const Call *>(raw);
    work->task(work->state, static_cast<std::int32_t>(index));
  };
  OrtStatus *status =
      threads->api_->KernelContext_ParallelFor(threads->context_, run, static_cast<std::size_t>(count), 0, &call);
  if (status == nullptr) return;
  if (threads->status_ != nullptr) {
    threads->api_->ReleaseStatus(status);
  } else {
    threads->status_ = status;
  }
}

}  // namespace prunus::ort
