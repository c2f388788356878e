// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The executor of a dry run: a channel that answers itself. Commands are acknowledged as they are
// sent, on the thread that sends them, and reads are zeros: there is no thread, no socket, and no
// memory for values. What a program must not do in a dry run, the observer refuses before it comes
// here (emulation.h).
#pragma once

#include <map>
#include <memory>
#include <string>

#include "core/transport/channel.h"

namespace torch_remote::emulator {

// description is the welcome's, beside what says that there are no values.
std::unique_ptr<transport::Channel> make_dry_channel(
    std::map<std::string, std::string> description);

}  // namespace torch_remote::emulator
