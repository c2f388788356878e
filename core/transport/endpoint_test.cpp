// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Addresses that users mistype, and which of them nobody else can reach.
#include "core/transport/endpoint.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <stdexcept>

namespace torch_remote::transport {
namespace {

TEST(EndpointTest, WellFormedOnesHaveAScheme) {
  EXPECT_EQ(check_endpoint("tcp://host:5555", false), Scheme::kTcp);
  EXPECT_EQ(check_endpoint("tcp://127.0.0.1:65535", false), Scheme::kTcp);
  EXPECT_EQ(check_endpoint("tcp://[::1]:1", false), Scheme::kTcp);
  EXPECT_EQ(check_endpoint("tcp://*:0", true), Scheme::kTcp);
  EXPECT_EQ(check_endpoint("ipc:///tmp/socket", false), Scheme::kIpc);
  EXPECT_EQ(check_endpoint("inproc://executor", false), Scheme::kInproc);
}

TEST(EndpointTest, OthersHaveAReasonAndSayWhatToWrite) {
  const std::pair<const char*, const char*> cases[] = {
      {"", "unknown scheme"},
      {"localhost:5555", "unknown scheme"},
      {"http://host:5555", "unknown scheme"},
      {"TCP://host:5555", "unknown scheme"},
      {"tcp://host", "the port is missing"},
      {"tcp://:5555", "the host is missing"},
      {"tcp://host:", "not a number"},
      {"tcp://host:http", "not a number"},
      {"tcp://host:55x", "not a number"},
      {"tcp://host:-1", "not a number"},
      {"tcp://host:65536", "not a number"},
      {"tcp://host:99999999999", "not a number"},
      {"tcp://host:0", "port 0 is for binding only"},
      {"ipc://", "the name is missing"},
      {"inproc://", "the name is missing"},
  };
  for (const auto& [endpoint, reason] : cases) {
    EXPECT_THAT([&endpoint = endpoint] { check_endpoint(endpoint, false); },
                testing::ThrowsMessage<std::invalid_argument>(
                    testing::AllOf(testing::HasSubstr(reason), testing::HasSubstr(endpoint),
                                   testing::HasSubstr("use tcp://host:port"))));
  }
}

TEST(EndpointTest, LocalIsWhatNobodyElseCanReach) {
  for (const char* endpoint : {"inproc://x", "ipc:///tmp/x", "tcp://127.0.0.1:1",
                               "tcp://127.1.2.3:1", "tcp://localhost:1", "tcp://[::1]:1"}) {
    EXPECT_TRUE(is_local(endpoint)) << endpoint;
  }
  for (const char* endpoint : {"tcp://10.0.0.1:1", "tcp://*:1", "tcp://0.0.0.0:1", "tcp://[::]:1",
                               "tcp://localhost.example.org:1", "tcp://127.example.org:1",
                               "tcp://127.0.0.1.example.org:1"}) {
    EXPECT_FALSE(is_local(endpoint)) << endpoint;
  }
}

}  // namespace
}  // namespace torch_remote::transport
