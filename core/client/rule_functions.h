// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The rules that shape_rules.cpp lists, for operators that need more than a few lines.
#pragma once

#include <ATen/core/ivalue.h>
#include <c10/util/ArrayRef.h>

#include "core/client/plan.h"

namespace torch_remote::client::rules {

using Arguments = c10::ArrayRef<c10::IValue>;

// normalization_rules.cpp
bool layer_norm(Arguments arguments, ClientPlan& plan);
bool layer_norm_backward(Arguments arguments, ClientPlan& plan);
bool rms_norm(Arguments arguments, ClientPlan& plan);
bool rms_norm_backward(Arguments arguments, ClientPlan& plan);
bool batch_norm(Arguments arguments, ClientPlan& plan);
bool batch_norm_without_running(Arguments arguments, ClientPlan& plan);
bool batch_norm_with_update(Arguments arguments, ClientPlan& plan);
bool batch_norm_backward(Arguments arguments, ClientPlan& plan);

// convolution_rules.cpp
bool convolution(Arguments arguments, ClientPlan& plan);
bool convolution_backward(Arguments arguments, ClientPlan& plan);

// attention_rules.cpp
bool attention(Arguments arguments, ClientPlan& plan);
bool attention_backward(Arguments arguments, ClientPlan& plan);

// recurrent_rules.cpp
bool gru_cell(Arguments arguments, ClientPlan& plan);
bool gru_cell_backward(Arguments arguments, ClientPlan& plan);
bool lstm_cell(Arguments arguments, ClientPlan& plan);
bool lstm_cell_backward(Arguments arguments, ClientPlan& plan);

// recurrent_network_rules.cpp
bool cudnn_rnn(Arguments arguments, ClientPlan& plan);
bool cudnn_rnn_backward(Arguments arguments, ClientPlan& plan);
bool dropout_state(Arguments arguments, ClientPlan& plan);

}  // namespace torch_remote::client::rules
