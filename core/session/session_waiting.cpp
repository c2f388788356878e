// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// How a session waits, sends and receives, and what its keeper does; session.h says why.
#include <algorithm>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <exception>
#include <optional>
#include <string>
#include <utility>

#include "core/session/errors.h"
#include "core/session/session.h"
#include "core/session/session_replies.h"

namespace torch_remote::session {
namespace {

constexpr std::chrono::milliseconds kStaleAfter{1};  // a batch that nobody completes goes out
constexpr std::chrono::milliseconds kKeepAliveEvery{5000};

}  // namespace

void Session::wait_for_room(Lock& lock) {
  flush();  // what waits here would never be acknowledged
  wait_until(lock, [this] { return has_room(); });
}

void Session::wait_for_reply(Lock& lock, Pending& pending) {
  ++statistics_.round_trips;
  flush();
  // The lock is held again however the wait ends, which Pending's destructor needs.
  wait_until(lock, [&pending] { return pending.done; });
  check_alive();
  if (pending.failure) raise(*pending.failure);
}

// At the end of a session: so that failures which nobody has read can be told. A program that
// leaves hours of work behind is not held up by it.
void Session::wait_for_the_rest(Lock& lock) {
  const auto deadline = std::chrono::steady_clock::now() + options_.timeouts.close;
  receive();
  while (!ended_ && !link_.window().empty() && std::chrono::steady_clock::now() < deadline) {
    wait_slice(lock);
  }
}

template <typename Done>
void Session::wait_until(Lock& lock, Done done) {
  const auto over = [&] { return done() || ended_.has_value(); };
  receive();
  if (over()) return;
  WaitPolicy& policy = *options_.wait_policy;
  lock.unlock();
  void* left = policy.leave();
  lock.lock();
  auto next_check = std::chrono::steady_clock::now() + kSessionWaitSlice;
  while (!over()) {
    wait_slice(lock);
    if (over() || std::chrono::steady_clock::now() < next_check) continue;
    lock.unlock();
    policy.resume(left);
    try {
      policy.check();
    } catch (...) {
      lock.lock();
      throw;
    }
    left = policy.leave();
    lock.lock();
    next_check = std::chrono::steady_clock::now() + kSessionWaitSlice;
  }
  lock.unlock();
  policy.resume(left);
  lock.lock();
}

// Bounds what the executor keeps ready for a client that does not take it.
void Session::wait_for_room_to_read(Lock& lock, std::uint64_t size_bytes) {
  const protocol::Limits& limits = link_.welcome().limits;
  const auto has_room_to_read = [&] {
    return later_.empty() || (read_later_size_bytes_ + size_bytes <= limits.bytes_in_flight_max &&
                              later_.size() < limits.operations_in_flight_max);
  };
  if (has_room_to_read()) return;
  flush();
  wait_until(lock, has_room_to_read);
  check_alive();
}

void Session::wait_slice(Lock& lock) {
  if (somebody_receives_) {
    received_.wait_for(lock, kSessionWaitSlice);
    return;
  }
  somebody_receives_ = true;
  lock.unlock();
  link_.channel().wait(kSessionWaitSlice);
  lock.lock();
  somebody_receives_ = false;
  receive();
  received_.notify_all();
}

bool Session::has_room() const {
  const protocol::Limits& limits = link_.welcome().limits;
  return ended_ ||
         (link_.window().size_bytes() <= limits.bytes_in_flight_max &&
          link_.window().operations() + batch_operations_ < limits.operations_in_flight_max);
}

void Session::check_alive() const {
  if (ended_) throw SessionLost(*ended_);
}

void Session::end_session(const std::string& reason) {
  ended_ = reason;
  batch_.clear();
  payload_.clear();
  later_.clear();
  received_.notify_all();
  link_.channel().wake();
}

// While the executor is idle a small batch goes out at once; the busier it is, the larger they get.
void Session::flush_if_worthwhile() {
  constexpr std::size_t kBatchSizeBytesMax = 32 * 1024;
  const std::size_t in_flight = link_.window().message_count();
  const std::size_t worthwhile = answers_at_once_ || in_flight >= 4 ? kBatchSizeBytesMax
                                 : in_flight > 0                    ? 8 * 1024
                                                                    : 512;
  if (batch_.size_bytes() >= worthwhile || payload_size_bytes_ > 0) {
    flush();
    receive();
  } else if (keeper_sleeps_) {
    keeper_sleeps_ = false;
    keeper_wakes_.notify_one();
  }
}

void Session::flush() {
  if (batch_.empty()) return;
  Message message = transport::make_message({}, batch_.bytes());
  for (auto& frame : payload_) message.frames.push_back(std::move(frame));
  const std::uint32_t operations = batch_operations_;
  payload_.clear();
  payload_size_bytes_ = 0;
  batch_.clear();
  batch_operations_ = 0;
  ++flushes_;
  try {
    link_.send(std::move(message), operations);
  } catch (const std::exception& error) {
    receive();  // the executor's last word says more, if there is one
    if (!ended_) end_session(error.what());
  }
}

void Session::receive() {
  if (ended_) return;
  bool any = false;
  try {
    any = link_.receive([this](Message& message) {
      Replies replies(*this, message);
      protocol::for_each_reply(message.body(), replies);
    });
    link_.acknowledge();
  } catch (const std::exception& error) {
    end_session(error.what());
    return;
  }
  // Taking the messages took the wake-up of whoever waits for one of them as well.
  if (any && somebody_receives_) link_.channel().wake();
}

// The keeper sleeps until something is appended; then it looks every millisecond whether a batch
// has been left lying, until nothing has happened for a while.
void Session::keep() {
  Lock lock(mutex_);
  auto last_alive = std::chrono::steady_clock::now();
  std::uint64_t flushes_seen = flushes_;
  std::size_t size_seen = 0;
  constexpr int kIdleTicksMax = 50;
  int idle_ticks = 0;
  while (!closing_) {
    keeper_sleeps_ = idle_ticks >= kIdleTicksMax;
    keeper_wakes_.wait_for(lock, keeper_sleeps_ ? std::chrono::milliseconds(500) : kStaleAfter);
    keeper_sleeps_ = false;
    if (ended_) {
      idle_ticks = kIdleTicksMax;
      continue;
    }
    try {
      if (!batch_.empty() && flushes_ == flushes_seen && batch_.size_bytes() >= size_seen &&
          size_seen > 0)
        flush();
      receive();
      if (std::chrono::steady_clock::now() - last_alive > kKeepAliveEvery) {
        link_.keep_alive();
        last_alive = std::chrono::steady_clock::now();
      }
    } catch (const std::exception& error) {
      end_session(error.what());
    }
    const bool active =
        flushes_ != flushes_seen || !batch_.empty() || !link_.window().empty() || !later_.empty();
    idle_ticks = active ? 0 : idle_ticks + 1;
    flushes_seen = flushes_;
    size_seen = batch_.size_bytes();
  }
}

}  // namespace torch_remote::session
