// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/executor/libtorch/errors.h"

#include <c10/util/Exception.h>
#include <exception>
#include <string>
#include <string_view>
#include <utility>

#include "core/executor/executor.h"

namespace torch_remote::executor::libtorch {
namespace {

using protocol::ErrorKind;

// The CPU allocator has no exception type of its own.
bool is_failed_allocation(std::string_view message) {
  return message.find("DefaultCPUAllocator: ") != std::string_view::npos;
}

// The dispatcher follows its first sentence with a page about every backend that PyTorch knows,
// none of which concerns a client.
std::string first_sentence_of_dispatcher(const std::string& message) {
  if (!message.starts_with("Could not run '")) return message;
  return message.substr(0, message.find(". This could be because") + 1);
}

// What a kernel in Python raised: its text begins with the exception's class. Returns for others.
void throw_as_python_did(std::string_view message) {
  constexpr std::pair<std::string_view, ErrorKind> kKinds[] = {
      {"IndexError: ", ErrorKind::kIndex},
      {"ValueError: ", ErrorKind::kValue},
      {"TypeError: ", ErrorKind::kType},
      {"NotImplementedError: ", ErrorKind::kNotImplemented},
      {"RuntimeError: ", ErrorKind::kRuntime}};
  for (const auto& [beginning, kind] : kKinds) {
    if (message.starts_with(beginning))
      throw ExecutorError(kind, std::string(message.substr(beginning.size())));
  }
}

[[noreturn]] void fail(ErrorKind kind, const c10::Error& error) {
  throw ExecutorError(kind, error.what_without_backtrace());
}

}  // namespace

void throw_translated() {
  try {
    throw;
  } catch (const c10::IndexError& error) {
    fail(ErrorKind::kIndex, error);
  } catch (const c10::ValueError& error) {
    fail(ErrorKind::kValue, error);
  } catch (const c10::TypeError& error) {
    fail(ErrorKind::kType, error);
  } catch (const c10::NotImplementedError& error) {
    throw ExecutorError(ErrorKind::kNotImplemented,
                        first_sentence_of_dispatcher(error.what_without_backtrace()));
  } catch (const c10::LinAlgError& error) {
    fail(ErrorKind::kLinearAlgebra, error);
  } catch (const c10::OutOfMemoryError& error) {
    fail(ErrorKind::kOutOfMemory, error);
  } catch (const c10::AcceleratorError& error) {
    throw ExecutorError(ErrorKind::kAccelerator,
                        std::string(error.what_without_backtrace()) +
                            "\n  error code: " + std::to_string(error.get_error_code()));
  } catch (const c10::Error& error) {
    fail(is_failed_allocation(error.what_without_backtrace()) ? ErrorKind::kOutOfMemory
                                                              : ErrorKind::kRuntime,
         error);
  } catch (const std::exception& error) {
    throw_as_python_did(error.what());
    throw;
  }
}

}  // namespace torch_remote::executor::libtorch
