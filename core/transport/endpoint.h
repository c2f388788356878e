// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Addresses as ZeroMQ writes them, checked before ZeroMQ sees them so that errors say what to do.
#pragma once

#include <string>
#include <string_view>

namespace torch_remote::transport {

enum class Scheme { kInproc, kIpc, kTcp };

// Throws std::invalid_argument naming the endpoint and what is wrong with it.
// allow_port_zero: for binding, where port 0 means that the system picks one.
Scheme check_endpoint(std::string_view endpoint, bool allow_port_zero);

// True for inproc, ipc and tcp on 127.0.0.0/8, ::1 or localhost: no other machine can reach it.
bool is_local(std::string_view endpoint);

// True for tcp://[address]:port: a socket speaks IPv6 only when it is told to.
bool is_ipv6_address(std::string_view endpoint);

}  // namespace torch_remote::transport
