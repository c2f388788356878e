// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Puts the models of GPUs in front of a device, and tells Python what they say.
#pragma once

#include <map>
#include <memory>
#include <pybind11/pybind11.h>
#include <string>
#include <vector>

#include "core/client/device.h"
#include "emulator/emulation.h"
#include "emulator/gpu_model.h"
#include "emulator/time/network_model.h"

namespace torch_remote::python {

// What a dry run's executor says of itself.
std::map<std::string, std::string> dry_run_description(const GpuModel& gpu);

// The models of GPUs, the first of which governs. Their settings are those of the environment.
// Throws std::invalid_argument for malformed settings.
std::shared_ptr<emulator::Emulation> make_emulation(std::vector<GpuModel> gpus,
                                                    emulator::Values values,
                                                    bool records_out_of_memory, int device_index,
                                                    const emulator::NetworkOptions& network = {});

// Where the executor says that it emulates a GPU, and no emulation is given, it gets one.
void attach_emulation(client::Device& device, std::shared_ptr<emulator::Emulation> emulation);

// Adds functions to the module.
void define_emulation(pybind11::module_& module);

}  // namespace torch_remote::python
