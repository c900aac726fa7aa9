#include "threads.h"

#include <algorithm>
#include <atomic>
#include <chrono>
#include <cstddef>
#include <thread>

namespace prunus::ort {
namespace {

constexpr unsigned kMostThreads = 64;
constexpr std::chrono::milliseconds kPatience{2};

struct Call {
  prunus_task task;
  void *state;
};

// Tasks that arrive before the deadline were running at the same time: each holds its thread until all have come.
struct Meeting {
  std::int32_t expected;
  std::chrono::steady_clock::time_point deadline;
  std::atomic<std::int32_t> arrived{0};

  bool over() const { return std::chrono::steady_clock::now() >= deadline; }
};

}  // namespace

prunus_threads SessionThreads::handle(std::int32_t count) {
  return count > 1 ? prunus_threads{parallel_for, this, count} : prunus_threads{nullptr, nullptr, 1};
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
  if (threads->status_ != nullptr) threads->api_->ReleaseStatus(status);
  else threads->status_ = status;
}

std::int32_t SessionThreads::concurrency() {
  const auto expected = static_cast<std::int32_t>(std::min(std::thread::hardware_concurrency(), kMostThreads));
  if (expected <= 1) return 1;
  Meeting meeting{expected, std::chrono::steady_clock::now() + kPatience};
  const prunus_task task = [](void *state, std::int32_t) {
    auto *met = static_cast<Meeting *>(state);
    if (met->over()) return;
    ++met->arrived;
    while (met->arrived < met->expected && !met->over()) std::this_thread::yield();
  };
  parallel_for(this, expected, task, &meeting);
  return std::max(meeting.arrived.load(), 1);
}

}  // namespace prunus::ort
