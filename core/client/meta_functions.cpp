// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
#include "core/client/meta_functions.h"

#include <unordered_map>

namespace torch_remote::client {

const c10::KernelFunction* find_meta_function(const std::string& name) {
  static const auto& table = *[] {
    auto* made =
        new std::unordered_map<std::string, c10::KernelFunction>;  // lives as long as the operators
    for (const auto& make :
         {meta_functions_0, meta_functions_1, meta_functions_2, meta_functions_3}) {
      for (auto& [key, function] : make()) made->emplace(key, std::move(function));
    }
    return made;
  }();
  const auto found = table.find(name);
  return found == table.end() ? nullptr : &found->second;
}

}  // namespace torch_remote::client
