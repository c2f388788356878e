// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Keys of encrypted connections: CURVE, as rfc.zeromq.org/spec/26 defines it. Each side has a key
// pair; the client knows the executor's public key, and the executor a list of its clients'.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace torch_remote::transport {

// Texts in Z85 (rfc.zeromq.org/spec/32) of 40 characters.
struct KeyPair {
  std::string public_key;
  std::string secret_key;
};

struct ClientKeys {
  KeyPair own;
  std::string server_key;  // the executor's public key
};

struct ServerKeys {
  KeyPair own;
  std::vector<std::string> authorized_keys;  // the clients' public keys; nobody else gets in
};

// A new pair. Throws std::runtime_error where ZeroMQ was built without CURVE.
KeyPair make_key_pair();

// The pair of a secret key. Throws std::invalid_argument as check_key does, and std::runtime_error
// as above.
KeyPair pair_of(std::string_view secret_key);

// Throws std::invalid_argument, without the text itself, when it can't be a key. what names it:
// "the server key".
void check_key(std::string_view what, std::string_view key);

}  // namespace torch_remote::transport
