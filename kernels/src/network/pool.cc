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

// One job at a time: `ticket` holds its number in the high half and how many of its tasks are not yet taken in the low
// half, so that a task is taken by one exchange, and only from the job that is there. The caller takes tasks like any
// thread and waits for those alone that others have taken: a thread that the machine does not run delays nobody.
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

  // Returns when all tasks have returned.
  void run(std::int32_t tasks, prunus_task function, void *argument) {
    if (tasks < 1) return;
    const std::lock_guard one_job(jobs);
    task = function;
    state = argument;
    open.store(tasks, std::memory_order_relaxed);
    ticket.store(((ticket.load(std::memory_order_relaxed) >> 32) + 1) << 32 | static_cast<std::uint32_t>(tasks));
    if (sleeping.load() > 0) {
      { const std::lock_guard lock(mutex); }  // a thread about to sleep has looked at the old ticket
      wake.notify_all();
    }
    take();
    for (int spin = 0; open.load(std::memory_order_acquire) != 0; ++spin) {
      if (spin < kSpins)
        pause_briefly();
      else
        std::this_thread::yield();
    }
  }

  std::int32_t size() const { return static_cast<std::int32_t>(threads.size()) + 1; }

 private:
  static std::uint32_t left(std::uint64_t of) { return static_cast<std::uint32_t>(of); }

  void join() {
    {
      const std::lock_guard lock(mutex);
      stop.store(true);
    }
    wake.notify_all();
    for (std::thread &thread : threads) thread.join();
  }

  void take() {
    std::uint64_t now = ticket.load(std::memory_order_acquire);
    while (left(now) != 0) {
      if (!ticket.compare_exchange_weak(now, now - 1, std::memory_order_acquire)) continue;
      task(state, static_cast<std::int32_t>(left(now)) - 1);
      open.fetch_sub(1, std::memory_order_release);
      now = ticket.load(std::memory_order_acquire);
    }
  }

  void serve() {
    while (!stop.load(std::memory_order_relaxed)) {
      for (int spin = 0; spin < kSpins && left(ticket.load(std::memory_order_relaxed)) == 0; ++spin) pause_briefly();
      if (left(ticket.load()) == 0) sleep();
      take();
    }
  }

  void sleep() {
    std::unique_lock lock(mutex);
    sleeping.fetch_add(1);
    wake.wait(lock, [&] { return left(ticket.load()) != 0 || stop.load(); });
    sleeping.fetch_sub(1);
  }

  std::mutex jobs, mutex;
  std::condition_variable wake;
  std::atomic<std::uint64_t> ticket{0};
  std::atomic<std::int32_t> open{0};  // tasks of the job that have not returned
  std::atomic<std::int32_t> sleeping{0};
  std::atomic<bool> stop{false};
  prunus_task task = nullptr;  // read by whoever has taken a task: the job cannot end before
  void *state = nullptr;
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
