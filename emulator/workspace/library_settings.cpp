// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/workspace/library_settings.h"

#include <charconv>
#include <cstdint>
#include <optional>
#include <stdexcept>
#include <string>
#include <string_view>
#include <system_error>

#include "emulator/gpu_model.h"

namespace torch_remote::emulator {
namespace {

constexpr std::uint64_t kKib = 1024;
constexpr std::uint64_t kHopperWorkspaceBytes = 32 * kKib * kKib;
constexpr std::uint64_t kWorkspaceBytes = (4096 * 2 + 16 * 8) * kKib;
constexpr std::uint64_t kLtWorkspaceBytes = kKib * kKib;

// Takes a number from the front of the text.
std::optional<std::uint64_t> take_number(std::string_view& text) {
  std::uint64_t value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || value > (std::uint64_t{1} << 32)) return std::nullopt;
  text.remove_prefix(static_cast<std::size_t>(end - text.data()));
  return value;
}

bool take_colon(std::string_view& text) {
  if (!text.starts_with(':')) return false;
  text.remove_prefix(1);
  return true;
}

std::uint64_t sum_of_pairs(std::string_view text) {
  const std::string whole(text);
  std::uint64_t sum_bytes = 0;
  while (!text.empty()) {
    std::optional<std::uint64_t> size_kib, count;
    if (take_colon(text)) size_kib = take_number(text);
    if (size_kib && take_colon(text)) count = take_number(text);
    if (!count) {
      throw std::invalid_argument("CUBLAS_WORKSPACE_CONFIG is \"" + whole +
                                  "\"; pairs of a size in KiB and a count are wanted, as in "
                                  "\":4096:2:16:8\"");
    }
    sum_bytes += *size_kib * kKib * *count;
  }
  return sum_bytes;
}

}  // namespace

LibrarySettings library_settings(const Environment& environment) {
  LibrarySettings settings;
  if (const auto pairs = environment("CUBLAS_WORKSPACE_CONFIG"))
    settings.cublas_workspace_bytes = sum_of_pairs(*pairs);
  if (const auto text = environment("CUBLASLT_WORKSPACE_SIZE")) {
    std::string_view rest = *text;
    const auto size_kib = take_number(rest);
    if (!size_kib || !rest.empty()) {
      throw std::invalid_argument("CUBLASLT_WORKSPACE_SIZE is \"" + std::string(*text) +
                                  "\"; a size in KiB is wanted");
    }
    settings.cublas_lt_workspace_bytes = *size_kib * kKib;
  }
  return settings;
}

std::uint64_t cublas_workspace_bytes(const GpuModel& gpu, const LibrarySettings& settings) {
  if (settings.cublas_workspace_bytes != 0) return settings.cublas_workspace_bytes;
  const bool is_large = gpu.capability_major == 9 || gpu.capability_major == 10;
  return is_large ? kHopperWorkspaceBytes : kWorkspaceBytes;
}

std::uint64_t cublas_lt_workspace_bytes(const LibrarySettings& settings) {
  return settings.cublas_lt_workspace_bytes != 0 ? settings.cublas_lt_workspace_bytes
                                                 : kLtWorkspaceBytes;
}

}  // namespace torch_remote::emulator
