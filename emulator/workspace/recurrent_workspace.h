// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What cuDNN takes for a recurrent network while it runs.
#pragma once

#include <cstddef>
#include <cstdint>

#include "core/protocol/plan.h"
#include "core/protocol/recurrent_network.h"
#include "emulator/workspace/call_view.h"

namespace torch_remote::emulator::workspace {

// Of 476 networks that an H200 ran with cuDNN 9.19 (recorded/recurrent_networks.txt), all but what
// rounds pieces up, less than 400 bytes. Other GPUs and versions of cuDNN were not seen; layers
// beyond the third count as the third. `trains` says whether a reserve is made; forward and
// backward take the same.
std::uint64_t recurrent_workspace_bytes(const protocol::RecurrentNetwork& network,
                                        protocol::DataType dtype, bool trains);

// Whether cuDNN keeps a layer's state in the multiprocessors from step to step, in one kernel. The
// records have it for hidden sizes of 51 and 64, plain networks' 256 as well, and not for 200 and
// above, plain networks' 650; never for bfloat16.
bool keeps_state_on_chip(const protocol::RecurrentNetwork& network, protocol::DataType dtype);

// The network of a call of _cudnn_rnn or its backward; `state` and `mode` are the positions of
// these arguments. Sizes of zero where the call doesn't tell.
protocol::RecurrentNetwork read_recurrent_network(const CallView& call, std::size_t state,
                                                  std::size_t mode);

}  // namespace torch_remote::emulator::workspace
