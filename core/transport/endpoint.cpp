// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/transport/endpoint.h"

#include <charconv>
#include <stdexcept>

namespace torch_remote::transport {
namespace {

constexpr std::string_view kTcp = "tcp://";
constexpr std::string_view kIpc = "ipc://";
constexpr std::string_view kInproc = "inproc://";

[[noreturn]] void refuse(std::string_view endpoint, const std::string& why) {
  throw std::invalid_argument("endpoint \"" + std::string(endpoint) + "\": " + why +
                              "; use tcp://host:port, ipc://path or inproc://name");
}

void check_tcp(std::string_view endpoint, bool allow_port_zero) {
  const std::string_view address = endpoint.substr(kTcp.size());
  const auto colon = address.rfind(':');
  if (colon == std::string_view::npos) refuse(endpoint, "the port is missing");
  if (colon == 0) refuse(endpoint, "the host is missing");
  const std::string_view port = address.substr(colon + 1);
  unsigned number = 0;
  const auto [end, error] = std::from_chars(port.data(), port.data() + port.size(), number);
  const bool is_number = error == std::errc() && end == port.data() + port.size();
  if (!is_number || number > 65535) refuse(endpoint, "the port is not a number from 1 to 65535");
  if (number == 0 && !allow_port_zero) refuse(endpoint, "port 0 is for binding only");
}

}  // namespace

Scheme check_endpoint(std::string_view endpoint, bool allow_port_zero) {
  if (endpoint.starts_with(kTcp)) {
    check_tcp(endpoint, allow_port_zero);
    return Scheme::kTcp;
  }
  for (const auto& [prefix, scheme] : {std::pair{kIpc, Scheme::kIpc}, {kInproc, Scheme::kInproc}}) {
    if (!endpoint.starts_with(prefix)) continue;
    if (endpoint.size() == prefix.size()) refuse(endpoint, "the name is missing");
    return scheme;
  }
  refuse(endpoint, "unknown scheme");
}

bool is_local(std::string_view endpoint) {
  if (!endpoint.starts_with(kTcp)) return true;
  const std::string_view address = endpoint.substr(kTcp.size());
  const std::string_view host = address.substr(0, address.rfind(':'));
  if (host == "localhost" || host == "[::1]") return true;
  // A name may begin with 127., too, so nothing but digits and dots counts.
  return host.starts_with("127.") &&
         host.find_first_not_of("0123456789.") == std::string_view::npos;
}

bool is_ipv6_address(std::string_view endpoint) {
  return endpoint.starts_with(kTcp) && endpoint.substr(kTcp.size()).starts_with('[');
}

}  // namespace torch_remote::transport
