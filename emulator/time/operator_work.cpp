// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "emulator/time/operator_work.h"

#include "emulator/time/operator_class.h"
#include "emulator/time/product_work.h"
#include "emulator/time/recurrent_work.h"
#include "emulator/time/streaming_work.h"

namespace torch_remote::emulator {

std::vector<KernelWork> operator_work(const PlannedOperator& planned, const WorkContext& context) {
  const OperatorClass& row = operator_class(planned.name);
  if (row.kind == OperatorKind::kNothing) return {};
  const OperatorTensors tensors = operator_tensors(planned.plan);
  const StreamingOperator op{planned, tensors, row, context};
  switch (row.kind) {
    case OperatorKind::kNothing:
      return {};
    case OperatorKind::kElementwise:
      return elementwise_work(op);
    case OperatorKind::kFill:
      return fill_work(op);
    case OperatorKind::kRandom:
      return random_work(op);
    case OperatorKind::kCopy:
      return copy_work(op);
    case OperatorKind::kReduction:
      return reduction_work(op);
    case OperatorKind::kNormalization:
    case OperatorKind::kLayerNormBackward:
      return normalization_work(op);
    case OperatorKind::kBatchNorm:
      return batch_norm_work(op);
    case OperatorKind::kProduct:
      return product_work(planned, tensors, context);
    case OperatorKind::kAttention:
      return attention_work(planned, tensors, context);
    case OperatorKind::kConvolution:
      return convolution_work(planned, tensors, context);
    case OperatorKind::kPooling:
    case OperatorKind::kResampling:
      return image_work(op);
    case OperatorKind::kConcatenation:
      return concatenation_work(op);
    case OperatorKind::kGather:
      return gather_work(op);
    case OperatorKind::kScatter:
      return scatter_work(op);
    case OperatorKind::kSortedScatter:
      return sorted_scatter_work(op);
    case OperatorKind::kCompaction:
      return compaction_work(op);
    case OperatorKind::kScan:
      return scan_work(op);
    case OperatorKind::kSort:
      return sort_work(op);
    case OperatorKind::kTopk:
      return topk_work(op);
    case OperatorKind::kForeach:
    case OperatorKind::kFusedOptimizer:
      return foreach_work(op);
    case OperatorKind::kRecurrent:
      return recurrent_work(planned, context);
    case OperatorKind::kTransform:
      return transform_work(op);
    case OperatorKind::kLinearAlgebra:
      return linear_algebra_work(op);
    case OperatorKind::kLoss:
      return loss_work(op);
  }
  return {};
}

}  // namespace torch_remote::emulator
