// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Faults of an emulated device, asked for by Python (faults.py).
#pragma once

#include <memory>
#include <pybind11/pybind11.h>

#include "core/client/device.h"
#include "core/transport/channel.h"
#include "emulator/faults/fault_plan.h"

namespace torch_remote::python {

// The channel with the plan's faults, or as it is where there is no plan.
std::unique_ptr<transport::Channel> with_faults(std::unique_ptr<transport::Channel> channel,
                                                const std::shared_ptr<emulator::FaultPlan>& plan);

// Before the device's first command, and after its models were attached. Does nothing without a
// plan.
void add_faults(client::Device& device, const std::shared_ptr<emulator::FaultPlan>& plan);

// Adds FaultPlan and functions to the module.
void define_faults(pybind11::module_& module);

}  // namespace torch_remote::python
