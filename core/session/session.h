// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The client's half of a session: program order, batches, what is in flight, and the waits for what
// is read. Free of torch: core/client puts PyTorch's operations in through a Turn.
//
// Threads: any number may use a session. A Turn holds the session's lock, so the commands that one
// Turn appends stay together, and all threads' commands form one program order. Whoever waits
// receives for everybody: there is no receiving thread to hand over to, which halves the latency of
// a read. A keeper thread sends what lies around, and keeps the connection; a channel that answers
// at once (core/transport/channel.h) needs none.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <unordered_map>
#include <vector>

#include "core/protocol/commands.h"
#include "core/protocol/replies.h"
#include "core/session/link.h"
#include "core/session/observer.h"
#include "core/session/tensor_ids.h"
#include "core/session/wait_policy.h"

namespace torch_remote::session {

using protocol::EventId;

struct SessionOptions {
  unsigned device = 0;  // 0-15, part of every tensor id
  protocol::Hello hello{};
  LinkTimeouts timeouts{};
  std::shared_ptr<WaitPolicy> wait_policy = std::make_shared<WaitPolicy>();
};

struct SessionStatistics {
  std::uint64_t operations = 0;
  std::uint64_t plans = 0;        // definitions sent
  std::uint64_t round_trips = 0;  // waits for a reply
  std::uint64_t bytes_sent = 0;
  std::uint64_t bytes_received = 0;
  std::uint64_t storages = 0;  // alive
  std::uint64_t storages_peak = 0;
  std::uint64_t storages_total = 0;    // ever made
  std::uint64_t refused_storages = 0;  // by an observer: out of memory
  std::uint64_t allocated_bytes = 0;
  std::uint64_t allocated_bytes_peak = 0;
  std::uint64_t allocated_bytes_total = 0;
};

class Session {
 public:
  class Turn;

  // Opens the session: waits for the executor's welcome. Throws ConnectError.
  Session(std::unique_ptr<transport::Channel> channel, const std::string& endpoint,
          std::uint64_t session_id, SessionOptions options);
  Session(const Session&) = delete;
  Session& operator=(const Session&) = delete;
  // Ends the session as close() does.
  ~Session();

  // Sends what is left, waits a little for what is still under way, says goodbye, and gives back
  // the connection. Later turns throw SessionLost, later frees only count. Returns the failures
  // that nothing ever read.
  std::vector<protocol::Failure> close() noexcept;

  // Takes the lock, after waiting for room while too much is in flight. What the turn appends is
  // done in the order of the stream. Throws SessionLost.
  Turn turn(std::uint32_t stream = 0);

  // Drops a storage. Never waits and never throws: it runs inside destructors.
  void free(TensorId id, std::uint64_t size_bytes) noexcept;

  // Reads destination.size() bytes of a storage from offset_bytes on. One round trip.
  // Throws OperationError when the operation that made them failed.
  // The last two are for the observer: location as in Turn::call(), and whether the program's
  // memory is page-locked. Returns when the copy happened by the observer's clock, if it has one.
  // So below.
  std::optional<ModelledSpan> read(TensorId id, std::uint64_t offset_bytes,
                                   std::span<std::byte> destination, std::uint32_t stream = 0,
                                   std::uint32_t location = 0, bool is_pinned = false);

  // Copies bytes into a storage; returns when the source may be changed.
  std::optional<ModelledSpan> write(TensorId id, std::uint64_t offset_bytes,
                                    std::span<const std::byte> source, std::uint32_t stream = 0,
                                    std::uint32_t location = 0, bool is_pinned = false);

  // The same without waiting, and without a copy of the bytes here. Whatever waits for the executor
  // after this call (synchronize, synchronize_event, query_event, another read) returns after
  // destination was written or source was taken. Until then the memory has to stay as it is, which
  // is what hold is for: its last copy is dropped afterwards, on any thread and under any lock. A
  // read that fails is told by the next synchronize. Both wait while too much is in flight.
  std::optional<ModelledSpan> read_later(TensorId id, std::uint64_t offset_bytes,
                                         std::span<std::byte> destination,
                                         const std::shared_ptr<void>& hold,
                                         std::uint32_t stream = 0, std::uint32_t location = 0);
  std::optional<ModelledSpan> write_later(TensorId id, std::uint64_t offset_bytes,
                                          std::span<const std::byte> source,
                                          const std::shared_ptr<void>& hold,
                                          std::uint32_t stream = 0, std::uint32_t location = 0);

