// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The executor's end of one session: receives, checks, orders, executes and acknowledges.
// core/session/link.h is the other end.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <optional>
#include <unordered_map>
#include <vector>

#include <zmq.hpp>

#include "core/executor/executor.h"
#include "core/protocol/commands.h"
#include "core/protocol/replies.h"
#include "core/transport/message.h"
#include "core/transport/replay_window.h"

namespace torch_remote::executor {

// Serves one client over one socket until it says goodbye. Everything happens on the thread that
// calls run().
//
// Failures: an operation that fails marks what it would have made or changed. Whatever depends on
// that is not executed but marked as well, and a read of it is answered by the first failure. The
// rest of the program goes on.
class Worker final : private protocol::CommandHandler {
 public:
  // epoch tells one start of the executor from another.
  // abandoned turns true when nobody waits for the session's results any more: what is still to be
  // computed is then left out. It is looked at before each call, so that run() returns soon.
  Worker(zmq::socket_t socket, ExecutorFactory factory, std::uint64_t epoch,
         std::shared_ptr<const std::atomic<bool>> abandoned);

  // Returns after the goodbye, a refusal, or the context's shutdown.
  void run() noexcept;

  // After run(): tells whoever holds the other end of the socket that the session is over.
  void say_goodbye() noexcept;

 private:
  using SharedFailure = std::shared_ptr<const protocol::Failure>;
  struct Plan {
    protocol::CallShape shape;
    std::uint32_t operator_number = 0;
    bool describes_outputs = false;
    SharedFailure failure;  // why the plan can't be run
  };
  struct Operator {
    std::string name;
    SharedFailure failure;
  };

  bool serve_next();
  void handle(transport::Message& message);
  void open(const transport::Message& message);
  void execute(const transport::Message& message);
  void refuse(protocol::RefusalCode code, const std::string& reason);
  void send_replies();
  void acknowledge();
  void send_control(protocol::MessageKind kind, std::uint64_t sequence,
                    std::span<const std::byte> body);
  void transmit(transport::Message& message);

  void define_operator(std::uint32_t number, std::uint64_t schema_hash, std::string_view name,
                       std::string_view overload) override;
  void define_plan(protocol::PlanDefinition definition) override;
  void call(std::uint32_t plan, std::span<const std::byte> values) override;
  void call_and_describe(std::uint32_t plan, protocol::Token token, TensorId first_output_id,
                         std::span<const std::byte> values) override;
  void allocate(TensorId id, std::uint64_t size_bytes) override;
  void free(TensorId id) override;
  void write(TensorId id, std::uint64_t offset_bytes, std::span<const std::byte> bytes) override;
  void write_frames(TensorId id, std::uint64_t offset_bytes, std::uint64_t size_bytes,
                    std::uint32_t frames) override;
  void read(protocol::Token token, TensorId id, std::uint64_t offset_bytes,
            std::uint64_t size_bytes) override;
  void resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) override;
  void rename(TensorId id, TensorId new_id) override;
  void seed(std::uint64_t generator, std::uint64_t seed) override;
  void get_generator_state(protocol::Token token, std::uint64_t generator) override;
  void set_generator_state(std::uint64_t generator, std::span<const std::byte> state) override;
  void synchronize(protocol::Token token) override;
  void use_stream(std::uint32_t stream) override;
  void record_event(EventId event, bool with_time) override;
  void wait_event(EventId event) override;
  void free_event(EventId event) override;
  void query_event(protocol::Token token, EventId event) override;
  void synchronize_event(protocol::Token token, EventId event) override;
  void elapsed_time(protocol::Token token, EventId start, EventId end) override;
  void record_stream(TensorId id, std::uint32_t stream) override;
  void get_memory_statistics(protocol::Token token) override;
  void reset_peak_memory() override;
  void empty_cache() override;

  const Plan& plan_of(std::uint32_t number, std::span<const std::byte> values,
                      bool describes) const;
  SharedFailure inherited_failure(const Plan& plan, std::span<const std::byte> values) const;
  void mark_results(const Plan& plan, std::span<const std::byte> values,
                    const SharedFailure& failure);
  SharedFailure current_failure(const Plan* plan) const;
  bool move_failure(TensorId id, TensorId new_id);
  void fail_reply(protocol::Token token, const char* what);
  template <typename Action>
  void answer(protocol::Token token, const char* what, Action action);
  void check_storage_size(std::uint64_t size_bytes) const;
  template <typename Action>
  void attempt(std::optional<TensorId> id, const char* what, Action action);
  void read_frames(protocol::Token token, TensorId id, std::uint64_t offset_bytes,
                   std::uint64_t size_bytes);

  zmq::socket_t socket_;
  ExecutorFactory factory_;
  std::uint64_t epoch_;
  std::shared_ptr<const std::atomic<bool>> abandoned_;
  std::unique_ptr<Executor> executor_;
  protocol::Limits limits_;
  std::uint64_t session_ = 0;
  bool ended_ = false;

  transport::SequenceGate gate_;
  transport::ReplayWindow window_;
  std::uint64_t acknowledged_ = 0;
  bool asked_for_replay_ = false;

  const transport::Message* message_ = nullptr;  // the one being executed
  std::size_t next_payload_ = 0;
  protocol::ReplyWriter replies_;
  std::vector<zmq::message_t> reply_payload_;
  std::size_t reply_payload_size_bytes_ = 0;

  std::uint64_t operation_ = 0;
  std::vector<Operator> operators_;
  std::vector<std::optional<Plan>> plans_;
  std::unordered_map<TensorId, SharedFailure> failed_;
};

}  // namespace torch_remote::executor
