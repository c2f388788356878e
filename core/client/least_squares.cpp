// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// What torch.linalg.lstsq does with out=: LAPACK wants room for rows that are no part of the
// solution, so PyTorch's kernel uses the outs themselves where it can, and leaves the gaps in them.
#include <ATen/core/Tensor.h>
#include <ATen/native/LinearAlgebraUtils.h>
#include <ATen/native/Resize.h>
#include <ATen/ops/linalg_lstsq.h>
#include <algorithm>
#include <cctype>
#include <cstdint>
#include <string>
#include <vector>

#include "core/client/native_operators.h"

namespace torch_remote::client {
namespace {

constexpr const char* kName = "torch.linalg.lstsq";

std::string lower(std::string_view text) {
  std::string lowered(text);
  std::ranges::transform(lowered, lowered.begin(),
                         [](unsigned char letter) { return std::tolower(letter); });
  return lowered;
}

bool is_empty_or(const at::Tensor& out, bool fits) { return out.numel() == 0 || fits; }

// Whether the kernel computes within the out.
bool takes_solution(const at::Tensor& out, const at::Tensor& input, const at::Tensor& other) {
  const bool is_vector = at::native::linalg_solve_is_vector_rhs(input, other);
  std::vector<std::int64_t> sizes = input.sizes().slice(0, input.sizes().size() - 2).vec();
  sizes.push_back(std::max(input.size(-1), input.size(-2)));
  // As the kernel has it: a single matrix is never taken.
  if (!is_vector && other.dim() > 2) sizes.push_back(other.size(-1));
  const auto has_order = [&] {
    return is_vector ? out.is_contiguous() : out.dim() >= 2 && out.mT().is_contiguous();
  };
  return out.scalar_type() == input.scalar_type() &&
         is_empty_or(out, out.sizes() == c10::IntArrayRef(sizes) && has_order());
}

// result is of the sizes and the dtype that are wanted.
bool takes(const at::Tensor& out, const at::Tensor& result) {
  return out.scalar_type() == result.scalar_type() &&
         is_empty_or(out, out.sizes() == result.sizes() && out.is_contiguous());
}

void copy_to_out(const at::Tensor& out, const at::Tensor& result) {
  at::native::resize_output(out, result.sizes());
  out.copy_(result);
}

// With the strides of the result, on the out's own storage.
void place_in_out(at::Tensor& out, const at::Tensor& result) {
  set_storage_geometry_(out, out.storage(), out.sym_storage_offset(), result.sym_sizes(),
                        result.sym_strides());
  out.copy_(result);
}

}  // namespace

std::tuple<at::Tensor&, at::Tensor&, at::Tensor&, at::Tensor&> least_squares_out(
    const at::Tensor& input, const at::Tensor& other, std::optional<double> rcond,
    std::optional<std::string_view> driver, at::Tensor& solution, at::Tensor& residuals,
    at::Tensor& rank, at::Tensor& singular_values) {
  const auto [solved, left, found_rank, found_values] =
      at::linalg_lstsq(input, other, rcond, driver);
  at::native::checkLinalgCompatibleDtype(kName, solution, solved, "solution");
  at::native::checkLinalgCompatibleDtype(kName, residuals, left, "solution");
  at::native::checkLinalgCompatibleDtype(kName, rank, found_rank, "rank");
  at::native::checkLinalgCompatibleDtype(kName, singular_values, found_values, "singular_values");

  const std::string algorithm = lower(driver.value_or("gelsy"));
  const bool has_rank = algorithm != "gels";
  const bool has_values = algorithm == "gelsd" || algorithm == "gelss";
  if (!takes_solution(solution, input, other) || (has_rank && !takes(rank, found_rank)) ||
      (has_values && !takes(singular_values, found_values))) {
    copy_to_out(solution, solved);
    copy_to_out(residuals, left);
    copy_to_out(rank, found_rank);
    copy_to_out(singular_values, found_values);
  } else {  // what the algorithm does not give stays as it is
    place_in_out(solution, solved);
    if (left.numel() != 0) copy_to_out(residuals, left);
    if (has_rank) copy_to_out(rank, found_rank);
    if (has_values) copy_to_out(singular_values, found_values);
  }
  return {solution, residuals, rank, singular_values};
}

}  // namespace torch_remote::client
