// A small pool of threads that serves one parallel_for at a time.
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <new>
#include <thread>
#include <vector>

#include "prunus/network.h"

namespace {

constexpr int kSpins = 2000;  // looks at the next job before a thread sleeps: about the time between two steps

void pause_briefly() {
#if defined(__x86_64__)
  __builtin_ia32_pause();
#endif
}

}  // namespace

struct prunus_pool {
  explicit prunus_pool(std::int32_t count) {
    try {
      for (std::int32_t i = 1; i < count; ++i) threads.emplace_back([this] { serve(); });
    } catch (...) {  // no more threads: those that run must end before their pool does
      join();
      throw;
    }
  }

  ~prunus_pool() { join(); }

  prunus_pool(const prunus_pool &) = delete;
  prunus_pool &operator=(const prunus_pool &) = delete;

  // All threads take indices until none is left; returns when all have stopped looking at the job.
  void run(std::int32_t tasks, prunus_task function, void *argument) {
    const std::lock_guard one_job(jobs);
    {
      const std::lock_guard lock(mutex);
      task = function;
      state = argument;
      count = tasks;
      next.store(0, std::memory_order_relaxed);
      busy.store(static_cast<std::int32_t>(threads.size()), std::memory_order_relaxed);
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
    take();
    for (int spin = 0; busy.load(std::memory_order_acquire) != 0; ++spin) {
      if (spin < kSpins)
        pause_briefly();
      else
        std::this_thread::yield();
    }
  }

  std::int32_t size() const { return static_cast<std::int32_t>(threads.size()) + 1; }

 private:
  void join() {
    {
      const std::lock_guard lock(mutex);
      stop = true;
      generation.fetch_add(1, std::memory_order_release);
    }
    wake.notify_all();
    for (std::thread &thread : threads) thread.join();
  }

  void take() {
    for (std::int32_t i = next.fetch_add(1, std::memory_order_relaxed); i < count;
         i = next.fetch_add(1, std::memory_order_relaxed))
      task(state, i);
  }

  void serve() {
    std::uint64_t seen = 0;
    for (;;) {
      for (int spin = 0; spin < kSpins && generation.load(std::memory_order_acquire) == seen; ++spin) pause_briefly();
      if (generation.load(std::memory_order_acquire) == seen) {
        std::unique_lock lock(mutex);
        wake.wait(lock, [&] { return generation.load(std::memory_order_acquire) != seen; });
      }
      seen = generation.load(std::memory_order_acquire);
      if (stop) return;
      take();
      busy.fetch_sub(1, std::memory_order_release);
    }
  }

  std::mutex jobs, mutex;
  std::condition_variable wake;
  std::atomic<std::uint64_t> generation{0};
  std::atomic<std::int32_t> next{0}, busy{0};
  prunus_task task = nullptr;
  void *state = nullptr;
  std::int32_t count = 0;
  bool stop = false;
  std::vector<std::thread> threads;  // last: they use all of the above
};

prunus_status prunus_pool_create(std::int32_t count, prunus_pool **pool) {
  if (!pool || count < 1 || count > 1024) return PRUNUS_E_RANGE;
  try {
    *pool = new prunus_pool(count);
    return PRUNUS_OK;
  } catch (const std::exception &) {  // no memory, or no more threads
    return static_cast<prunus_status>(PRUNUS_E_MEMORY);
  }
}

void prunus_pool_destroy(prunus_pool *pool) { delete pool; }

prunus_threads prunus_pool_threads(prunus_pool *pool) {
  const auto run = [](void *context, std::int32_t count, prunus_task task, void *state) {
    static_cast<prunus_pool *>(context)->run(count, task, state);
  };
  return {run, pool, pool ? pool->size() : 1};
}
