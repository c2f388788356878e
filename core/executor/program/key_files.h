// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Where the executor's keys come from: files, or variables of the environment, never the command
// line, which other users can read.
#pragma once

#include <optional>
#include <string>

#include "core/transport/keys.h"

namespace torch_remote::executor {

// Nothing when neither files nor variables are given. Throws std::invalid_argument, which never
// tells a key, when one of the two is missing, a file can't be read, a secret one can be read by
// others, or what is in them are no keys. Takes the variables out of the environment.
std::optional<transport::ServerKeys> read_server_keys(const std::string& secret_key_file,
                                                      const std::string& authorized_keys_file);

}  // namespace torch_remote::executor
