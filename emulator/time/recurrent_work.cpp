// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// cuDNN's recurrent networks: the inputs of all steps of a layer in one product, then for each step
// a product with the state and a kernel for the cell's functions. States that fit into the
// multiprocessors stay there, and a layer's steps are one kernel. The backward does the same in the
// other direction, and two products more for the gradients of the weights.
#include "emulator/time/recurrent_work.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <string_view>
#include <utility>

#include "core/protocol/recurrent_network.h"
#include "emulator/time/kernel_duration.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/recurrent_workspace.h"

namespace torch_remote::emulator {
namespace {

using protocol::RecurrentNetwork;

// An H200's, which has told the parameters of chains.
constexpr double kClockOfRecordMhz = 1980;

constexpr std::size_t kState = 4, kForwardMode = 6, kBackwardMode = 10;

// A layer in one direction, as its kernels see it.
struct Layer {
  double inputs;   // width
  double hidden;   // of the state
  double gates;    // values of all gates of a step
  double outputs;  // width of what goes back into the next step
  double rows;     // of all steps
  double steps;
  double batch;  // mean over the steps
};

Layer layer_of(const RecurrentNetwork& network, std::uint64_t number) {
  const auto hidden = static_cast<double>(network.hidden_size);
  const auto outputs = static_cast<double>(network.output_size());
  const auto rows = static_cast<double>(network.row_count);
  const auto steps = static_cast<double>(std::max<std::uint64_t>(1, network.step_count));
  return {.inputs = number == 0 ? static_cast<double>(network.input_size)
                                : outputs * static_cast<double>(network.direction_count),
          .hidden = hidden,
          .gates = hidden * static_cast<double>(gate_count(network.kind)),
          .outputs = outputs,
          .rows = rows,
          .steps = steps,
          .batch = rows / steps};
}

class Writer {
 public:
  Writer(const RecurrentNetwork& network, protocol::DataType dtype, const WorkContext& context)
      : network_(network), dtype_(dtype), context_(context) {}

  // (m, k) by (k, n), `times` times one after the other. tf32_factor: how much longer than a
  // product by itself it takes where it is in TF32.
  void multiply(std::string_view name, double m, double n, double k, double times = 1,
                double tf32_factor = 1) {
    Product product{.m = m, .n = n, .k = k};
    product.unit = math_unit(dtype_, context_.settings.allow_tf32_in_convolutions);
    product.operand_size_bytes = element_bytes();
    product.is_aligned =
        std::fmod(n * element_bytes(), 16) == 0 && std::fmod(k * element_bytes(), 16) == 0;
    const double weight_bytes = k * n * element_bytes();
    KernelWork one{.name = name,
                   .kernel_class = KernelClass::kRecurrent,
                   .read_bytes = weight_bytes + m * k * element_bytes(),
                   .written_bytes = m * n * element_bytes(),
                   .bandwidth_share = context_.calibration.product_bandwidth_share,
                   .product = product};
    if (times == 1) return works_.push_back(one);
    // The weights are the same in every step: in the L2 cache where they fit.
    repeat(one, times, product.unit == MathUnit::kTf32 ? tf32_factor : 1);
  }

  // Reads and writes so many values for each row, once or in each of so many steps.
  void elementwise(std::string_view name, double rows, double reads, double writes,
                   double extra_us = 0, double times = 1) {
    const KernelWork one{.name = name,
                         .kernel_class = KernelClass::kRecurrent,
                         .read_bytes = rows * reads * element_bytes(),
                         .written_bytes = rows * writes * element_bytes(),
                         .extra_us = extra_us * clock_ratio()};
    if (times == 1) return works_.push_back(one);
    repeat(one, times, 1);
  }

  // Sums over rows.
  void sum(std::string_view name, double rows, double width) {
    const Calibration& c = context_.calibration;
    works_.push_back({.name = name,
                      .kernel_class = KernelClass::kRecurrent,
                      .read_bytes = rows * width * element_bytes(),
                      .bandwidth_share = c.recurrent_sum_share,
                      .extra_us = c.recurrent_sum_us * clock_ratio()});
  }

  // All steps in one kernel, each waiting for the one before.
  void chain(std::string_view name, const Layer& layer) {
    const Calibration& c = context_.calibration;
    const double matrix = layer.hidden * layer.hidden * std::sqrt(layer.gates / layer.hidden);
    const double step_us = c.recurrent_step_us + c.recurrent_step_us_per_element * matrix;
    works_.push_back({.name = name,
                      .kernel_class = KernelClass::kRecurrent,
                      .extra_us = (c.recurrent_chain_us + layer.steps * step_us) * clock_ratio()});
  }

  Works finish() { return std::move(works_); }

