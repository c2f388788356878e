// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Golden bytes: what version 1.0 looks like on the wire, one file for each kind. A difference means
// that peers of the same version would no longer understand each other.
#pragma once

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <gtest/gtest.h>
#include <iterator>
#include <span>
#include <string>
#include <vector>

namespace torch_remote::protocol {

inline std::filesystem::path golden_folder() {
  return std::filesystem::path(__FILE__).parent_path() / "golden" / "1.0";
}

inline std::vector<std::byte> read_golden(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  const std::string text{std::istreambuf_iterator<char>(file), std::istreambuf_iterator<char>()};
  const auto bytes = std::as_bytes(std::span(text));
  return {bytes.begin(), bytes.end()};
}

// Compares bytes with golden/1.0/<name>.bin and returns the file's, to be decoded. With
// TORCH_REMOTE_WRITE_GOLDEN=1 in the environment it writes the file first: only for a new kind.
inline std::vector<std::byte> expect_golden(const std::string& name,
                                            std::span<const std::byte> bytes) {
  const auto path = golden_folder() / (name + ".bin");
  if (const char* write = std::getenv("TORCH_REMOTE_WRITE_GOLDEN"); write && *write == '1') {
    std::filesystem::create_directories(path.parent_path());
    std::ofstream(path, std::ios::binary)
        .write(reinterpret_cast<const char*>(bytes.data()),
               static_cast<std::streamsize>(bytes.size()));
  }
  std::vector<std::byte> golden = read_golden(path);
  EXPECT_FALSE(golden.empty()) << path << " is missing";
  EXPECT_TRUE(std::ranges::equal(golden, bytes)) << path << " has other bytes";
  return golden;
}

}  // namespace torch_remote::protocol
