// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Little-endian writing and checked reading: the only place where wire bytes become values.
#pragma once

#include <bit>
#include <concepts>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace torch_remote::protocol {

static_assert(std::endian::native == std::endian::little,
              "the wire is little-endian; a big-endian port adds the swaps in this file");

// Bytes from the other side that break the protocol; what() says which field and why.
class ProtocolError : public std::runtime_error {
 public:
  using std::runtime_error::runtime_error;
};

template <typename T>
concept WireNumber = std::is_arithmetic_v<T> || std::is_enum_v<T>;

// Appends to a buffer that it owns. clear() keeps the memory, so one writer serves many batches.
class ByteWriter {
 public:
  template <WireNumber T>
  void put(T value) {
    append(&value, sizeof(T));
  }
  void put_bytes(std::span<const std::byte> bytes) { append(bytes.data(), bytes.size()); }
  void put_string(std::string_view text) {
    put(static_cast<std::uint32_t>(text.size()));
    append(text.data(), text.size());
  }
  void pad_to_word() { buffer_.resize((buffer_.size() + 3) & ~std::size_t{3}); }
  template <WireNumber T>
  void overwrite(std::size_t position, T value) {
    std::memcpy(buffer_.data() + position, &value, sizeof(T));
  }
  // Makes room for size_bytes at the end and returns where they start; valid until the next append.
  std::byte* extend(std::size_t size_bytes) {
    const std::size_t position = buffer_.size();
    buffer_.resize(position + size_bytes);
    return buffer_.data() + position;
  }

  void truncate(std::size_t size_bytes) { buffer_.resize(size_bytes); }
  void clear() { buffer_.clear(); }
  std::size_t size() const { return buffer_.size(); }
  bool empty() const { return buffer_.empty(); }
  std::span<const std::byte> bytes() const { return buffer_; }

 private:
  void append(const void* source, std::size_t size_bytes) {
    if (size_bytes != 0) std::memcpy(extend(size_bytes), source, size_bytes);
  }

  std::vector<std::byte> buffer_;
};

// Reads a view of bytes that the caller keeps alive. Every read past the end throws ProtocolError.
class ByteReader {
 public:
  explicit ByteReader(std::span<const std::byte> bytes) : bytes_(bytes) {}

  template <WireNumber T>
  T get() {
    T value;
    std::memcpy(&value, take(sizeof(T)).data(), sizeof(T));
    return value;
  }
  std::span<const std::byte> take(std::size_t size_bytes) {
    if (size_bytes > bytes_.size()) {
      throw ProtocolError("truncated: " + std::to_string(size_bytes) + " bytes wanted, " +
                          std::to_string(bytes_.size()) + " left");
    }
    const auto taken = bytes_.first(size_bytes);
    bytes_ = bytes_.subspan(size_bytes);
    return taken;
  }
  std::string_view get_string(std::size_t size_bytes_max) {
    const auto size_bytes = get<std::uint32_t>();
    if (size_bytes > size_bytes_max) {
      throw ProtocolError("string of " + std::to_string(size_bytes) + " bytes, at most " +
                          std::to_string(size_bytes_max) + " are allowed");
    }
    const auto taken = take(size_bytes);
    return {reinterpret_cast<const char*>(taken.data()), taken.size()};
  }
  // A count of elements that each need at least element_size_bytes: checked against what is left
  // before anybody reserves memory for them.
  template <std::unsigned_integral T>
  std::size_t get_count(std::size_t element_size_bytes, std::size_t count_max, const char* what) {
    const std::size_t count = get<T>();
    if (count > count_max || count * element_size_bytes > bytes_.size()) {
      throw ProtocolError(std::string(what) + ": count " + std::to_string(count) +
                          " is beyond the limit or the message's end");
    }
    return count;
  }

  bool empty() const { return bytes_.empty(); }
  std::size_t size() const { return bytes_.size(); }

 private:
  std::span<const std::byte> bytes_;
};

}  // namespace torch_remote::protocol
