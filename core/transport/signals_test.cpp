// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Signals that arrive in the middle of ZeroMQ's calls, and threads that get none.
#include "core/transport/signals.h"

#include <atomic>
#include <gtest/gtest.h>
#include <pthread.h>

#include "core/transport/message.h"

namespace torch_remote::transport {
namespace {

std::atomic<int> handled{0};

// Handles SIGUSR1 without restarting what it interrupts, as Python does.
class Handler {
 public:
  Handler() {
    struct sigaction action{};
    action.sa_handler = [](int) { ++handled; };
    sigaction(SIGUSR1, &action, &before_);
  }
  Handler(const Handler&) = delete;
  Handler& operator=(const Handler&) = delete;
  ~Handler() { sigaction(SIGUSR1, &before_, nullptr); }

 private:
  struct sigaction before_{};
};

// Sends SIGUSR1 to the thread that made it, again and again.
class Interruptions {
 public:
  Interruptions() {
    thread_ = start_background_thread([this, target = pthread_self()] {
      while (!stop_) {
        pthread_kill(target, SIGUSR1);
        std::this_thread::yield();
      }
    });
  }
  Interruptions(const Interruptions&) = delete;
  Interruptions& operator=(const Interruptions&) = delete;
  ~Interruptions() {
    stop_ = true;
    thread_.join();
  }

 private:
  std::atomic<bool> stop_{false};
  std::thread thread_;
};

TEST(SignalsTest, MessagesPassWhole) {
  const Handler handler;
  zmq::context_t context;
  zmq::socket_t sender(context, zmq::socket_type::pair);
  zmq::socket_t receiver(context, zmq::socket_type::pair);
  // As every socket here: with a limit, ZeroMQ may still believe that it is reached.
  sender.set(zmq::sockopt::sndhwm, 0);
  receiver.set(zmq::sockopt::rcvhwm, 0);
  receiver.bind("inproc://test");
  sender.connect("inproc://test");
  const int handled_before = handled;
  const Interruptions interruptions;
  // Until enough signals have come in between, whatever the machine's speed.
  for (std::uint64_t i = 1; i <= 2000 || handled - handled_before < 1000; ++i) {
    Message message = make_message({.kind = protocol::MessageKind::kCommands, .sequence = i}, {});
    message.frames.push_back(make_frame({}));
    message.frames.push_back(make_frame({}));
    send(sender, message);
    Message back;
    ASSERT_TRUE(receive(receiver, back));
    EXPECT_EQ(back.envelope.sequence, i);
    EXPECT_EQ(back.frames.size(), 2u);
  }
}

TEST(SignalsTest, AnInterruptedCallIsMadeAgain) {
  int calls = 0;
  EXPECT_EQ(uninterrupted([&] {
              if (++calls < 3) throw zmq::error_t(EINTR);
              return calls;
            }),
            3);
  EXPECT_THROW(uninterrupted([] { throw zmq::error_t(ETERM); }), zmq::error_t);
}

TEST(SignalsTest, BackgroundThreadsHandleFaultsAlone) {
  sigset_t before;
  pthread_sigmask(SIG_SETMASK, nullptr, &before);
  sigset_t in_thread;
  start_background_thread([&] { pthread_sigmask(SIG_SETMASK, nullptr, &in_thread); }).join();
  for (const int signal : {SIGINT, SIGTERM, SIGCHLD, SIGUSR1, SIGALRM}) {
    EXPECT_EQ(sigismember(&in_thread, signal), 1) << signal;
  }
  EXPECT_EQ(sigismember(&in_thread, SIGSEGV), 0);
  sigset_t after;
  pthread_sigmask(SIG_SETMASK, nullptr, &after);
  EXPECT_EQ(sigismember(&after, SIGUSR1), sigismember(&before, SIGUSR1)) << "this thread's own";
}

}  // namespace
}  // namespace torch_remote::transport