  // Waits until everything is executed, on all streams; throws the first failure that nobody has
  // seen yet.
  void synchronize();
  // The same, but failures are left for whoever asks next.
  void settle();

  // Events have the caller's numbers. Never waits and never throws.
  void free_event(EventId event) noexcept;
  // One round trip each. Throw OperationError, for an event that was never recorded too.
  bool query_event(EventId event);
  // Waits until what the event stands for is computed; throws as synchronize() does.
  void synchronize_event(EventId event);
  double elapsed_time_ms(EventId start, EventId end);

  // The executor's allocator, by PyTorch's names; empty where it has none. One round trip.
  protocol::Numbers memory_statistics();
  // The same by the observer, without one; nothing where none models memory.
  std::optional<protocol::Numbers> modelled_memory_statistics();
  // Of the observer; false where none models memory.
  bool reset_accumulated_memory();
  // By the observer's clock, without a round trip; nothing where none models time.
  std::optional<ModelledTime> modelled_time();

  std::vector<std::byte> generator_state(std::uint64_t generator);

  // At most once, before the first command.
  void set_observer(std::shared_ptr<SessionObserver> observer);
  std::shared_ptr<SessionObserver> observer();  // null where none was set
  // Calls a function while the observer sees no command: what else it offers is not thread-safe.
  template <typename Function>
  decltype(auto) with_observer_at_rest(Function function) {
    const std::lock_guard lock(mutex_);
    return function();
  }
  const protocol::Welcome& welcome() const { return link_.welcome(); }
  SessionStatistics statistics();
  // Here and on the executor.
  void reset_peak();
  void empty_cache();

 private:
  struct Pending;
  class Replies;
  using Lock = std::unique_lock<std::mutex>;

  template <typename Done>
  void wait_until(Lock& lock, Done done);
  void wait_slice(Lock& lock);
  void wait_for_room(Lock& lock);
  void wait_for_reply(Lock& lock, Pending& pending);
  void wait_for_the_rest(Lock& lock);
  void wait_for_room_to_read(Lock& lock, std::uint64_t size_bytes);
  template <typename MakeFrame>
  std::optional<ModelledSpan> write_parts(const ObservedCopy& copy,
                                          std::span<const std::byte> source, MakeFrame make_frame);
  template <typename Append>
  void request(Pending& pending, Lock& lock, Append append);
  protocol::Token expect_later(std::span<std::byte> destination,
                               std::function<void(Pending&)> when_done);
  template <typename Append>
  void append_quietly(Append append) noexcept;
  void use_stream(std::uint32_t stream);
  bool has_room() const;
  void check_alive() const;
  void end_session(const std::string& reason);
  void release() noexcept;
  void flush();
  void flush_if_worthwhile();
  void receive();
  void keep();
  TensorId reserve_id(std::uint64_t size_bytes);
  void count_storage(std::uint64_t size_bytes);
  TensorId acquire_storage(std::uint64_t size_bytes, std::uint32_t location);
  void admit_call(std::uint32_t plan, std::uint32_t location, std::span<const std::byte> values,
                  std::span<const NewStorage> outputs);
  void refuse(std::span<const NewStorage> storages) noexcept;
  std::optional<ModelledSpan> observe(const ObservedCopy& copy);
  std::optional<ModelledSpan> last_span();
  std::optional<double> modelled_time_ms(EventId start, EventId end);
  void release_storage(TensorId id, std::uint64_t size_bytes) noexcept;
  void keep_location(std::uint64_t operation);
  std::uint32_t location_of(std::uint64_t operation) const;
  void note_unseen(const protocol::Failure& failure);
  [[noreturn]] void raise(const protocol::Failure& failure);
  void raise_unseen();

  std::mutex mutex_;
  Link link_;
  SessionOptions options_;
  TensorIds ids_;
  std::shared_ptr<SessionObserver> observer_;
  SessionStatistics statistics_;

  protocol::CommandWriter batch_;
  std::vector<zmq::message_t> payload_;
  std::uint64_t payload_size_bytes_ = 0;
  std::uint32_t batch_operations_ = 0;
  std::uint64_t flushes_ = 0;
  std::vector<std::uint32_t> locations_;  // of the operations in flight, by their number
  std::map<std::uint64_t, std::uint32_t> failed_locations_;  // of those that failed

