// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Which operators a client may run, and what runs for each: the operator itself, its overload that
// takes a generator, a substitution (substitutions.h), or the kernel of a source of random numbers
// (random_source.h).
//
// What may not run is decided by rule where a schema can tell, by name where it can't. The list
// keeps files, processes, addresses and tensors' metadata out of a client's reach. It doesn't make
// PyTorch's kernels safe against every value that a client can put into a tensor.
#pragma once

#include <ATen/core/dispatch/Dispatcher.h>
#include <c10/core/DispatchKey.h>
#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "core/executor/libtorch/libtorch_executor.h"
#include "core/executor/libtorch/substitutions.h"

namespace torch_remote::executor::libtorch {

struct RunnableOperator {
  c10::OperatorHandle named;  // the one that the client means: arguments and results are its
  c10::OperatorHandle run;    // the one that is run, unless substitute is set
  SubstituteFunction substitute = nullptr;
  // Where run takes a generator that named does not have; it gets the session's default one.
  std::optional<std::size_t> inserted_generator_position;
  // The kernel that is run, where it is not the device's: one that draws from a RandomSource.
  std::optional<c10::DispatchKey> key = std::nullopt;
  // It draws from the device's own default generator, which has to be the session's meanwhile.
  bool draws_from_default = false;

  std::string name() const;  // "aten::add.Tensor"
};

// The options say what is run beside the operators of aten. Throws ExecutorError(kUnknownOperator)
// that says why the operator can't be run.
RunnableOperator find_operator(std::string_view name, std::string_view overload,
                               std::uint64_t schema_hash, c10::Device device,
                               const LibtorchOptions& options);

}  // namespace torch_remote::executor::libtorch
