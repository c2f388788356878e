// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/protocol/replies.h"

#include <utility>

namespace torch_remote::protocol {
namespace {

constexpr std::size_t kMessageSizeBytesMax = 64 * 1024;

void put_failure(ByteWriter& writer, const Failure& failure) {
  writer.put(failure.operation);
  writer.put(failure.kind);
  writer.put_string(std::string_view(failure.operator_name).substr(0, kNameSizeBytesMax));
  writer.put_string(std::string_view(failure.message).substr(0, kMessageSizeBytesMax));
}

Failure get_failure(ByteReader& reader) {
  Failure failure;
  failure.operation = reader.get<std::uint64_t>();
  failure.kind = reader.get<ErrorKind>();
  if (failure.kind > ErrorKind::kAccelerator) throw ProtocolError("unknown error kind");
  failure.operator_name = reader.get_string(kNameSizeBytesMax);
  failure.message = reader.get_string(kMessageSizeBytesMax);
  return failure;
}

void put_output(ByteWriter& writer, const DescribedOutput& output) {
  using Kind = DescribedOutput::Kind;
  writer.put(output.kind);
  switch (output.kind) {
    case Kind::kTensor: {
      const TensorLayout& layout = output.layout;
      put_layout(writer, layout.dtype, layout.flags, layout.sizes, layout.strides);
      writer.put(output.storage_size_bytes);
      break;
    }
    case Kind::kSparseTensor:
      put_sparse_layout(writer, output.sparse);
      break;
    case Kind::kInteger:
      writer.put(output.integer);
      break;
    case Kind::kBoolean:
      writer.put(static_cast<std::uint8_t>(output.integer));
      break;
    case Kind::kDouble:
      writer.put(output.number);
      break;
    default:
      break;
  }
}

DescribedOutput get_output(ByteReader& reader) {
  using Kind = DescribedOutput::Kind;
  DescribedOutput output;
  output.kind = reader.get<Kind>();
  switch (output.kind) {
    case Kind::kUndefined:
    case Kind::kListBegin:
    case Kind::kListEnd:
    case Kind::kKeptComponent:
      break;
    case Kind::kSparseTensor:
      output.sparse = get_sparse_layout(reader);
      break;
    case Kind::kTensor:
      output.layout = get_layout(reader);
      output.storage_size_bytes = reader.get<std::uint64_t>();
      if (output.storage_size_bytes > kStorageSizeBytesMax ||
          output.storage_size_bytes < extent_size_bytes(output.layout)) {
        throw ProtocolError("a described tensor does not fit its storage");
      }
      break;
    case Kind::kInteger:
      output.integer = reader.get<std::int64_t>();
      break;
    case Kind::kBoolean:
      output.integer = reader.get<std::uint8_t>() != 0;
      break;
    case Kind::kDouble:
      output.number = reader.get<double>();
      break;
    default:
      throw ProtocolError("unknown described output");
  }
  return output;
}

// Follows where in a list, or a sparse tensor, the next output stands.
class OutputGrammar {
 public:
  void take(const DescribedOutput& output) {
    using Kind = DescribedOutput::Kind;
    const bool is_component = output.kind == Kind::kTensor || output.kind == Kind::kKeptComponent;
    if (components_left_ != 0) {
      if (!is_component) throw ProtocolError("a described sparse tensor lacks a component");
      --components_left_;
      return;
    }
    if (output.kind == Kind::kKeptComponent)
      throw ProtocolError("a described component belongs to no sparse tensor");
    if (output.kind == Kind::kSparseTensor) components_left_ = component_count(output.sparse.kind);
    const bool begins = output.kind == Kind::kListBegin;
    const bool ends = output.kind == Kind::kListEnd;
    if (is_in_list_ ? begins : ends)
      throw ProtocolError("a described list begins or ends where it can't");
    is_in_list_ = begins || (is_in_list_ && !ends);
  }
  void end() const {
    if (is_in_list_) throw ProtocolError("a described list has no end");
    if (components_left_ != 0) throw ProtocolError("a described sparse tensor lacks a component");
  }

