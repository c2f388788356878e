// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/transport/keys.h"

#include <array>
#include <cerrno>
#include <cstddef>
#include <cstdint>
#include <stdexcept>
#include <zmq.h>

namespace torch_remote::transport {
namespace {

constexpr std::size_t kTextSize = 40;  // Z85 of 32 bytes
using Text = std::array<char, kTextSize + 1>;

[[noreturn]] void no_curve() {
  throw std::runtime_error(
      "this ZeroMQ library was built without CURVE, so connections can't be encrypted: install a "
      "libzmq with libsodium");
}

}  // namespace

KeyPair make_key_pair() {
  Text public_key, secret_key;
  if (zmq_curve_keypair(public_key.data(), secret_key.data()) != 0) no_curve();
  return {.public_key = public_key.data(), .secret_key = secret_key.data()};
}

KeyPair pair_of(std::string_view secret_key) {
  check_key("the secret key", secret_key);
  Text public_key;
  const std::string secret(secret_key);
  if (zmq_curve_public(public_key.data(), secret.c_str()) != 0) no_curve();
  return {.public_key = public_key.data(), .secret_key = secret};
}

void check_key(std::string_view what, std::string_view key) {
  std::array<std::uint8_t, 32> bytes;
  const std::string text(key);
  if (key.size() != kTextSize || text.find('\0') != std::string::npos ||
      zmq_z85_decode(bytes.data(), text.c_str()) == nullptr) {
    throw std::invalid_argument(std::string(what) +
                                " is no key: a key is 40 characters of Z85, as " +
                                "`torch-remote keys` makes it");
  }
}

}  // namespace torch_remote::transport
