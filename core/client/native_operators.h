// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// The few operators that have a registration of their own, because they make or look at metadata,
// or move bytes. Everything else takes run_operator's way.
#pragma once

#include <ATen/core/Tensor.h>
#include <c10/core/SymInt.h>
#include <c10/core/SymIntArrayRef.h>
#include <optional>
#include <string_view>
#include <tuple>

namespace torch_remote::client {

at::Tensor empty(c10::SymIntArrayRef sizes, std::optional<c10::ScalarType> dtype,
                 std::optional<c10::Layout> layout, std::optional<c10::Device> device,
                 std::optional<bool> pin_memory, std::optional<c10::MemoryFormat> memory_format);
at::Tensor empty_strided(c10::SymIntArrayRef sizes, c10::SymIntArrayRef strides,
                         std::optional<c10::ScalarType> dtype, std::optional<c10::Layout> layout,
                         std::optional<c10::Device> device, std::optional<bool> pin_memory);
at::Tensor as_strided(const at::Tensor& self, c10::SymIntArrayRef sizes,
                      c10::SymIntArrayRef strides, std::optional<c10::SymInt> storage_offset);
at::Tensor view(const at::Tensor& self, c10::SymIntArrayRef sizes);
at::Tensor reshape_alias(const at::Tensor& self, c10::SymIntArrayRef sizes,
                         c10::SymIntArrayRef strides);
const at::Tensor& resize_(const at::Tensor& self, c10::SymIntArrayRef sizes,
                          std::optional<c10::MemoryFormat> memory_format);
at::Tensor& set_storage_(at::Tensor& self, c10::Storage storage);
at::Tensor& set_storage_geometry_(at::Tensor& self, c10::Storage storage,
                                  c10::SymInt storage_offset, c10::SymIntArrayRef sizes,
                                  c10::SymIntArrayRef strides);
at::Tensor& set_tensor_(at::Tensor& self, const at::Tensor& source);
at::Tensor& set_empty_(at::Tensor& self);
// Zeros that take no memory: the tangents of what has none.
at::Tensor efficient_zeros(c10::SymIntArrayRef sizes, std::optional<c10::ScalarType> dtype,
                           std::optional<c10::Layout> layout, std::optional<c10::Device> device,
                           std::optional<bool> pin_memory);
// Unlike other in-place operators it gives a self of another shape that of the result.
at::Tensor& addbmm_(at::Tensor& self, const at::Tensor& first, const at::Tensor& second,
                    const at::Scalar& beta, const at::Scalar& alpha);
// Lazy conjugates become a choice between the two, as on CPU; so does the result's.
at::Tensor dot(const at::Tensor& self, const at::Tensor& other);
at::Tensor vdot(const at::Tensor& self, const at::Tensor& other);
void record_stream(at::Tensor& self, c10::Stream stream);
// Whether `self.data = from` may change the device, as between CPU and CUDA. Modules' .to() keeps
// their parameters so, and with them tied weights and what optimizers hold; otherwise it makes new
// ones.
bool has_compatible_shallow_copy_type(const at::Tensor& self, const at::Tensor& from);

// core/client/least_squares.cpp
std::tuple<at::Tensor&, at::Tensor&, at::Tensor&, at::Tensor&> least_squares_out(
    const at::Tensor& input, const at::Tensor& other, std::optional<double> rcond,
    std::optional<std::string_view> driver, at::Tensor& solution, at::Tensor& residuals,
    at::Tensor& rank, at::Tensor& singular_values);

// core/client/copy.cpp
at::Tensor copy_from(const at::Tensor& self, const at::Tensor& destination, bool non_blocking);
at::Tensor copy_from_and_resize(const at::Tensor& self, const at::Tensor& destination);
at::Scalar local_scalar_dense(const at::Tensor& self);

}  // namespace torch_remote::client