 private:
  bool is_in_list_ = false;
  std::size_t components_left_ = 0;
};

std::vector<DescribedOutput> get_outputs(ByteReader& reader) {
  const auto count = reader.get_count<std::uint32_t>(1, kListElementsMax, "described outputs");
  std::vector<DescribedOutput> outputs;
  outputs.reserve(count);
  OutputGrammar grammar;
  for (std::size_t i = 0; i < count; ++i) {
    outputs.push_back(get_output(reader));
    grammar.take(outputs.back());
  }
  grammar.end();
  return outputs;
}

Numbers get_numbers(ByteReader& reader) {
  const auto count = reader.get_count<std::uint32_t>(12, kListElementsMax, "numbers");
  Numbers numbers;
  for (std::size_t i = 0; i < count; ++i) {
    std::string name(reader.get_string(kNameSizeBytesMax));
    numbers.insert_or_assign(std::move(name), reader.get<std::int64_t>());
  }
  return numbers;
}

void handle_bytes(ByteReader& reader, Token token, ReplyHandler& handler) {
  const auto frames = reader.get<std::uint32_t>();
  const auto size_bytes = reader.get<std::uint64_t>();
  if (frames == 0) return handler.bytes(token, reader.take(size_bytes));
  if (frames > kPayloadFramesMax) throw ProtocolError("too many payload frames");
  handler.byte_frames(token, size_bytes, frames);
}

}  // namespace

void for_each_reply(std::span<const std::byte> batch, ReplyHandler& handler) {
  ByteReader reader(batch);
  while (!reader.empty()) {
    const auto kind = reader.get<ReplyKind>();
    if (kind == ReplyKind::kFailure) {
      handler.failure(get_failure(reader));
      continue;
    }
    const auto token = reader.get<Token>();
    switch (kind) {
      case ReplyKind::kBytes:
        handle_bytes(reader, token, handler);
        break;
      case ReplyKind::kOutputs:
        handler.outputs(token, get_outputs(reader));
        break;
      case ReplyKind::kGeneratorState: {
        const auto state = reader.get_string(kHelloSizeBytesMax);
        handler.generator_state(token, std::as_bytes(std::span(state)));
        break;
      }
      case ReplyKind::kSynchronized:
        handler.synchronized(token);
        break;
      case ReplyKind::kFailed:
        handler.failed(token, get_failure(reader));
        break;
      case ReplyKind::kNumbers:
        handler.numbers(token, get_numbers(reader));
        break;
      default:
        throw ProtocolError("unknown reply kind " + std::to_string(static_cast<int>(kind)));
    }
  }
}

void ReplyWriter::failure(const Failure& failure) {
  writer_.put(ReplyKind::kFailure);
  put_failure(writer_, failure);
}

void ReplyWriter::bytes(Token token, std::span<const std::byte> bytes) {
  byte_frames(token, bytes.size(), 0);
  writer_.put_bytes(bytes);
}

void ReplyWriter::byte_frames(Token token, std::uint64_t size_bytes, std::uint32_t frames) {
  writer_.put(ReplyKind::kBytes);
  writer_.put(token);
  writer_.put(frames);
  writer_.put(size_bytes);
}

void ReplyWriter::outputs(Token token, std::span<const DescribedOutput> outputs) {
  writer_.put(ReplyKind::kOutputs);
  writer_.put(token);
  writer_.put(static_cast<std::uint32_t>(outputs.size()));
  for (const DescribedOutput& output : outputs) put_output(writer_, output);
}

void ReplyWriter::generator_state(Token token, std::span<const std::byte> state) {
  writer_.put(ReplyKind::kGeneratorState);
  writer_.put(token);
  writer_.put_string({reinterpret_cast<const char*>(state.data()), state.size()});
}

void ReplyWriter::synchronized(Token token) {
  writer_.put(ReplyKind::kSynchronized);
  writer_.put(token);
}

void ReplyWriter::failed(Token token, const Failure& failure) {
  writer_.put(ReplyKind::kFailed);
  writer_.put(token);
  put_failure(writer_, failure);
}

void ReplyWriter::numbers(Token token, const Numbers& numbers) {
  writer_.put(ReplyKind::kNumbers);
  writer_.put(token);
  writer_.put(static_cast<std::uint32_t>(numbers.size()));
  for (const auto& [name, value] : numbers) {
    writer_.put_string(name);
    writer_.put(value);
  }
}

}  // namespace torch_remote::protocol
