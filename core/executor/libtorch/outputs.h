// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What an operator really returned, compared with what its plan says; and the description of
// results that no plan could know.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/core/Device.h>
#include <span>
#include <string>
#include <vector>

#include "core/executor/libtorch/decoded_plan.h"
#include "core/executor/libtorch/sparse_tensors.h"
#include "core/executor/libtorch/storage_table.h"
#include "core/protocol/replies.h"

namespace torch_remote::executor::libtorch {

// Makes a result fit its plan: a tensor of the planned strides that alone holds a storage of the
// planned size. Other strides and shared storages are copied; another dtype or other sizes are an
// ExecutorError, since the client has gone on with the planned ones.
void conform(c10::IValue& result, const PlannedOutput& planned, c10::Device device,
             const std::string& name);

// Describes results and stores their tensors under first_id, first_id + 1, ... Of a result that is
// one of the sparse arguments, only the components that are new.
std::vector<protocol::DescribedOutput> describe_and_store(std::vector<c10::IValue>& results,
                                                          std::span<SparseArgument> arguments,
                                                          TensorId first_id, c10::Device device,
                                                          StorageTable& storages);

}  // namespace torch_remote::executor::libtorch
