// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Frame 1 of a kCommands message: commands in program order, each a multiple of four bytes.
//
//   command := head:u32 ...   head = kind | words << 8; words counts the command's 4-byte words
//   with head
//
//   define operator   number:u32 schema_hash:u64 name:string overload:string pad
//   define plan       definition pad                                        (core/protocol/plan.h)
//   call              plan:u32 values
//   call and describe plan:u32 token:u32 first_output_id:u64 values
//   allocate          size_bytes:u64 id:u64     (head word, u32 zero, then these)
//   free              u32 zero, id:u64 *
//   write             id:u64 offset_bytes:u64 size_bytes:u64 bytes pad
//   write frames      frames:u32 id:u64 offset_bytes:u64 size_bytes:u64     bytes in payload frames
//   read              token:u32 id:u64 offset_bytes:u64 size_bytes:u64
//   resize            u32 zero, id:u64 new_id:u64 size_bytes:u64            keeps the common prefix
//   rename            u32 zero, id:u64 new_id:u64
//   seed              u32 zero, generator:u64 seed:u64
//   get generator     token:u32 generator:u64
//   set generator     u32 zero, generator:u64 state:string pad
//   synchronize       token:u32
//   use stream        stream:u32
//   record event      flags:u32 event:u64                                   1: with its time
//   wait event        u32 zero, event:u64
//   free event        u32 zero, event:u64
//   query event       token:u32 event:u64
//   synchronize event token:u32 event:u64
//   elapsed time      token:u32 start:u64 end:u64
//   record stream     stream:u32 id:u64
//   get memory        token:u32
//   reset peak memory, empty cache                                          nothing
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "core/protocol/bytes.h"
#include "core/protocol/plan.h"
#include "core/protocol/wire.h"

namespace torch_remote::protocol {

using TensorId = std::uint64_t;
using Token = std::uint32_t;
using EventId = std::uint64_t;

// Appends commands to a batch. Not thread-safe; checks nothing, since its caller makes the values.
class CommandWriter {
 public:
  void define_operator(std::uint32_t number, std::uint64_t schema_hash, std::string_view name,
                       std::string_view overload);
  // definition holds what put_plan or an equivalent wrote.
  void define_plan(std::span<const std::byte> definition);
  // Appends a call with room for values_size_bytes (a multiple of 4) and returns where they go;
  // the pointer is valid until the next append.
  std::byte* call(std::uint32_t plan, std::size_t values_size_bytes);
  std::byte* call_and_describe(std::uint32_t plan, Token token, TensorId first_output_id,
                               std::size_t values_size_bytes);
  void allocate(TensorId id, std::uint64_t size_bytes);
  // Frees that follow each other share one command.
  void free(TensorId id);
  void write(TensorId id, std::uint64_t offset_bytes, std::span<const std::byte> bytes);
  void write_frames(TensorId id, std::uint64_t offset_bytes, std::uint64_t size_bytes,
                    std::uint32_t frames);
  void read(Token token, TensorId id, std::uint64_t offset_bytes, std::uint64_t size_bytes);
  void resize(TensorId id, TensorId new_id, std::uint64_t size_bytes);
  void rename(TensorId id, TensorId new_id);
  void seed(std::uint64_t generator, std::uint64_t seed);
  void get_generator_state(Token token, std::uint64_t generator);
  void set_generator_state(std::uint64_t generator, std::span<const std::byte> state);
  void synchronize(Token token);
  void use_stream(std::uint32_t stream);
  void record_event(EventId event, bool with_time);
  void wait_event(EventId event);
  void free_event(EventId event);
  void query_event(Token token, EventId event);
  void synchronize_event(Token token, EventId event);
  void elapsed_time(Token token, EventId start, EventId end);
  void record_stream(TensorId id, std::uint32_t stream);
  void get_memory_statistics(Token token);
  void reset_peak_memory();
  void empty_cache();

  void clear();
  bool empty() const { return writer_.empty(); }
  std::size_t size_bytes() const { return writer_.size(); }
  std::span<const std::byte> bytes() const { return writer_.bytes(); }

 private:
  void head(CommandKind kind, std::size_t size_bytes);
  void put_event(CommandKind kind, std::uint32_t first, EventId event);
  std::size_t begin();
  void end(CommandKind kind, std::size_t position);

  ByteWriter writer_;
  std::size_t last_free_ = kNoFree;  // where the head of a free stands that is the last command
  static constexpr std::size_t kNoFree = ~std::size_t{0};
};

// Receives the commands of a batch in order; core/executor/worker.cpp is the one that executes
// them. Spans and views are valid during the call.
class CommandHandler {
 public:
  virtual ~CommandHandler() = default;
  virtual void define_operator(std::uint32_t number, std::uint64_t schema_hash,
                               std::string_view name, std::string_view overload) = 0;
  virtual void define_plan(PlanDefinition definition) = 0;
  virtual void call(std::uint32_t plan, std::span<const std::byte> values) = 0;
  virtual void call_and_describe(std::uint32_t plan, Token token, TensorId first_output_id,
                                 std::span<const std::byte> values) = 0;
  virtual void allocate(TensorId id, std::uint64_t size_bytes) = 0;
  virtual void free(TensorId id) = 0;
  virtual void write(TensorId id, std::uint64_t offset_bytes, std::span<const std::byte> bytes) = 0;
  virtual void write_frames(TensorId id, std::uint64_t offset_bytes, std::uint64_t size_bytes,
                            std::uint32_t frames) = 0;
  virtual void read(Token token, TensorId id, std::uint64_t offset_bytes,
                    std::uint64_t size_bytes) = 0;
  virtual void resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) = 0;
  virtual void rename(TensorId id, TensorId new_id) = 0;
  virtual void seed(std::uint64_t generator, std::uint64_t seed) = 0;
  virtual void get_generator_state(Token token, std::uint64_t generator) = 0;
  virtual void set_generator_state(std::uint64_t generator, std::span<const std::byte> state) = 0;
  virtual void synchronize(Token token) = 0;
  virtual void use_stream(std::uint32_t stream) = 0;
  virtual void record_event(EventId event, bool with_time) = 0;
  virtual void wait_event(EventId event) = 0;
  virtual void free_event(EventId event) = 0;
  virtual void query_event(Token token, EventId event) = 0;
  virtual void synchronize_event(Token token, EventId event) = 0;
  virtual void elapsed_time(Token token, EventId start, EventId end) = 0;
  virtual void record_stream(TensorId id, std::uint32_t stream) = 0;
  virtual void get_memory_statistics(Token token) = 0;
  virtual void reset_peak_memory() = 0;
  virtual void empty_cache() = 0;
};

// Throws ProtocolError at the first malformed command; the ones before it have been handled.
void for_each_command(std::span<const std::byte> batch, CommandHandler& handler);

}  // namespace torch_remote::protocol
