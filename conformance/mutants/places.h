// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Where a call's values hold its tensors and numbers, and where those tensors lie.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <span>
#include <vector>

#include "core/protocol/commands.h"
#include "core/protocol/plan.h"
#include "core/protocol/replies.h"

namespace torch_remote::mutants {

using protocol::TensorId;

// One tensor of a call.
struct Place {
  TensorId id = 0;
  std::uint64_t offset = 0;  // in elements
  protocol::TensorLayout layout{};
  bool is_written = false;             // an argument that the operator changes
  bool is_in_list = false;             // an element of a list
  std::uint32_t position = 0;          // of the id in the call's values
  std::uint8_t offset_size_bytes = 0;  // of the offset behind it
};

struct Places {
  std::vector<Place> arguments;
  std::vector<Place> outputs;  // fresh ones
};

Places find_places(const protocol::PlanDefinition& definition, std::span<const std::byte> values);
// Those of described outputs, whose ids count from first_id.
std::vector<Place> find_places(std::span<const protocol::DescribedOutput> outputs,
                               TensorId first_id);

// Where the values of an argument that varies begin; nothing for those that the plan fixes.
std::optional<std::uint32_t> number_position(const protocol::PlanDefinition& definition,
                                             std::size_t argument);

bool is_contiguous(const protocol::TensorLayout& layout);
std::uint64_t element_count(const protocol::TensorLayout& layout);

}  // namespace torch_remote::mutants