 private:
  double clock_ratio() const { return kClockOfRecordMhz / context_.gpu.boost_clock_mhz; }
  double element_bytes() const { return static_cast<double>(network_.element_size_bytes); }

  void repeat(const KernelWork& one, double times, double factor) {
    const double us =
        factor * kernel_us(one, context_.gpu, CacheState::kRepeated, context_.calibration);
    const double floor_us = context_.calibration.stream_floor_us * clock_ratio();
    works_.push_back({.name = one.name,
                      .kernel_class = KernelClass::kRecurrent,
                      .launches = times,
                      .extra_us = times * std::max(0.0, us - floor_us)});
  }

  const RecurrentNetwork& network_;
  protocol::DataType dtype_;
  const WorkContext& context_;
  Works works_;
};

// Layers overlap, for which the inputs of all steps but a first layer's are multiplied in parts.
double input_parts(const RecurrentNetwork& network, const Layer& layer) {
  constexpr double kStepsOfPart = 8, kPartsMax = 5;
  if (network.layer_count == 1) return 1;
  return std::clamp(std::ceil(layer.steps / kStepsOfPart), 1.0, kPartsMax);
}

struct Choices {
  bool is_persistent = false;
  bool has_weights = true;  // whether gradients of the weights are wanted
  double parts = 1;
  double cell_us = 0;  // of a cell's functions, beside what a kernel of streams takes
  double tf32_forward_factor = 1, tf32_backward_factor = 1;
};

void forward(Writer& writer, const Layer& layer, const Choices& choices) {
  writer.multiply("recurrent layer, inputs", layer.rows / choices.parts, layer.gates, layer.inputs,
                  choices.parts);
  if (choices.is_persistent) return writer.chain("recurrent layer, all steps", layer);
  writer.multiply("recurrent layer, state", layer.batch, layer.gates, layer.outputs, layer.steps,
                  choices.tf32_forward_factor);
  writer.elementwise("recurrent layer, cell", layer.batch, 2 * layer.gates + layer.hidden,
                     layer.gates + 2 * layer.hidden, choices.cell_us, layer.steps);
}

void backward(Writer& writer, const Layer& layer, const Choices& choices) {
  if (choices.is_persistent) {
    writer.chain("recurrent layer, all steps", layer);
  } else {
    writer.elementwise("recurrent layer, cell", layer.batch, layer.gates + 3 * layer.hidden,
                       layer.gates + layer.hidden, choices.cell_us, layer.steps);
    writer.multiply("recurrent layer, state", layer.batch, layer.outputs, layer.gates, layer.steps,
                    choices.tf32_backward_factor);
  }
  writer.multiply("recurrent layer, inputs", layer.rows / choices.parts, layer.inputs, layer.gates,
                  choices.parts);
  if (!choices.has_weights) return;
  writer.multiply("recurrent layer, weights", layer.gates, layer.inputs, layer.rows);
  writer.multiply("recurrent layer, weights", layer.gates, layer.outputs, layer.rows);
  writer.sum("recurrent layer, biases", layer.rows, layer.gates);
}

}  // namespace

Works recurrent_work(const PlannedOperator& planned, const WorkContext& context) {
  const bool is_backward = planned.name.find("backward") != std::string_view::npos;
  const workspace::CallView call(planned);
  const RecurrentNetwork network =
      workspace::read_recurrent_network(call, kState, is_backward ? kBackwardMode : kForwardMode);
  if (network.row_count == 0) return {};
  const protocol::DataType dtype = call.tensor(0)->dtype;
  Choices choices{.is_persistent = workspace::keeps_state_on_chip(network, dtype),
                  // Outputs beside the gradients of the input and the states.
                  .has_weights = call.output_count() > 3,
                  .cell_us = context.calibration.recurrent_cell_us,
                  .tf32_forward_factor = context.calibration.recurrent_tf32_forward_factor,
                  .tf32_backward_factor = context.calibration.recurrent_tf32_backward_factor};
  Writer writer(network, dtype, context);
  for (std::uint64_t number = 0; number < network.layer_count; ++number) {
    const Layer layer = layer_of(network, number);
    choices.parts = input_parts(network, layer);
    for (std::uint64_t direction = 0; direction < network.direction_count; ++direction) {
      if (is_backward)
        backward(writer, layer, choices);
      else
        forward(writer, layer, choices);
    }
  }
  const auto elements = static_cast<double>(weight_element_count(network));
  if (!is_backward && call.is_none(3))
    writer.elementwise("recurrent weights, copied", 1, elements, elements);
  if (is_backward && choices.has_weights)
    writer.elementwise("gradients of recurrent weights, zeroed", 1, 0, elements);
  return writer.finish();
}

}  // namespace torch_remote::emulator
