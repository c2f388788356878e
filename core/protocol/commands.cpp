// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/protocol/commands.h"

#include <algorithm>
#include <string>

namespace torch_remote::protocol {
namespace {

constexpr std::uint32_t make_head(CommandKind kind, std::size_t size_bytes) {
  return static_cast<std::uint32_t>(kind) | static_cast<std::uint32_t>(size_bytes / 4) << 8;
}

void handle_free(ByteReader& reader, CommandHandler& handler) {
  reader.get<std::uint32_t>();
  while (!reader.empty()) handler.free(reader.get<TensorId>());
}

// Names come back in failures, which people read.
std::string get_name(ByteReader& reader) {
  std::string name(reader.get_string(kNameSizeBytesMax));
  const auto is_printable = [](char character) { return character > ' ' && character <= '~'; };
  if (!std::ranges::all_of(name, is_printable))
    throw ProtocolError("an operator's name has other characters than printable ASCII");
  return name;
}

void handle_define_operator(ByteReader& reader, CommandHandler& handler) {
  const auto number = reader.get<std::uint32_t>();
  const auto schema_hash = reader.get<std::uint64_t>();
  const std::string name = get_name(reader);
  handler.define_operator(number, schema_hash, name, get_name(reader));
}

void handle_call_and_describe(ByteReader& reader, CommandHandler& handler) {
  const auto plan = reader.get<std::uint32_t>();
  const auto token = reader.get<Token>();
  const auto first_output_id = reader.get<TensorId>();
  handler.call_and_describe(plan, token, first_output_id, reader.take(reader.size()));
}

// The range that write, read and their like name; its end can't overflow after this check.
struct Range {
  TensorId id;
  std::uint64_t offset_bytes;
  std::uint64_t size_bytes;
};

Range get_range(ByteReader& reader) {
  const Range range{.id = reader.get<TensorId>(),
                    .offset_bytes = reader.get<std::uint64_t>(),
                    .size_bytes = reader.get<std::uint64_t>()};
  if (range.offset_bytes > kStorageSizeBytesMax || range.size_bytes > kStorageSizeBytesMax) {
    throw ProtocolError("range beyond the largest storage");
  }
  return range;
}

std::uint64_t get_storage_size(ByteReader& reader) {
  const auto size_bytes = reader.get<std::uint64_t>();
  if (size_bytes > kStorageSizeBytesMax) throw ProtocolError("size beyond the largest storage");
  return size_bytes;
}

void handle_write(ByteReader& reader, CommandHandler& handler) {
  reader.get<std::uint32_t>();
  const Range range = get_range(reader);
  handler.write(range.id, range.offset_bytes, reader.take(range.size_bytes));
}

void handle_write_frames(ByteReader& reader, CommandHandler& handler) {
  const auto frames = reader.get<std::uint32_t>();
  const Range range = get_range(reader);
  if (frames > kPayloadFramesMax) throw ProtocolError("too many payload frames");
  handler.write_frames(range.id, range.offset_bytes, range.size_bytes, frames);
}

void handle_resize(ByteReader& reader, CommandHandler& handler) {
  reader.get<std::uint32_t>();
  const auto id = reader.get<TensorId>();
  const auto new_id = reader.get<TensorId>();
  handler.resize(id, new_id, get_storage_size(reader));
}

void handle_set_generator_state(ByteReader& reader, CommandHandler& handler) {
  reader.get<std::uint32_t>();
  const auto generator = reader.get<std::uint64_t>();
  const auto state = reader.get_string(kHelloSizeBytesMax);
  handler.set_generator_state(generator, std::as_bytes(std::span(state)));
}

std::uint32_t get_stream(ByteReader& reader) {
  const auto stream = reader.get<std::uint32_t>();
  if (stream > kStreamMax) throw ProtocolError("stream number beyond the limit");
  return stream;
}

constexpr std::uint32_t kEventWithTime = 1;

// Streams, events and memory.
void handle_device_command(CommandKind kind, ByteReader& reader, CommandHandler& handler) {
  switch (kind) {
    case CommandKind::kUseStream:
      return handler.use_stream(get_stream(reader));
    case CommandKind::kRecordEvent: {
      const auto flags = reader.get<std::uint32_t>();
      return handler.record_event(reader.get<EventId>(), (flags & kEventWithTime) != 0);
    }
    case CommandKind::kWaitEvent:
      reader.get<std::uint32_t>();
      return handler.wait_event(reader.get<EventId>());
    case CommandKind::kFreeEvent:
      reader.get<std::uint32_t>();
      return handler.free_event(reader.get<EventId>());
    case CommandKind::kQueryEvent: {
      const auto token = reader.get<Token>();
      return handler.query_event(token, reader.get<EventId>());
    }
    case CommandKind::kSynchronizeEvent: {
      const auto token = reader.get<Token>();
      return handler.synchronize_event(token, reader.get<EventId>());
    }
    case CommandKind::kElapsedTime: {
      const auto token = reader.get<Token>();
      const auto start = reader.get<EventId>();
      return handler.elapsed_time(token, start, reader.get<EventId>());
    }
    case CommandKind::kRecordStream: {
      const std::uint32_t stream = get_stream(reader);
      return handler.record_stream(reader.get<TensorId>(), stream);
    }
    case CommandKind::kGetMemoryStatistics:
      return handler.get_memory_statistics(reader.get<Token>());
    case CommandKind::kResetPeakMemory:
      return handler.reset_peak_memory();
    case CommandKind::kEmptyCache:
      return handler.empty_cache();
    default:
      throw ProtocolError("unknown command kind " + std::to_string(static_cast<int>(kind)));
  }
}

void handle_command(CommandKind kind, ByteReader reader, CommandHandler& handler) {
  switch (kind) {
    case CommandKind::kCall: {
      const auto plan = reader.get<std::uint32_t>();
      return handler.call(plan, reader.take(reader.size()));
    }
    case CommandKind::kFree:
      return handle_free(reader, handler);
    case CommandKind::kDefineOperator:
      return handle_define_operator(reader, handler);
    case CommandKind::kDefinePlan:
      return handler.define_plan(get_plan(reader));
    case CommandKind::kCallAndDescribe:
      return handle_call_and_describe(reader, handler);
    case CommandKind::kAllocate: {
      reader.get<std::uint32_t>();
      const auto size_bytes = get_storage_size(reader);
      return handler.allocate(reader.get<TensorId>(), size_bytes);
    }
    case CommandKind::kWrite:
      return handle_write(reader, handler);
    case CommandKind::kWriteFrames:
      return handle_write_frames(reader, handler);
    case CommandKind::kRead: {
      const auto token = reader.get<Token>();
      const Range range = get_range(reader);
      return handler.read(token, range.id, range.offset_bytes, range.size_bytes);
    }
    case CommandKind::kResize:
      return handle_resize(reader, handler);
    case CommandKind::kRename: {
      reader.get<std::uint32_t>();
      const auto id = reader.get<TensorId>();
      return handler.rename(id, reader.get<TensorId>());
    }
    case CommandKind::kSeed: {
      reader.get<std::uint32_t>();
      const auto generator = reader.get<std::uint64_t>();
      return handler.seed(generator, reader.get<std::uint64_t>());
    }
    case CommandKind::kGetGeneratorState: {
      const auto token = reader.get<Token>();
      return handler.get_generator_state(token, reader.get<std::uint64_t>());
    }
    case CommandKind::kSetGeneratorState:
      return handle_set_generator_state(reader, handler);
    case CommandKind::kSynchronize:
      return handler.synchronize(reader.get<Token>());
    default:
      return handle_device_command(kind, reader, handler);
  }
}

}  // namespace

void for_each_command(std::span<const std::byte> batch, CommandHandler& handler) {
  ByteReader reader(batch);
  while (!reader.empty()) {
    const auto head = reader.get<std::uint32_t>();
    const std::size_t size_bytes = std::size_t{head >> 8} * 4;
    if (size_bytes < sizeof(head)) throw ProtocolError("a command has at least its head");
    handle_command(static_cast<CommandKind>(head & 0xFF),
                   ByteReader(reader.take(size_bytes - sizeof(head))), handler);
  }
}

void CommandWriter::head(CommandKind kind, std::size_t size_bytes) {
  last_free_ = kNoFree;
  writer_.put(make_head(kind, size_bytes));
}

std::size_t CommandWriter::begin() {
  last_free_ = kNoFree;
  const std::size_t position = writer_.size();
  writer_.put(std::uint32_t{0});
  return position;
}

void CommandWriter::end(CommandKind kind, std::size_t position) {
  writer_.pad_to_word();
  writer_.overwrite(position, make_head(kind, writer_.size() - position));
}

void CommandWriter::define_operator(std::uint32_t number, std::uint64_t schema_hash,
                                    std::string_view name, std::string_view overload) {
  const std::size_t position = begin();
  writer_.put(number);
  writer_.put(schema_hash);
  writer_.put_string(name);
  writer_.put_string(overload);
  end(CommandKind::kDefineOperator, position);
}

void CommandWriter::define_plan(std::span<const std::byte> definition) {
  const std::size_t position = begin();
  writer_.put_bytes(definition);
  end(CommandKind::kDefinePlan, position);
}

std::byte* CommandWriter::call(std::uint32_t plan, std::size_t values_size_bytes) {
  last_free_ = kNoFree;
  const std::uint32_t words[2] = {make_head(CommandKind::kCall, 8 + values_size_bytes), plan};
  std::byte* place = writer_.extend(sizeof(words) + values_size_bytes);
  std::memcpy(place, words, sizeof(words));
  return place + sizeof(words);
}

std::byte* CommandWriter::call_and_describe(std::uint32_t plan, Token token,
                                            TensorId first_output_id,
                                            std::size_t values_size_bytes) {
  head(CommandKind::kCallAndDescribe, 20 + values_size_bytes);
  writer_.put(plan);
  writer_.put(token);
  writer_.put(first_output_id);
  return writer_.extend(values_size_bytes);
}

void CommandWriter::allocate(TensorId id, std::uint64_t size_bytes) {
  head(CommandKind::kAllocate, 24);
  writer_.put(std::uint32_t{0});
  writer_.put(size_bytes);
  writer_.put(id);
}

void CommandWriter::free(TensorId id) {
  constexpr std::size_t kFreeSizeBytesMax = 4096;
  if (last_free_ == kNoFree || writer_.size() - last_free_ > kFreeSizeBytesMax) {
    const std::size_t position = begin();
    writer_.put(std::uint32_t{0});
    last_free_ = position;
  }
  writer_.put(id);
  writer_.overwrite(last_free_, make_head(CommandKind::kFree, writer_.size() - last_free_));
}

void CommandWriter::write(TensorId id, std::uint64_t offset_bytes,
                          std::span<const std::byte> bytes) {
  const std::size_t position = begin();
  writer_.put(std::uint32_t{0});
  writer_.put(id);
  writer_.put(offset_bytes);
  writer_.put(std::uint64_t{bytes.size()});
  writer_.put_bytes(bytes);
  end(CommandKind::kWrite, position);
}

void CommandWriter::write_frames(TensorId id, std::uint64_t offset_bytes, std::uint64_t size_bytes,
                                 std::uint32_t frames) {
  head(CommandKind::kWriteFrames, 32);
  writer_.put(frames);
  writer_.put(id);
  writer_.put(offset_bytes);
  writer_.put(size_bytes);
}

void CommandWriter::read(Token token, TensorId id, std::uint64_t offset_bytes,
                         std::uint64_t size_bytes) {
  head(CommandKind::kRead, 32);
  writer_.put(token);
  writer_.put(id);
  writer_.put(offset_bytes);
  writer_.put(size_bytes);
}

void CommandWriter::resize(TensorId id, TensorId new_id, std::uint64_t size_bytes) {
  head(CommandKind::kResize, 32);
  writer_.put(std::uint32_t{0});
  writer_.put(id);
  writer_.put(new_id);
  writer_.put(size_bytes);
}

void CommandWriter::rename(TensorId id, TensorId new_id) {
  head(CommandKind::kRename, 24);
  writer_.put(std::uint32_t{0});
  writer_.put(id);
  writer_.put(new_id);
}

void CommandWriter::seed(std::uint64_t generator, std::uint64_t seed) {
  head(CommandKind::kSeed, 24);
  writer_.put(std::uint32_t{0});
  writer_.put(generator);
  writer_.put(seed);
}

void CommandWriter::get_generator_state(Token token, std::uint64_t generator) {
  head(CommandKind::kGetGeneratorState, 16);
  writer_.put(token);
  writer_.put(generator);
}

void CommandWriter::set_generator_state(std::uint64_t generator, std::span<const std::byte> state) {
  const std::size_t position = begin();
  writer_.put(std::uint32_t{0});
  writer_.put(generator);
  writer_.put_string({reinterpret_cast<const char*>(state.data()), state.size()});
  end(CommandKind::kSetGeneratorState, position);
}

void CommandWriter::synchronize(Token token) {
  head(CommandKind::kSynchronize, 8);
  writer_.put(token);
}

void CommandWriter::use_stream(std::uint32_t stream) {
  head(CommandKind::kUseStream, 8);
  writer_.put(stream);
}

void CommandWriter::put_event(CommandKind kind, std::uint32_t first, EventId event) {
  head(kind, 16);
  writer_.put(first);
  writer_.put(event);
}

void CommandWriter::record_event(EventId event, bool with_time) {
  put_event(CommandKind::kRecordEvent, with_time ? kEventWithTime : 0, event);
}

void CommandWriter::wait_event(EventId event) { put_event(CommandKind::kWaitEvent, 0, event); }

void CommandWriter::free_event(EventId event) { put_event(CommandKind::kFreeEvent, 0, event); }

void CommandWriter::query_event(Token token, EventId event) {
  put_event(CommandKind::kQueryEvent, token, event);
}

void CommandWriter::synchronize_event(Token token, EventId event) {
  put_event(CommandKind::kSynchronizeEvent, token, event);
}

void CommandWriter::elapsed_time(Token token, EventId start, EventId end) {
  head(CommandKind::kElapsedTime, 24);
  writer_.put(token);
  writer_.put(start);
  writer_.put(end);
}

void CommandWriter::record_stream(TensorId id, std::uint32_t stream) {
  head(CommandKind::kRecordStream, 16);
  writer_.put(stream);
  writer_.put(id);
}

void CommandWriter::get_memory_statistics(Token token) {
  head(CommandKind::kGetMemoryStatistics, 8);
  writer_.put(token);
}

void CommandWriter::reset_peak_memory() { head(CommandKind::kResetPeakMemory, 4); }

void CommandWriter::empty_cache() { head(CommandKind::kEmptyCache, 4); }

void CommandWriter::clear() {
  writer_.clear();
  last_free_ = kNoFree;
}

}  // namespace torch_remote::protocol
