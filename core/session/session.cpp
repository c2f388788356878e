// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/session/session.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <functional>
#include <memory>
#include <optional>
#include <utility>

#include "core/protocol/bytes.h"
#include "core/session/errors.h"
#include "core/session/session_replies.h"
#include "core/transport/signals.h"

namespace torch_remote::session {

namespace {

constexpr std::uint64_t kInlineSizeBytesMax =
    16 * 1024;                                          // smaller writes travel among the commands
constexpr std::uint64_t kReadSizeBytesMax = 32u << 20;  // larger reads are cut, to bound memory

}  // namespace

Session::Session(std::unique_ptr<transport::Channel> channel, const std::string& endpoint,
                 std::uint64_t session_id, SessionOptions options)
    : link_(std::move(channel), endpoint, session_id, options.timeouts),
      options_(std::move(options)),
      ids_(options_.device) {
  link_.open(options_.hello, [this](std::chrono::milliseconds left) {
    WaitPolicy& policy = *options_.wait_policy;
    void* state = policy.leave();
    link_.channel().wait(std::min(left, kSessionWaitSlice));
    policy.resume(state);
    policy.check();
  });
  // What is appended and what is in flight are each below the limit.
  locations_.resize(
      std::bit_ceil(2 * std::size_t{link_.welcome().limits.operations_in_flight_max}));
  answers_at_once_ = link_.channel().answers_at_once();
  if (!answers_at_once_) keeper_ = transport::start_background_thread([this] { keep(); });
}

Session::~Session() { close(); }

std::vector<Failure> Session::close() noexcept {
  std::vector<Failure> unseen;
  {
    Lock lock(mutex_);
    if (!closing_) {
      closing_ = true;
      try {
        if (!ended_) {
          flush();
          wait_for_the_rest(lock);
          if (!ended_) link_.goodbye();
        }
      } catch (const std::exception&) {
        // The connection is gone; there is nobody to say goodbye to.
      }
      if (!ended_) end_session("the device was stopped");
      unseen.assign(unseen_failures_.begin(), unseen_failures_.end());
      unseen_failures_.clear();
    }
    keeper_wakes_.notify_all();
  }
  if (keeper_.joinable()) keeper_.join();
  release();
  return unseen;
}

// A session that has ended may live on for a long time: its device stays known to PyTorch.
void Session::release() noexcept {
  Lock lock(mutex_);
  received_.wait(lock, [this] { return !somebody_receives_; });
  link_.release();
  later_.clear();
  locations_ = {};
  batch_ = {};
}

Session::Turn Session::turn(std::uint32_t stream) {
  Lock lock(mutex_);
  if (!has_room()) wait_for_room(lock);
  check_alive();
  use_stream(stream);
  return Turn(*this, std::move(lock));
}

void Session::use_stream(std::uint32_t stream) {
  if (stream == stream_) return;
  batch_.use_stream(stream);
  stream_ = stream;
}

void Session::free(TensorId id, std::uint64_t size_bytes) noexcept {
  const Lock lock(mutex_);
  release_storage(id, size_bytes);
  if (ended_) return;
  try {
    batch_.free(id);
    flush_if_worthwhile();
  } catch (const std::exception& error) {
    end_session(error.what());
  }
}

std::optional<ModelledSpan> Session::read(TensorId id, std::uint64_t offset_bytes,
                                          std::span<std::byte> destination, std::uint32_t stream,
                                          std::uint32_t location, bool is_pinned) {
  std::optional<ModelledSpan> span;
  std::uint64_t done = 0;
  do {
    const std::uint64_t size_bytes =
        std::min<std::uint64_t>(destination.size() - done, kReadSizeBytesMax);
    Lock lock(mutex_);
    check_alive();
    use_stream(stream);
    if (done == 0) {
      span = observe({.id = id,
                      .offset_bytes = offset_bytes,
                      .size_bytes = destination.size(),
                      .stream = stream,
                      .is_pinned = is_pinned,
                      .location = location});
    }
    Pending pending(*this, destination.subspan(done, size_bytes));
    batch_.read(pending.token, id, offset_bytes + done, size_bytes);
    wait_for_reply(lock, pending);
    done += size_bytes;
  } while (done < destination.size());
  return span;
}

std::optional<ModelledSpan> Session::write(TensorId id, std::uint64_t offset_bytes,
                                           std::span<const std::byte> source, std::uint32_t stream,
                                           std::uint32_t location, bool is_pinned) {
  return write_parts({.id = id,
                      .offset_bytes = offset_bytes,
                      .size_bytes = source.size(),
                      .stream = stream,
                      .is_to_device = true,
                      .is_pinned = is_pinned,
                      .location = location},
                     source, transport::make_frame);
}

template <typename MakeFrame>
std::optional<ModelledSpan> Session::write_parts(const ObservedCopy& copy,
                                                 std::span<const std::byte> source,
                                                 MakeFrame make_frame) {
  std::optional<ModelledSpan> span;
  if (source.size() <= kInlineSizeBytesMax) {
    const Turn turn = this->turn(copy.stream);
    span = observe(copy);
    batch_.write(copy.id, copy.offset_bytes, source);
    return span;
  }
  for (std::uint64_t done = 0; done < source.size();) {
    const Turn turn = this->turn(copy.stream);
    if (done == 0) span = observe(copy);
    const std::uint64_t room = protocol::kPayloadFrameSizeBytes * 16;
    const auto part = source.subspan(done, std::min<std::uint64_t>(room, source.size() - done));
    if (payload_.size() + 16 > protocol::kPayloadFramesMax) flush();
    std::uint32_t frames = 0;
    for (std::size_t at = 0; at < part.size(); at += protocol::kPayloadFrameSizeBytes, ++frames) {
      const auto frame =
          part.subspan(at, std::min(protocol::kPayloadFrameSizeBytes, part.size() - at));
      payload_.push_back(make_frame(frame));
    }
    payload_size_bytes_ += part.size();
    batch_.write_frames(copy.id, copy.offset_bytes + done, part.size(), frames);
    done += part.size();
  }
  return span;
}

// ---- without waiting ----

std::optional<ModelledSpan> Session::read_later(TensorId id, std::uint64_t offset_bytes,
                                                std::span<std::byte> destination,
                                                const std::shared_ptr<void>& hold,
                                                std::uint32_t stream, std::uint32_t location) {
  std::optional<ModelledSpan> span;
  for (std::uint64_t done = 0; done < destination.size();) {
    const std::uint64_t size_bytes =
        std::min<std::uint64_t>(destination.size() - done, kReadSizeBytesMax);
    Turn turn = this->turn(stream);
    wait_for_room_to_read(turn.lock_, size_bytes);
    use_stream(stream);  // another thread may have had its turn
    if (done == 0) {
      span = observe({.id = id,
                      .offset_bytes = offset_bytes,
                      .size_bytes = destination.size(),
                      .stream = stream,
                      .is_pinned = true,
                      .is_blocking = false,
                      .location = location});
    }
    const Token token = expect_later(destination.subspan(done, size_bytes),
                                     [this, size_bytes, hold](const Pending& pending) {
                                       read_later_size_bytes_ -= size_bytes;
                                       if (pending.failure) note_unseen(*pending.failure);
                                     });
    read_later_size_bytes_ += size_bytes;
    batch_.read(token, id, offset_bytes + done, size_bytes);
    flush();  // so that it is on its way while the program does something else
    if (answers_at_once_) receive();  // and hold is let go
    done += size_bytes;
  }
  return span;
}

std::optional<ModelledSpan> Session::write_later(TensorId id, std::uint64_t offset_bytes,
                                                 std::span<const std::byte> source,
                                                 const std::shared_ptr<void>& hold,
                                                 std::uint32_t stream, std::uint32_t location) {
  return write_parts({.id = id,
                      .offset_bytes = offset_bytes,
                      .size_bytes = source.size(),
                      .stream = stream,
                      .is_to_device = true,
                      .is_pinned = true,
                      .is_blocking = false,
                      .location = location},
                     source, [&](std::span<const std::byte> bytes) {
                       return transport::borrow_frame(bytes, hold);
                     });
}

protocol::Token Session::expect_later(std::span<std::byte> destination,
                                      std::function<void(Pending&)> when_done) {
  auto pending = std::make_unique<Pending>(*this, destination);
  pending->when_done = std::move(when_done);
  const Token token = pending->token;
  later_.emplace(token, std::move(pending));
  return token;
}

void Session::synchronize() {
  Lock lock(mutex_);
  check_alive();
  if (observer_) observer_->synchronize();
  Pending pending(*this);
  batch_.synchronize(pending.token);
  wait_for_reply(lock, pending);
  raise_unseen();
}

void Session::settle() {
  Lock lock(mutex_);
  check_alive();
  Pending pending(*this);
  batch_.synchronize(pending.token);
  wait_for_reply(lock, pending);
}

void Session::set_observer(std::shared_ptr<SessionObserver> observer) {
  const Lock lock(mutex_);
  observer_ = std::move(observer);
}

std::shared_ptr<SessionObserver> Session::observer() {
  const Lock lock(mutex_);
  return observer_;
}

SessionStatistics Session::statistics() {
  const Lock lock(mutex_);
  SessionStatistics statistics = statistics_;
  statistics.bytes_sent = link_.bytes_sent() + batch_.size_bytes() + payload_size_bytes_;
  statistics.bytes_received = link_.bytes_received();
  return statistics;
}

}  // namespace torch_remote::session
