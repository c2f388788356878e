// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// Linear algebra by cuSOLVER and cuBLAS, and Fourier transforms by cuFFT: what PyTorch allocates
// around the calls (ATen/native/cuda/linalg, ATen/native/BatchLinearAlgebra.cpp), and the
// libraries' workspaces by what an H100 and an H200 showed for matrices of 64 and of 1024 in
// float32, with a line or a parabola through them. Workspaces of other types go by the size of the
// element.
#include <algorithm>
#include <array>
#include <cstddef>
#include <cstdint>
#include <span>

#include "core/protocol/tensor_layout.h"
#include "emulator/workspace/call_view.h"
#include "emulator/workspace/memory_rules.h"
#include "emulator/workspace/memory_script.h"

namespace torch_remote::emulator::workspace {
namespace {

using protocol::TensorLayout;

constexpr std::uint64_t kIndexBytes = 8;
constexpr std::uint64_t kPointerBytes = 8;
constexpr std::uint64_t kPivotBytes = 4;
constexpr std::uint64_t kInfoBytes = 4;
constexpr std::uint64_t kFloatBytes = 4;

// A batch of matrices; n is the longer side.
struct Matrices {
  std::uint64_t count = 1;
  std::uint64_t rows = 1;
  std::uint64_t columns = 1;
  std::uint64_t item_bytes = kFloatBytes;
  bool is_batch = false;

