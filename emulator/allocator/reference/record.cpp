// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// FNV-1a over numbers and text, folded to 32 bits.
#include "emulator/allocator/reference/record.h"

#include <cstdint>
#include <string>
#include <vector>

namespace torch_remote::emulator::reference {
namespace {

class Hash {
 public:
  void add(std::uint64_t number) {
    for (int byte = 0; byte < 8; ++byte) add_byte(static_cast<std::uint8_t>(number >> (8 * byte)));
  }
  void add(const std::string& text) {
    for (const char character : text) add_byte(static_cast<std::uint8_t>(character));
  }
  std::uint32_t folded() const { return static_cast<std::uint32_t>(bits_ ^ (bits_ >> 32)); }

 private:
  void add_byte(std::uint8_t byte) { bits_ = (bits_ ^ byte) * 0x100000001b3; }

  std::uint64_t bits_ = 0xcbf29ce484222325;
};

}  // namespace

std::vector<std::int64_t> numbers_of(const AllocatorStatistics& statistics) {
  std::vector<std::int64_t> numbers;
  for (const auto& [name, number] : flat_statistics(statistics)) numbers.push_back(number);
  return numbers;
}

std::uint32_t fingerprint(const AllocatorStatistics& statistics, const StepResult& result) {
  Hash hash;
  for (const std::int64_t number : numbers_of(statistics))
    hash.add(static_cast<std::uint64_t>(number));
  hash.add(result.address);
  hash.add(result.error);
  return hash.folded();
}

std::string describe(const AllocatorStatistics& statistics, const StepResult& result) {
  std::string text = std::to_string(result.address) + " '" + result.error + "'";
  for (const auto& [name, number] : flat_statistics(statistics))
    if (number != 0) text += " " + name + "=" + std::to_string(number);
  return text;
}

}  // namespace torch_remote::emulator::reference
