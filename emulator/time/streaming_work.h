// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The kernels that pass over their data: elementwise, reductions, norms, indexing, sorting, ...
#pragma once

#include "emulator/time/operator_class.h"
#include "emulator/time/product_work.h"

namespace torch_remote::emulator {

struct StreamingOperator {
  const PlannedOperator& planned;
  const OperatorTensors& tensors;
  const OperatorClass& row;
  const WorkContext& context;
};

Works elementwise_work(const StreamingOperator& op);
Works fill_work(const StreamingOperator& op);
Works random_work(const StreamingOperator& op);
Works copy_work(const StreamingOperator& op);
Works concatenation_work(const StreamingOperator& op);
Works foreach_work(const StreamingOperator& op);

Works reduction_work(const StreamingOperator& op);
Works normalization_work(const StreamingOperator& op);
Works batch_norm_work(const StreamingOperator& op);
Works loss_work(const StreamingOperator& op);
Works image_work(const StreamingOperator& op);

Works gather_work(const StreamingOperator& op);
Works scatter_work(const StreamingOperator& op);
Works sorted_scatter_work(const StreamingOperator& op);
Works compaction_work(const StreamingOperator& op);
Works scan_work(const StreamingOperator& op);
Works sort_work(const StreamingOperator& op);
Works topk_work(const StreamingOperator& op);
Works transform_work(const StreamingOperator& op);
Works linear_algebra_work(const StreamingOperator& op);

}  // namespace torch_remote::emulator