  std::uint64_t n() const { return std::max(rows, columns); }
  std::uint64_t rank() const { return std::min(rows, columns); }
  std::uint64_t one_bytes() const { return rows * columns * item_bytes; }
  std::uint64_t all_bytes() const { return count * one_bytes(); }
  std::uint64_t scaled(std::uint64_t float_bytes) const {
    return float_bytes * item_bytes / kFloatBytes;
  }
};

bool read_matrices(const TensorLayout* layout, Matrices& matrices) {
  if (layout == nullptr || layout->sizes.size() < 2 || element_count(*layout) == 0) return false;
  const std::size_t rank = layout->sizes.size();
  matrices.rows = static_cast<std::uint64_t>(layout->sizes[rank - 2]);
  matrices.columns = static_cast<std::uint64_t>(layout->sizes[rank - 1]);
  matrices.count = element_count(*layout) / (matrices.rows * matrices.columns);
  matrices.item_bytes = protocol::data_type_size_bytes(layout->dtype);
  matrices.is_batch = rank > 2;
  return true;
}

// The host looks whether anything failed.
void check(const Matrices& matrices, std::uint32_t info, ScriptWriter& script) {
  const std::uint32_t failed = script.allocate(1);
  if (!matrices.is_batch) script.scratch(1);
  script.free(failed);
  script.free(info);
}

// _linalg_svd(A, full_matrices, compute_uv, driver) -> (U, S, Vh), by gesvdj.
void singular_values(const RuleContext& context, ScriptWriter& script) {
  Matrices matrices;
  if (!read_matrices(context.call.tensor(0), matrices)) return;
  const std::uint64_t n = matrices.n();
  const bool has_vectors = context.call.boolean(2, true);
  if (has_vectors) {
    script.output(0);
    script.output(2);
  }
  script.output(1);
  const std::uint32_t info = script.allocate(matrices.count * kInfoBytes);
  const std::uint32_t copy = script.allocate(matrices.all_bytes());
  const std::uint64_t square_bytes = has_vectors ? 0 : n * n * matrices.item_bytes;
  const std::uint32_t left = script.allocate(square_bytes);
  const std::uint32_t right = script.allocate(square_bytes);
  script.scratch(matrices.scaled(8 * n * n + 277 * n + 3136));
  script.free(right);
  script.free(left);
  script.free(copy);
  check(matrices, info, script);
}

std::uint64_t line(std::uint64_t n, std::uint64_t at_64, std::uint64_t at_1024) {
  return n <= 64 ? at_64 : at_64 + (n - 64) * (at_1024 - at_64) / (1024 - 64);
}

// linalg_qr(A, mode) -> (Q, R), by geqrf and orgqr.
void orthogonal_factors(const RuleContext& context, ScriptWriter& script) {
  Matrices matrices;
  if (!read_matrices(context.call.tensor(0), matrices)) return;
  script.outputs();
  const std::uint64_t n = matrices.n();
  const std::uint32_t scales =
      script.allocate(matrices.count * matrices.rank() * matrices.item_bytes);
  if (matrices.is_batch) {
    const std::uint32_t pointers = script.allocate(matrices.count * kPointerBytes);
    script.scratch(matrices.count * kPointerBytes);
    script.free(pointers);
  } else {
    const std::uint32_t info = script.allocate(kInfoBytes);
    script.scratch(matrices.scaled(line(n, 3145856, 6291584)));
    script.free(info);
  }
  const std::uint32_t info = script.allocate(kInfoBytes);
  for (std::uint64_t i = 0; i < std::min<std::uint64_t>(matrices.count, 2); ++i)
    script.scratch(matrices.scaled(line(n, 148480, 1639424)));
  script.free(info);
  script.free(scales);
}

// linalg_cholesky_ex(A, ...) -> (L, info), by potrf.
void cholesky(const RuleContext& context, ScriptWriter& script) {
  Matrices matrices;
  if (!read_matrices(context.call.tensor(0), matrices)) return;
  script.outputs();
  const std::uint64_t n = matrices.n();
  script.scratch(matrices.is_batch ? matrices.count * kPointerBytes
                                   : matrices.scaled(n <= 64 ? 160 : 4 * n + 128));
}

// _linalg_eigh(A, UPLO, compute_v) -> (eigenvalues, eigenvectors): syevj up to 512, else syevd.
void symmetric_eigenvalues(const RuleContext& context, ScriptWriter& script) {
  Matrices matrices;
  if (!read_matrices(context.call.tensor(0), matrices)) return;
  script.output(1);
  script.output(0);
  const std::uint64_t n = matrices.n();
  const std::uint32_t info = script.allocate(matrices.count * kInfoBytes);
  // One after the other, so that one is as good as all.
  script.scratch(matrices.scaled(n <= 512 ? n * n * 708 / 100 : n * n * 1662 / 100));
  check(matrices, info, script);
}

void factorize(const Matrices& matrices, ScriptWriter& script) {
  if (!matrices.is_batch)
    script.scratch(matrices.scaled(std::max<std::uint64_t>(1280, 12 * matrices.n() + 256)));
}

// linalg_lu_factor_ex(A, ...) -> (LU, pivots, info), by getrf.
void lu_factors(const RuleContext& context, ScriptWriter& script) {
  Matrices matrices;
  if (!read_matrices(context.call.tensor(0), matrices)) return;
  script.outputs();
  factorize(matrices, script);
}

// The rows in the order of the pivots, and two triangular systems.
void solve_factored(const Matrices& matrices, std::uint64_t right_bytes, ScriptWriter& script) {
  const std::uint64_t row_bytes = matrices.n() * kIndexBytes;
  const std::uint64_t rows_bytes = matrices.count * row_bytes;
  const std::uint32_t first = script.allocate(row_bytes);
  const std::uint32_t second = script.allocate(rows_bytes);
  std::uint32_t third = 0, fourth = 0;
  if (matrices.is_batch) {
    script.free(first);
    third = script.allocate(row_bytes);
    fourth = script.allocate(rows_bytes);
  } else {
    third = script.allocate(rows_bytes);
  }
  const std::uint32_t right = script.allocate(right_bytes);
  for (int system = 0; matrices.is_batch && system < 2; ++system) {
    const std::uint32_t pointers = script.allocate(matrices.count * kPointerBytes);
    script.scratch(matrices.count * kPointerBytes);
    script.free(pointers);
  }
  script.free(right);
  if (matrices.is_batch) script.free(fourth);
  script.free(third);
  script.free(second);
  script.free(first);
}

// _linalg_solve_ex(A, B, ...) -> (result, LU, pivots, info)
void solve(const RuleContext& context, ScriptWriter& script) {
  Matrices matrices;
  const TensorLayout* right = context.call.tensor(1);
  if (!read_matrices(context.call.tensor(0), matrices) || right == nullptr) return;
  script.outputs();
  factorize(matrices, script);
  solve_factored(matrices, size_bytes(*right), script);
}

// linalg_inv_ex(A, ...) -> (inverse, info)
void inverse(const RuleContext& context, ScriptWriter& script) {
  Matrices matrices;
  if (!read_matrices(context.call.tensor(0), matrices)) return;
  script.outputs();
  const std::uint32_t factors = script.allocate(matrices.all_bytes());
  const std::uint32_t pivots = script.allocate(matrices.count * matrices.n() * kPivotBytes);
  factorize(matrices, script);
  solve_factored(matrices, matrices.all_bytes(), script);
  script.free(pivots);
  script.free(factors);
}

// _linalg_det(A) -> (det, LU, pivots) and _linalg_slogdet(A) -> (sign, logabsdet, LU, pivots): the
// product of the diagonal, and how many pivots moved.
void determinant(const RuleContext& context, ScriptWriter& script) {
  Matrices matrices;
  if (!read_matrices(context.call.tensor(0), matrices)) return;
  script.outputs();
  const std::uint64_t n = matrices.n(), count = matrices.count;
  const std::uint32_t info = script.allocate(count * kInfoBytes);
  factorize(matrices, script);
  const std::uint32_t products = script.allocate(count * matrices.item_bytes);
  const std::uint32_t places = script.allocate(n * kPivotBytes);
  const std::uint32_t moved = script.allocate(count * n);
  const std::uint32_t counts = script.allocate(count * kIndexBytes);
  script.scratch(count * n * kIndexBytes);
  script.free(moved);
  script.free(places);
  script.free(counts);
  script.free(products);
  script.free(info);
}

// linalg_solve_triangular(A, B, ...): pointers for a batch.
void solve_triangular(const RuleContext& context, ScriptWriter& script) {
  Matrices matrices;
  script.outputs();
  if (!read_matrices(context.call.tensor(0), matrices) || !matrices.is_batch) return;
  const std::uint32_t pointers = script.allocate(matrices.count * kPointerBytes);
  script.scratch(matrices.count * kPointerBytes);
  script.free(pointers);
}

// linalg_matrix_exp(A): the norm, then powers of the matrix, four of them at a time for one matrix.
// For a batch each degree's matrices are worked on by themselves: five powers and their sums.
void matrix_exponential(const RuleContext& context, ScriptWriter& script) {
  Matrices matrices;
  if (!read_matrices(context.call.tensor(0), matrices)) return;
  const std::uint64_t bytes = matrices.all_bytes();
  const std::uint32_t magnitudes = script.allocate(bytes);
  script.scratch(matrices.count * matrices.n() * matrices.item_bytes);
  script.free(magnitudes);
  script.outputs();
  const std::uint64_t powers = matrices.is_batch ? 5 : 4;
  const std::uint32_t scaled = script.allocate(bytes);
  const std::uint32_t all_powers = script.allocate(powers * bytes);
  script.scratch(bytes);
  script.scratch(powers * bytes);
  script.free(all_powers);
  script.free(scaled);
}

// _fft_r2c(self, dim, ...): cuFFT does the two first dimensions one after the other (ATen/native/
// cuda/SpectralOps.cpp, use_optimized_cufft_path).
void real_transform(const RuleContext& context, ScriptWriter& script) {
  script.outputs();
  const auto dimensions = context.call.integers(1);
  const TensorLayout* output = context.call.output(0);
  const bool is_stepwise =
      dimensions.size() > 3 || (dimensions.size() >= 2 && dimensions[0] == 0 && dimensions[1] == 1);
  if (is_stepwise && output != nullptr) script.scratch(size_bytes(*output));
}

constexpr std::array kRules = std::to_array<NamedRule>({
    {"_linalg_svd", singular_values},
    {"linalg_qr", orthogonal_factors},
    {"linalg_cholesky_ex", cholesky},
    {"_linalg_eigh", symmetric_eigenvalues},
    {"linalg_lu_factor_ex", lu_factors},
    {"_linalg_solve_ex", solve},
    {"linalg_inv_ex", inverse},
    {"_linalg_det", determinant},
    {"_linalg_slogdet", determinant},
    {"linalg_solve_triangular", solve_triangular},
    {"linalg_matrix_exp", matrix_exponential},
    {"_fft_r2c", real_transform},
});

}  // namespace

std::span<const NamedRule> linear_algebra_rules() { return kRules; }

}  // namespace torch_remote::emulator::workspace
