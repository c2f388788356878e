// Copyright (C) 2026 the torch-remote authors
// SPDX-License-Identifier: AGPL-3.0-or-later
//
// A GPU's memory over a run, as a picture shows it: at most so many points, however long the run,
// each the maximum of what lies between it and the next. A value.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace torch_remote::emulator {

class MemorySeries {
 public:
  static constexpr std::size_t kPointsMax = 2048;

  // Maxima over [first_operation, first_operation of the next point), in bytes.
  struct Point {
    std::uint64_t first_operation = 0;
    std::uint64_t allocated_bytes = 0;
    std::uint64_t reserved_bytes = 0;
  };

  // Operations come in order.
  void note(std::uint64_t operation, std::uint64_t allocated_bytes, std::uint64_t reserved_bytes) {
    if (operation >= end_) begin_point(operation);
    Point& point = points_.back();
    point.allocated_bytes = std::max(point.allocated_bytes, allocated_bytes);
    point.reserved_bytes = std::max(point.reserved_bytes, reserved_bytes);
  }

  const std::vector<Point>& points() const { return points_; }

 private:
  void begin_point(std::uint64_t operation) {
    if (points_.size() == kPointsMax) halve();
    const std::uint64_t first = operation / width_ * width_;
    if (points_.empty() || first > points_.back().first_operation)
      points_.push_back({.first_operation = first});
    end_ = first + width_;
  }
  void halve() {
    width_ *= 2;
    std::vector<Point> fewer;
    for (const Point& point : points_) {
      const std::uint64_t first = point.first_operation / width_ * width_;
      if (fewer.empty() || fewer.back().first_operation != first)
        fewer.push_back({.first_operation = first});
      fewer.back().allocated_bytes = std::max(fewer.back().allocated_bytes, point.allocated_bytes);
      fewer.back().reserved_bytes = std::max(fewer.back().reserved_bytes, point.reserved_bytes);
    }
    points_ = std::move(fewer);
  }

  std::vector<Point> points_;
  std::uint64_t width_ = 1;
  std::uint64_t end_ = 0;  // of the last point
};

}  // namespace torch_remote::emulator
