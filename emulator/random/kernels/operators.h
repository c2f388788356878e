// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// PyTorch's random operators as they are on CUDA, of CPU tensors. Each is named after the operator
// and overload that it is (register.cpp), takes its arguments, and throws c10::Error as CUDA's
// does.
#pragma once

#include <ATen/core/Generator.h>
#include <ATen/core/Tensor.h>
#include <c10/core/Scalar.h>
#include <cstdint>
#include <optional>
#include <tuple>

#include "emulator/random/kernels/generator.h"

namespace torch_remote::emulator::random {

// ---- distributions.cpp ----
at::Tensor& uniform_(at::Tensor& self, double from, double to,
                     std::optional<at::Generator> generator);
at::Tensor& normal_(at::Tensor& self, double mean, double std,
                    std::optional<at::Generator> generator);
at::Tensor normal_tensor_float(const at::Tensor& mean, double std,
                               std::optional<at::Generator> generator);
at::Tensor& normal_tensor_float_out(const at::Tensor& mean, double std,
                                    std::optional<at::Generator> generator, at::Tensor& out);
at::Tensor normal_float_tensor(double mean, const at::Tensor& std,
                               std::optional<at::Generator> generator);
at::Tensor& normal_float_tensor_out(double mean, const at::Tensor& std,
                                    std::optional<at::Generator> generator, at::Tensor& out);
at::Tensor normal_tensor_tensor(const at::Tensor& mean, const at::Tensor& std,
                                std::optional<at::Generator> generator);
at::Tensor& normal_tensor_tensor_out(const at::Tensor& mean, const at::Tensor& std,
                                     std::optional<at::Generator> generator, at::Tensor& out);
at::Tensor& log_normal_(at::Tensor& self, double mean, double std,
                        std::optional<at::Generator> generator);
at::Tensor& geometric_(at::Tensor& self, double p, std::optional<at::Generator> generator);
at::Tensor& exponential_(at::Tensor& self, double lambda, std::optional<at::Generator> generator);
at::Tensor& cauchy_(at::Tensor& self, double median, double sigma,
                    std::optional<at::Generator> generator);
at::Tensor& bernoulli_float_(at::Tensor& self, double p, std::optional<at::Generator> generator);
at::Tensor& random_(at::Tensor& self, std::optional<at::Generator> generator);
at::Tensor& random_from_(at::Tensor& self, std::int64_t from, std::optional<std::int64_t> to,
                         std::optional<at::Generator> generator);
at::Tensor& random_to_(at::Tensor& self, std::int64_t to, std::optional<at::Generator> generator);

// ---- bernoulli.cpp ----
at::Tensor& bernoulli_tensor_(at::Tensor& self, const at::Tensor& p,
                              std::optional<at::Generator> generator);
at::Tensor& bernoulli_out(const at::Tensor& self, std::optional<at::Generator> generator,
                          at::Tensor& out);

// ---- randperm.cpp ----
at::Tensor& randperm_out(std::int64_t n, std::optional<at::Generator> generator, at::Tensor& out);

// ---- multinomial.cpp ----
at::Tensor multinomial(const at::Tensor& self, std::int64_t sample_count, bool replacement,
                       std::optional<at::Generator> generator);
at::Tensor& multinomial_out(const at::Tensor& self, std::int64_t sample_count, bool replacement,
                            std::optional<at::Generator> generator, at::Tensor& out);

// ---- dropout.cpp ----
std::tuple<at::Tensor, at::Tensor> native_dropout(const at::Tensor& input, double p,
                                                  std::optional<bool> train,
                                                  PhiloxGenerator& generator);
// p is the chance to keep here, and the mask of bytes.
std::tuple<at::Tensor, at::Tensor> fused_dropout(const at::Tensor& self, double p,
                                                 std::optional<at::Generator> generator);

// ---- rrelu.cpp ----
at::Tensor rrelu_with_noise(const at::Tensor& self, at::Tensor& noise, const at::Scalar& lower,
                            const at::Scalar& upper, bool training,
                            std::optional<at::Generator> generator);
at::Tensor& rrelu_with_noise_out(const at::Tensor& self, at::Tensor& noise, const at::Scalar& lower,
                                 const at::Scalar& upper, bool training,
                                 std::optional<at::Generator> generator, at::Tensor& out);
at::Tensor& rrelu_with_noise_(at::Tensor& self, at::Tensor& noise, const at::Scalar& lower,
                              const at::Scalar& upper, bool training,
                              std::optional<at::Generator> generator);

// ---- samplers.cpp ----
at::Tensor poisson(const at::Tensor& self, std::optional<at::Generator> generator);
at::Tensor binomial(const at::Tensor& count, const at::Tensor& probability,
                    std::optional<at::Generator> generator);
at::Tensor standard_gamma(const at::Tensor& self, std::optional<at::Generator> generator);
at::Tensor sample_dirichlet(const at::Tensor& self, std::optional<at::Generator> generator);

}  // namespace torch_remote::emulator::random
