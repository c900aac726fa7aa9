// The pool of threads: every task of every job runs once, whoever takes it. Built with the thread sanitizer.
//
//   g++ -std=c++20 -fsanitize=thread -I kernels/include pool_check.cc kernels/src/network/pool.cc -o pool_check
#include <chrono>
#include <cstdio>
#include <thread>
#include <vector>

#include "prunus/network.h"

namespace {

void count(void *state, std::int32_t index) {
  ++(*static_cast<std::vector<int> *>(state))[static_cast<std::size_t>(index)];
}

bool job(const prunus_threads &threads, std::int32_t tasks) {
  std::vector<int> runs(static_cast<std::size_t>(tasks), 0);
  threads.run(threads.context, tasks, count, &runs);
  for (const int each : runs)
    if (each != 1) return false;
  return true;
}

}  // namespace

int main() {
  bool right = true;
  for (const std::int32_t threads : {1, 2, 5}) {
    prunus_pool *pool = nullptr;
    if (prunus_pool_create(threads, &pool) != PRUNUS_OK) return 2;
    const prunus_threads handle = prunus_pool_threads(pool);
    for (std::int32_t i = 0; i < 2000; ++i) {
      right &= job(handle, i % 37);
      if (i % 400 == 0) std::this_thread::sleep_for(std::chrono::milliseconds(5));  // so that the others fall asleep
    }
    std::vector<std::thread> callers;  // jobs of several callers take turns
    std::vector<char> answers(3, 0);
    for (char &answer : answers)
      callers.emplace_back([&] {
        answer = 1;
        for (std::int32_t i = 0; i < 300; ++i) answer &= job(handle, 9);
      });
    for (std::thread &caller : callers) caller.join();
    for (const char answer : answers) right &= answer != 0;
    prunus_pool_destroy(pool);
  }
  std::puts(right ? "every task ran once" : "a task ran not at all, or twice");
  return right ? 0 : 1;
}
