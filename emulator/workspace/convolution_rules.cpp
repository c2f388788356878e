// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What convolutions allocate, in order: copies, results and the workspaces of
// convolution_workspace.h.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <vector>

#include "core/protocol/tensor_layout.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/convolution_workspace.h"
#include "emulator/workspace/memory_rules.h"
#include "emulator/workspace/memory_script.h"
#include "emulator/workspace/reduction_staging.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::TensorLayout;

// Contiguous and channels last at once: one channel, or one pixel.
bool has_one_layout(const TensorLayout& layout) {
  std::uint64_t pixels = 1;
  for (std::size_t i = 2; i < layout.sizes.size(); ++i)
    pixels *= static_cast<std::uint64_t>(layout.sizes[i]);
  return layout.sizes[1] == 1 || pixels == 1;
}

// Copies that PyTorch makes of tensors that aren't laid out as the call.
class LaidOut {
 public:
  LaidOut(const Convolution& convolution, ScriptWriter& script)
      : script_(script), is_last_(is_channels_last_call(convolution)) {}
  LaidOut(const LaidOut&) = delete;
  LaidOut& operator=(const LaidOut&) = delete;
  ~LaidOut() {
    // clang 14 can't read libstdc++'s views. NOLINTNEXTLINE(modernize-loop-convert)
    for (auto copy = copies_.rbegin(); copy != copies_.rend(); ++copy) script_.free(*copy);
  }

  void copy(const TensorLayout& layout) {
    const bool suits =
        is_last_ ? is_channels_last(layout) || (is_contiguous(layout) && has_one_layout(layout))
                 : is_contiguous(layout);
    if (!suits) copies_.push_back(script_.allocate(size_bytes(layout)));
  }

 private:
  ScriptWriter& script_;
  bool is_last_;
  std::vector<std::uint32_t> copies_;
};

bool is_supported(const Convolution& convolution) {
  if (convolution.input == nullptr || convolution.weight == nullptr ||
      convolution.result == nullptr)
    return false;
  const std::size_t rank = convolution.input->sizes.size();
  return rank >= 3 && rank == convolution.weight->sizes.size() &&
         element_count(*convolution.input) != 0 && element_count(*convolution.weight) != 0;
}

void describe(const CallView& call, std::size_t first_number, Convolution& convolution) {
  const auto strides = call.integers(first_number);
  convolution.is_strided =
      std::ranges::any_of(strides, [](std::int64_t stride) { return stride > 1; });
  convolution.groups = call.integer(first_number + 5, 1);
  convolution.is_patchwise = std::equal(
      convolution.weight->sizes.begin() + 2, convolution.weight->sizes.end(), strides.begin(),
      strides.end(), [](std::int64_t size, std::int64_t stride) { return size <= stride; });
  convolution.is_pointwise =
      std::all_of(convolution.weight->sizes.begin() + 2, convolution.weight->sizes.end(),
                  [](std::int64_t size) { return size == 1; });
}

// (input, weight, bias?, stride, padding, dilation, transposed, output_padding, groups). The bias
// is added in place.
void forward(const RuleContext& context, ScriptWriter& script) {
  Convolution convolution{.input = context.call.tensor(0),
                          .weight = context.call.tensor(1),
                          .result = context.call.output(0)};
  if (!is_supported(convolution)) return;
  describe(context.call, 3, convolution);
  LaidOut copies(convolution, script);
  copies.copy(*convolution.input);
  copies.copy(*convolution.weight);
  script.outputs();
  const bool is_transposed = context.call.boolean(6, false);
  script.scratch(is_transposed ? input_gradient_workspace_bytes(context, convolution)
                               : forward_workspace_bytes(context, convolution));
}

// (grad_output, input, weight, bias_sizes?, stride, padding, dilation, transposed, output_padding,
// groups, output_mask) -> (grad_input, grad_weight, grad_bias), of which some may be undefined.
void backward(const RuleContext& context, ScriptWriter& script) {
  Convolution convolution{.input = context.call.tensor(1),
                          .weight = context.call.tensor(2),
                          .result = context.call.tensor(0)};
  if (!is_supported(convolution)) return;
  describe(context.call, 4, convolution);
  const std::vector<std::int64_t> wanted = context.call.integers(10);
  const auto is_wanted = [&wanted](std::size_t i) { return i < wanted.size() && wanted[i] != 0; };
  std::uint32_t next = 0;
  // Each gradient makes its own copies.
  if (is_wanted(0)) {
    script.output(next++);
    LaidOut copies(convolution, script);
    copies.copy(*convolution.result);
    copies.copy(*convolution.weight);
    script.scratch(input_gradient_workspace_bytes(context, convolution));
  }
  if (is_wanted(1)) {
    LaidOut copies(convolution, script);
    copies.copy(*convolution.result);
    copies.copy(*convolution.input);
    script.output(next++);
    script.scratch(weight_gradient_workspace_bytes(context, convolution));
  }
  if (is_wanted(2)) {
    script.output(next++);
    std::vector<std::int64_t> dimensions = {0};
    for (std::size_t i = 2; i < convolution.result->sizes.size(); ++i)
      dimensions.push_back(static_cast<std::int64_t>(i));
    const ReductionStaging staging = reduction_staging(
        *convolution.result, dimensions,
        {.accumulator_size_bytes = accumulation_size_bytes(convolution.result->dtype)},
        context.gpu);
    const std::uint32_t parts = script.allocate(staging.parts_bytes);
    script.scratch(staging.semaphores_bytes);
    script.free(parts);
  }
}

// col2im(self, ...): the result is first made like the input, and keeps its memory (Col2Im.cu).
void columns_to_image(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* columns = context.call.tensor(0);
  const TensorLayout* image = context.call.output(0);
  if (columns != nullptr && image != nullptr)
    script.sized_output(0, std::max(size_bytes(*columns), size_bytes(*image)));
}

// im2col(self, ...): likewise, but the result is larger (Im2Col.cu).
void image_to_columns(const RuleContext& context, ScriptWriter& script) {
  const TensorLayout* image = context.call.tensor(0);
  if (image == nullptr) return;
  const std::uint32_t first = script.allocate(size_bytes(*image));
  script.outputs();
  script.free(first);
}

constexpr std::array kRules = std::to_array<NamedRule>({
    {"convolution", forward},
    {"convolution_overrideable", forward},
    {"convolution_backward", backward},
    {"convolution_backward_overrideable", backward},
    {"col2im", columns_to_image},
    {"im2col", image_to_columns},
});

}  // namespace

std::span<const NamedRule> convolution_rules() { return kRules; }

}  // namespace torch_remote::emulator::workspace
