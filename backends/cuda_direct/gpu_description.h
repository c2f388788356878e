// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What CUDA's runtime tells about a GPU, as the welcome takes it to clients.
#pragma once

#include <map>
#include <string>

namespace torch_remote::executor::cuda {

// "gpu_" and the names of torch.cuda.get_device_properties, and the versions of the driver and the
// runtime, as numbers like 13000. Throws ExecutorError with what CUDA says where it fails.
std::map<std::string, std::string> gpu_description(int index);

}  // namespace torch_remote::executor::cuda
