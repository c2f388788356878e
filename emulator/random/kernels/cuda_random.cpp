// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Which operator has which kernel, and the source of an executor.
#include "emulator/random/cuda_random.h"

#include <ATen/core/Tensor.h>
#include <string>
#include <string_view>
#include <torch/library.h>
#include <utility>

#include "core/executor/libtorch/random_source.h"
#include "core/executor/libtorch/stack_values.h"
#include "emulator/random/kernels/attention.h"
#include "emulator/random/kernels/generator.h"
#include "emulator/random/kernels/operators.h"

namespace torch_remote::emulator {
namespace {

using executor::libtorch::SubstituteFunction;

// Operators that have kernels for each device. All others that draw are composed of these.
void register_kernels() {
  static torch::Library& library = [&]() -> torch::Library& {
    // Never destroyed: operators may be called as long as the process lives.
    auto& made =
        *new torch::Library(torch::Library::IMPL, "aten", random::kPhiloxKey, __FILE__, __LINE__);
    made.impl("uniform_", &random::uniform_);
    made.impl("normal_", &random::normal_);
    made.impl("normal.Tensor_float", &random::normal_tensor_float);
    made.impl("normal.Tensor_float_out", &random::normal_tensor_float_out);
    made.impl("normal.float_Tensor", &random::normal_float_tensor);
    made.impl("normal.float_Tensor_out", &random::normal_float_tensor_out);
    made.impl("normal.Tensor_Tensor", &random::normal_tensor_tensor);
    made.impl("normal.Tensor_Tensor_out", &random::normal_tensor_tensor_out);
    made.impl("log_normal_", &random::log_normal_);
    made.impl("geometric_", &random::geometric_);
    made.impl("exponential_", &random::exponential_);
    made.impl("cauchy_", &random::cauchy_);
    made.impl("bernoulli_.float", &random::bernoulli_float_);
    made.impl("bernoulli_.Tensor", &random::bernoulli_tensor_);
    made.impl("bernoulli.out", &random::bernoulli_out);
    made.impl("random_", &random::random_);
    made.impl("random_.from", &random::random_from_);
    made.impl("random_.to", &random::random_to_);
    made.impl("randperm.generator_out", &random::randperm_out);
    made.impl("multinomial", &random::multinomial);
    made.impl("multinomial.out", &random::multinomial_out);
    made.impl("_fused_dropout", &random::fused_dropout);
    made.impl("rrelu_with_noise", &random::rrelu_with_noise);
    made.impl("rrelu_with_noise.out", &random::rrelu_with_noise_out);
    made.impl("rrelu_with_noise_", &random::rrelu_with_noise_);
    made.impl("poisson", &random::poisson);
    made.impl("binomial", &random::binomial);
    made.impl("_standard_gamma", &random::standard_gamma);
    made.impl("_sample_dirichlet", &random::sample_dirichlet);
    return made;
  }();
  (void)library;
}

// Arguments: input, p, train.
void native_dropout(torch::jit::Stack& stack, const at::Generator& generator) {
  auto [output, mask] =
      random::native_dropout(stack.at(0).toTensor(), stack.at(1).toDouble(),
                             stack.at(2).toOptional<bool>(), random::philox_generator(generator));
  executor::libtorch::replace(stack, std::move(output), std::move(mask));
}

class CudaRandomSource final : public executor::libtorch::RandomSource {
 public:
  explicit CudaRandomSource(const GpuModel& model)
      : type_(model.type), card_(random::card_of(model)) {}

  std::string description() const override { return "philox, " + type_; }
  at::Generator make_generator() const override {
    return at::make_generator<random::PhiloxGenerator>(card_);
  }
  c10::DispatchKey key() const override { return random::kPhiloxKey; }
  SubstituteFunction substitute(std::string_view name) const override {
    return name == "aten::native_dropout" ? &native_dropout : random::attention_substitute(name);
  }

 private:
  std::string type_;
  random::Card card_;
};

}  // namespace

std::shared_ptr<const executor::libtorch::RandomSource> cuda_random_source(const GpuModel& model) {
  register_kernels();
  return std::make_shared<CudaRandomSource>(model);
}

}  // namespace torch_remote::emulator
