// Threads that share a phase's tasks. Nobody waits for a thread that has no core.
//
// Tasks are taken one by one from a common counter, the caller takes part, and a phase ends when
// all its tasks are done: a helper that sleeps, or that another program has displaced, costs
// nothing unless it was displaced in the middle of a task. Which thread does a task changes no bit.
#pragma once

#include <sched.h>

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <thread>
#include <vector>

#include <immintrin.h>

class Pool {
 public:
  explicit Pool(int threads) {
    for (int i = 1; i < threads; ++i) helpers_.emplace_back([this] { help(); });
  }
  ~Pool() {
    {
      std::lock_guard<std::mutex> lock(mutex_);
      ending_.store(true);
    }
    wake_.notify_all();
    for (auto& helper : helpers_) helper.join();
  }
  int threads() const { return static_cast<int>(helpers_.size()) + 1; }

  // Let helpers that sleep come: several phases follow. A second caller works alone.
  std::unique_lock<std::mutex> begin() {
    std::unique_lock<std::mutex> turn(turn_, std::try_to_lock);
    if (turn.owns_lock() && !helpers_.empty()) wake();
    return turn;
  }

  // task(i) for every i below count; returns when all are done. ``shared``: the caller has the turn.
  template <class Task>
  void run(bool shared, uint32_t count, const Task& task) {
    if (!shared || helpers_.empty() || count <= 1) {
      for (uint32_t i = 0; i < count; ++i) task(i);
      return;
    }
    // Closed first: a helper that sees the new count cannot take a ticket of the last phase.
    const uint64_t phase = (ticket_.load(std::memory_order_relaxed) >> 32) + 1;
    ticket_.store(phase << 32 | kClosed);
    done_.store(0, std::memory_order_relaxed);
    count_.store(count, std::memory_order_release);
    context_.store(&task, std::memory_order_relaxed);
    call_.store([](const void* context, uint32_t i) { (*static_cast<const Task*>(context))(i); },
                std::memory_order_relaxed);
    ticket_.store(phase << 32, std::memory_order_release);
    // One that waited in vain for a phase, since the caller had no core, has gone to sleep.
    if (sleeping_.load(std::memory_order_relaxed) > 0) wake();
    while (take()) {
    }
    for (int spins = 0; done_.load(std::memory_order_acquire) < count; ++spins) {
      if (spins < 2000) {
        _mm_pause();
      } else {
        sched_yield();
      }
    }
  }

 private:
  void wake() {
    calls_.fetch_add(1);
    if (sleeping_.load() > 0) {
      std::lock_guard<std::mutex> lock(mutex_);
      wake_.notify_all();
    }
  }

  // Do one task of the present phase; false where none is left.
  bool take() {
    uint64_t ticket = ticket_.load(std::memory_order_acquire);
    for (;;) {
      const uint32_t index = static_cast<uint32_t>(ticket);
      if (index >= count_.load(std::memory_order_acquire)) return false;
      const void* context = context_.load(std::memory_order_relaxed);
      auto call = call_.load(std::memory_order_relaxed);
      // Succeeds only while the phase that was read above goes on.
      if (ticket_.compare_exchange_weak(ticket, ticket + 1, std::memory_order_acq_rel)) {
        call(context, index);
        done_.fetch_add(1, std::memory_order_release);
        return true;
      }
    }
  }

  void help() {
    using Clock = std::chrono::steady_clock;
    while (!ending_.load(std::memory_order_relaxed)) {
      const uint64_t calls = calls_.load();
      const auto until = Clock::now() + std::chrono::microseconds(kSpinMicroseconds);
      bool worked = false;
      for (int spins = 1; !worked; ++spins) {
        worked = take();
        if (!worked) _mm_pause();
        if (spins % 64 == 0 && Clock::now() > until) break;
      }
      if (worked) continue;
      std::unique_lock<std::mutex> lock(mutex_);
      sleeping_.fetch_add(1);
      wake_.wait(lock, [&] { return calls_.load() != calls || ending_.load(); });
      sleeping_.fetch_sub(1);
    }
  }

  static constexpr uint32_t kClosed = 0xffffffff;
  static constexpr int kSpinMicroseconds = 50;
  alignas(64) std::atomic<uint64_t> ticket_{0};  // the phase's number, then its next task
  alignas(64) std::atomic<uint32_t> done_{0};
  std::atomic<uint32_t> count_{0};
  std::atomic<const void*> context_{nullptr};
  std::atomic<void (*)(const void*, uint32_t)> call_{nullptr};
  alignas(64) std::atomic<uint64_t> calls_{0};
  std::atomic<int> sleeping_{0};
  std::atomic<bool> ending_{false};
  std::mutex mutex_;
  std::mutex turn_;
  std::condition_variable wake_;
  std::vector<std::thread> helpers_;
};
