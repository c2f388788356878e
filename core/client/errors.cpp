// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/errors.h"

#include <c10/util/Exception.h>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "core/client/source_location.h"
#include "core/session/errors.h"

namespace torch_remote::client {
namespace {

std::string describe(const session::OperationError& error, int device_index) {
  const protocol::Failure& failure = error.failure();
  std::string text = failure.message;
  if (!failure.operator_name.empty()) {
    text +=
        "\n  operation: " + failure.operator_name + " on remote:" + std::to_string(device_index);
  }
  const std::string location = describe_source_location(error.location());
  if (!location.empty()) text += "\n  called at: " + location;
  return text;
}

[[noreturn]] void raise(protocol::ErrorKind kind, const std::string& text) {
  using protocol::ErrorKind;
  switch (kind) {
    case ErrorKind::kIndex:
      TORCH_CHECK_INDEX(false, text);
    case ErrorKind::kValue:
      TORCH_CHECK_VALUE(false, text);
    case ErrorKind::kType:
      TORCH_CHECK_TYPE(false, text);
    case ErrorKind::kNotImplemented:
    case ErrorKind::kUnknownOperator:
      TORCH_CHECK_NOT_IMPLEMENTED(false, text);
    case ErrorKind::kOutOfMemory:
      TORCH_CHECK_WITH(OutOfMemoryError, false, text);
    case ErrorKind::kLinearAlgebra:
      TORCH_CHECK_LINALG(false, text);
    case ErrorKind::kAccelerator:
      // The device's own number of the error is in the text.
      throw c10::AcceleratorError({__func__, __FILE__, static_cast<std::uint32_t>(__LINE__)},
                                  /*code=*/-1, text);
    default:
      TORCH_CHECK(false, text);
  }
}

}  // namespace

void rethrow_as_torch_error(int device_index) {
  try {
    throw;
  } catch (const session::OperationError& error) {
    raise(error.failure().kind, describe(error, device_index));
  } catch (const session::OutOfMemory& error) {
    raise(protocol::ErrorKind::kOutOfMemory, error.what());
  } catch (const session::SessionLost& error) {
    raise(protocol::ErrorKind::kRuntime,
          "remote:" + std::to_string(device_index) + " is not usable any more: " + error.what());
  } catch (const std::length_error& error) {
    raise(protocol::ErrorKind::kValue, error.what());
  }
}

}  // namespace torch_remote::client
