// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A TCP proxy that breaks connections when it is told to: the network's failures on a loopback.
#pragma once

#include <arpa/inet.h>
#include <array>
#include <atomic>
#include <cerrno>
#include <charconv>
#include <csignal>
#include <list>
#include <netinet/in.h>
#include <poll.h>
#include <string>
#include <sys/socket.h>
#include <system_error>
#include <thread>
#include <unistd.h>
#include <vector>

namespace torch_remote::transport {

// Passes bytes between clients and an executor on 127.0.0.1, on a thread of its own.
class TcpProxy {
 public:
  // target: "tcp://127.0.0.1:port".
  explicit TcpProxy(const std::string& target) {
    const auto port = target.substr(target.rfind(':') + 1);
    std::uint16_t number = 0;
    std::from_chars(port.data(), port.data() + port.size(), number);
    target_ = loopback(number);
    listener_ = check(::socket(AF_INET, SOCK_STREAM, 0));
    sockaddr_in address = loopback(0);
    check(::bind(listener_, reinterpret_cast<sockaddr*>(&address), sizeof(address)));
    check(::listen(listener_, 8));
    socklen_t size = sizeof(address);
    check(::getsockname(listener_, reinterpret_cast<sockaddr*>(&address), &size));
    endpoint_ = "tcp://127.0.0.1:" + std::to_string(ntohs(address.sin_port));
    thread_ = std::thread([this] { serve(); });
  }
  TcpProxy(const TcpProxy&) = delete;
  TcpProxy& operator=(const TcpProxy&) = delete;
  ~TcpProxy() {
    stop_ = true;
    thread_.join();
    ::close(listener_);
  }

  const std::string& endpoint() const { return endpoint_; }
  // Closes every connection that there is, with whatever is on its way in them.
  void cut() { cuts_wanted_.fetch_add(1); }
  int cuts() const { return cuts_; }                // that have closed a connection
  int connections() const { return connections_; }  // accepted so far

 private:
  struct Connection {
    std::array<int, 2> ends;
  };

  static int check(int result) {
    if (result < 0) throw std::system_error(errno, std::generic_category(), "TcpProxy");
    return result;
  }
  static sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
  }
  static void close_both(const Connection& connection) {
    for (const int end : connection.ends) ::close(end);
  }

  void serve() {
    int cuts_done = 0;
    while (!stop_) {
      std::vector<pollfd> items{{listener_, POLLIN, 0}};
      for (const auto& connection : list_) {
        for (const int end : connection.ends) items.push_back({end, POLLIN, 0});
      }
      ::poll(items.data(), static_cast<nfds_t>(items.size()), 5);
      std::size_t item = 1;
      for (auto connection = list_.begin(); connection != list_.end(); item += 2) {
        const bool open =
            (items[item].revents == 0 || pass(connection->ends[0], connection->ends[1])) &&
            (items[item + 1].revents == 0 || pass(connection->ends[1], connection->ends[0]));
        if (!open) close_both(*connection);
        connection = open ? std::next(connection) : list_.erase(connection);
      }
      if (items[0].revents != 0) accept();
      if (const int wanted = cuts_wanted_; wanted != cuts_done) {
        cuts_done = wanted;
        if (!list_.empty()) ++cuts_;
        for (const auto& connection : list_) close_both(connection);
        list_.clear();
      }
    }
    for (const auto& connection : list_) close_both(connection);
  }

  void accept() {
    const int near = ::accept(listener_, nullptr, nullptr);
    if (near < 0) return;
    const int far = ::socket(AF_INET, SOCK_STREAM, 0);
    if (::connect(far, reinterpret_cast<const sockaddr*>(&target_), sizeof(target_)) != 0) {
      return close_both({{near, far}});
    }
    ++connections_;
    list_.push_back({{near, far}});
  }

  static bool pass(int from, int to) {
    std::array<char, 16384> bytes;
    const auto size = ::recv(from, bytes.data(), bytes.size(), 0);
    if (size <= 0) return false;
    for (ssize_t done = 0; done < size;) {
      const auto sent = ::send(to, bytes.data() + done, static_cast<std::size_t>(size - done), 0);
      if (sent <= 0) return false;
      done += sent;
    }
    return true;
  }

  int listener_ = -1;
  sockaddr_in target_{};
  std::string endpoint_;
  std::list<Connection> list_;
  std::atomic<bool> stop_{false};
  std::atomic<int> cuts_wanted_{0};
  std::atomic<int> cuts_{0};
  std::atomic<int> connections_{0};
  std::thread thread_;
};

}  // namespace torch_remote::transport
