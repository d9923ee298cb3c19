// SPDX-License-Identifier: Apache-2.0
// What an operator makes of two numbers.
#pragma once

#include <cmath>
#include <limits>

#include "rules/promql/ast.h"

namespace vitald::promql {

inline double arithmetic(BinaryOp op, double l, double r) {
  switch (op) {
    case BinaryOp::add: return l + r;
    case BinaryOp::sub: return l - r;
    case BinaryOp::mul: return l * r;
    case BinaryOp::div: return l / r;
    case BinaryOp::mod: return std::fmod(l, r);
    case BinaryOp::pow: return std::pow(l, r);
    case BinaryOp::atan2: return std::atan2(l, r);
    default: return std::numeric_limits<double>::quiet_NaN();
  }
}

inline bool compare(BinaryOp op, double l, double r) {
  switch (op) {
    case BinaryOp::eql: return l == r;
    case BinaryOp::neq: return l != r;
    case BinaryOp::lte: return l <= r;
    case BinaryOp::lss: return l < r;
    case BinaryOp::gte: return l >= r;
    case BinaryOp::gtr: return l > r;
    default: return false;
  }
}

}  // namespace vitald::promql