  std::uint32_t stream_ = 0;  // of what is appended

  protocol::Token next_token_ = 0;
  std::unordered_map<protocol::Token, Pending*> pending_;
  // Those that no thread waits for.
  std::unordered_map<protocol::Token, std::unique_ptr<Pending>> later_;
  std::uint64_t read_later_size_bytes_ = 0;  // asked for, and not yet here
  // First ids of described outputs that nobody waits for any more, by the description's token.
  std::unordered_map<protocol::Token, TensorId> abandoned_outputs_;
  std::deque<protocol::Failure> unseen_failures_;
  std::optional<std::string> ended_;  // why, when the session is over

  bool answers_at_once_ = false;  // of the channel: there is no keeper then
  bool somebody_receives_ = false;
  std::condition_variable received_;
  bool keeper_sleeps_ = false;
  bool closing_ = false;
  std::condition_variable keeper_wakes_;
  std::thread keeper_;
};

// The right to append commands, one after another, without other threads' in between. Movable;
// gives the lock back at its end. Short-lived: nothing that may wait or take another lock, Python's
// least of all, belongs inside.
class Session::Turn {
 public:
  Turn(Turn&&) = default;
  Turn& operator=(Turn&&) = delete;
  ~Turn();

  // The id of a storage that the next call will make, for the call's values. Throws
  // std::length_error for more than the executor takes, and when no id is left.
  TensorId reserve_output(std::uint64_t size_bytes) { return session_->reserve_id(size_bytes); }
  // Gives back ids that no call will use.
  void cancel_outputs(std::span<const NewStorage> outputs) noexcept;

  // The id of a storage that resize() or rename() brings to be. Throws as reserve_output() does,
  // and what the observer throws.
  TensorId storage(std::uint64_t size_bytes, std::uint32_t location = 0) {
    return session_->acquire_storage(size_bytes, location);
  }
  // Makes a storage of undefined content. Throws as storage() does.
  TensorId allocate(std::uint64_t size_bytes, std::uint32_t location = 0);

  void define_operator(std::uint32_t number, std::uint64_t schema_hash, std::string_view name,
                       std::string_view overload);
  void define_plan(std::span<const std::byte> definition);

  // location comes back with the failure of this call, should it fail. The outputs are those that
  // were reserved for it. Throws what the observer throws, and then has given them back.
  void call(std::uint32_t plan, std::uint32_t location, std::span<const std::byte> values,
            std::span<const NewStorage> outputs = {});
  // When the last call() happened by the observer's clock; nothing where it has none.
  std::optional<ModelledSpan> modelled_span() const { return session_->last_span(); }
  // Of all storages that are alive.
  std::uint64_t allocated_bytes() const { return session_->statistics_.allocated_bytes; }

  void resize(TensorId id, TensorId new_id, std::uint64_t size_bytes);
  void rename(TensorId provisional, TensorId id);
  void discard(TensorId provisional);
  void seed(std::uint64_t generator, std::uint64_t seed);
  void set_generator_state(std::uint64_t generator, std::span<const std::byte> state);
  void record_event(EventId event, bool with_time);
  void wait_event(EventId event);
  void free_event(EventId event);
  void record_stream(TensorId id, std::uint32_t stream);

  // Asks for the milliseconds from each event to the one behind it, without waiting: result(i) says
  // how many there are between events[i] and events[i + 1], NaN where the executor can't tell. The
  // executor first waits for those of completed. result is called in order, under the session's
  // lock, before any later wait for the executor returns.
  void measure(std::span<const EventId> events, std::span<const EventId> completed,
               std::function<void(std::size_t index, double time_ms)> result);

  // A call whose outputs only the executor can describe: waits for the description, without the
  // lock, which ends this turn. The outputs that are tensors have the ids provisional_id, + 1, ...
  struct Described {
    TensorId provisional_id;
    std::vector<protocol::DescribedOutput> outputs;
    std::optional<ModelledSpan> span{};  // as modelled_span()
  };
  Described call_and_describe(std::uint32_t plan, std::uint32_t location,
                              std::span<const std::byte> values) &&;

 private:
  friend class Session;
  explicit Turn(Session& session, Lock lock) : session_(&session), lock_(std::move(lock)) {}
  void count_operation(std::uint32_t location);

  Session* session_;
  Lock lock_;
};

}  // namespace torch_remote::session
