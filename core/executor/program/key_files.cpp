// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/program/key_files.h"

#include <cerrno>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <sstream>
#include <stdexcept>
#include <sys/stat.h>
#include <vector>

namespace torch_remote::executor {
namespace {

constexpr const char* kSecretKeyVariable = "TORCH_REMOTE_SECRET_KEY";
constexpr const char* kAuthorizedKeysVariable = "TORCH_REMOTE_AUTHORIZED_KEYS";

// Empty where it is not set. Taken out, so that processes that this one starts don't get it.
std::string take_variable(const char* name) {
  const char* value = std::getenv(name);  // NOLINT(concurrency-mt-unsafe): before any other thread
  std::string text = value != nullptr ? value : "";
  ::unsetenv(name);  // NOLINT(concurrency-mt-unsafe)
  return text;
}

std::string read_file(const std::string& path) {
  std::ifstream file(path);
  std::ostringstream text;
  text << file.rdbuf();
  if (!file) throw std::invalid_argument("can't read " + path + ": " + std::strerror(errno));
  return text.str();
}

void check_privacy(const std::string& path) {
  struct stat status{};
  if (::stat(path.c_str(), &status) != 0)
    throw std::invalid_argument("can't read " + path + ": " + std::strerror(errno));
  if ((status.st_mode & (S_IRWXG | S_IRWXO)) != 0) {
    throw std::invalid_argument("other users can read or write the secret key in " + path +
                                ": chmod 600 it");
  }
}

// The words of a text without its comments, which begin with a # that stands alone: keys have #,
// too.
std::vector<std::string> words_of(const std::string& text) {
  std::vector<std::string> words;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    std::istringstream rest(line);
    for (std::string word; rest >> word && word != "#";) words.push_back(word);
  }
  return words;
}

transport::KeyPair read_secret_key(const std::string& path, const std::string& variable) {
  if (!path.empty()) check_privacy(path);
  const auto words = words_of(path.empty() ? variable : read_file(path));
  if (words.size() != 1) {
    throw std::invalid_argument((path.empty() ? kSecretKeyVariable : path) +
                                " has to hold one secret key and nothing else");
  }
  return transport::pair_of(words.front());
}

}  // namespace

std::optional<transport::ServerKeys> read_server_keys(const std::string& secret_key_file,
                                                      const std::string& authorized_keys_file) {
  const std::string secret = take_variable(kSecretKeyVariable);
  const std::string authorized = take_variable(kAuthorizedKeysVariable);
  const bool has_secret = !secret_key_file.empty() || !secret.empty();
  const bool has_authorized = !authorized_keys_file.empty() || !authorized.empty();
  if (!has_secret && !has_authorized) return std::nullopt;
  if (!has_secret) throw std::invalid_argument("authorized keys need a secret key beside them");
  if (!has_authorized) {
    throw std::invalid_argument(
        "a secret key needs a list of the clients' public keys beside it (--authorized-keys)");
  }
  transport::ServerKeys keys;
  keys.own = read_secret_key(secret_key_file, secret);
  keys.authorized_keys =
      words_of(authorized_keys_file.empty() ? authorized : read_file(authorized_keys_file));
  return keys;
}

}  // namespace torch_remote::executor
