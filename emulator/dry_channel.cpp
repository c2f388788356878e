// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/dry_channel.h"

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <deque>
#include <mutex>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/protocol/commands.h"
#include "core/protocol/hello.h"
#include "core/protocol/replies.h"
#include "core/transport/message.h"
#include "core/transport/replay_window.h"

namespace torch_remote::emulator {
namespace {

using protocol::ErrorKind;
using protocol::EventId;
using protocol::MessageKind;
using protocol::TensorId;
using protocol::Token;
using transport::Message;

constexpr std::uint64_t kInlineSizeBytesMax = 16 * 1024;

// Turns commands into replies. Generators keep what they were given; nothing else has a state.
class Answers final : public protocol::CommandHandler {
 public:
  protocol::ReplyWriter replies;
  std::vector<zmq::message_t> payload;

  void define_operator(std::uint32_t, std::uint64_t, std::string_view, std::string_view) override {}
  void define_plan(protocol::PlanDefinition) override {}
  void call(std::uint32_t, std::span<const std::byte>) override {}
  void call_and_describe(std::uint32_t, Token token, TensorId,
                         std::span<const std::byte>) override {
    fail(token, "a dry run has no values, on which the shape of the result depends");
  }
  void allocate(TensorId, std::uint64_t) override {}
  void free(TensorId) override {}
  void write(TensorId, std::uint64_t, std::span<const std::byte>) override {}
  void write_frames(TensorId, std::uint64_t, std::uint64_t, std::uint32_t) override {}
  void read(Token token, TensorId, std::uint64_t, std::uint64_t size_bytes) override {
    if (size_bytes <= kInlineSizeBytesMax) {
      const std::vector<std::byte> zeros(size_bytes);
      return replies.bytes(token, zeros);
    }
    std::uint32_t frames = 0;
    for (std::uint64_t done = 0; done < size_bytes; ++frames) {
      const auto frame_size_bytes = static_cast<std::size_t>(
          std::min<std::uint64_t>(size_bytes - done, protocol::kPayloadFrameSizeBytes));
      payload.emplace_back(frame_size_bytes);
      std::memset(payload.back().data(), 0, frame_size_bytes);
      done += frame_size_bytes;
    }
    replies.byte_frames(token, size_bytes, frames);
  }
  void resize(TensorId, TensorId, std::uint64_t) override {}
  void rename(TensorId, TensorId) override {}
  // As CUDA's generators keep it: the seed, and how far the program has drawn.
  void seed(std::uint64_t generator, std::uint64_t seed) override {
    std::vector<std::byte> state(2 * sizeof(seed));
    std::memcpy(state.data(), &seed, sizeof(seed));
    states_[generator] = std::move(state);
  }
  void get_generator_state(Token token, std::uint64_t generator) override {
    replies.generator_state(token, states_[generator]);
  }
  void set_generator_state(std::uint64_t generator, std::span<const std::byte> state) override {
    states_[generator].assign(state.begin(), state.end());
  }
  void synchronize(Token token) override { replies.synchronized(token); }
  void use_stream(std::uint32_t) override {}
  void record_event(EventId, bool) override {}
  void wait_event(EventId) override {}
  void free_event(EventId) override {}
  void query_event(Token token, EventId) override {
    describe(token, {.kind = protocol::DescribedOutput::Kind::kBoolean, .integer = 1});
  }
  void synchronize_event(Token token, EventId) override { replies.synchronized(token); }
  void elapsed_time(Token token, EventId, EventId) override {
    fail(token, "nothing is computed in a dry run, and no clock is modelled: events have no time");
  }
  void record_stream(TensorId, std::uint32_t) override {}
  void get_memory_statistics(Token token) override { replies.numbers(token, {}); }
  void reset_peak_memory() override {}
  void empty_cache() override {}

 private:
  void describe(Token token, const protocol::DescribedOutput& output) {
    replies.outputs(token, {&output, 1});
  }
  void fail(Token token, std::string message) {
    replies.failed(token, {.kind = ErrorKind::kNotImplemented, .message = std::move(message)});
  }

  std::map<std::uint64_t, std::vector<std::byte>> states_;
};

class DryChannel final : public transport::Channel {
 public:
  explicit DryChannel(std::map<std::string, std::string> description)
      : description_(std::move(description)) {
    description_["executor"] = "dry run";
    description_["values"] = "none";
  }

  void send(Message& message) override {
    switch (message.envelope.kind) {
      case MessageKind::kHello:
        return welcome(message);
      case MessageKind::kCommands:
        return execute(message);
      default:
        return;  // of a connection, which there is none
    }
  }

  bool receive(Message& message) override {
    if (incoming_.empty()) return false;
    message = std::move(incoming_.front());
    incoming_.pop_front();
    return true;
  }

  transport::ConnectionEvent next_event() override { return transport::ConnectionEvent::kNone; }

  // What is answered is there when send() returns, so only a wake() can end this.
  void wait(std::chrono::milliseconds timeout) override {
    std::unique_lock lock(mutex_);
    wakes_.wait_for(lock, timeout, [this] { return is_woken_; });
    is_woken_ = false;
  }
  void wake() override {
    const std::lock_guard lock(mutex_);
    is_woken_ = true;
    wakes_.notify_all();
  }

  bool answers_at_once() const override { return true; }

 private:
  void welcome(const Message& message) {
    const protocol::Hello hello = protocol::decode_hello(message.body());
    protocol::Welcome welcome;
    welcome.epoch = 1;
    welcome.device_index = hello.device_index;
    welcome.device_count = hello.device_index + 1;
    welcome.description = description_;
    arrive({.kind = MessageKind::kWelcome, .session = message.envelope.session}, encode(welcome));
  }

  void execute(const Message& message) {
    const std::uint64_t sequence = message.envelope.sequence;
    protocol::for_each_command(message.body(), answers_);
    protocol::Envelope envelope{.kind = MessageKind::kAcknowledge,
                                .session = message.envelope.session,
                                .acknowledged = sequence};
    if (answers_.replies.empty()) return arrive(envelope, {});
    envelope.kind = MessageKind::kReplies;
    envelope.sequence = ++replied_;
    arrive(envelope, answers_.replies.bytes());
    for (auto& frame : answers_.payload) incoming_.back().frames.push_back(std::move(frame));
    answers_.payload.clear();
    answers_.replies.clear();
  }

  void arrive(const protocol::Envelope& envelope, std::span<const std::byte> body) {
    incoming_.push_back(transport::make_message(envelope, body));
  }

  std::map<std::string, std::string> description_;
  Answers answers_;
  std::uint64_t replied_ = 0;
  std::deque<Message> incoming_;

  std::mutex mutex_;
  std::condition_variable wakes_;
  bool is_woken_ = false;
};

}  // namespace

std::unique_ptr<transport::Channel> make_dry_channel(
    std::map<std::string, std::string> description) {
  return std::make_unique<DryChannel>(std::move(description));
}

}  // namespace torch_remote::emulator
