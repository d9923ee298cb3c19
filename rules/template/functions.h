// SPDX-License-Identifier: Apache-2.0
// The functions of templates: Go's own and Prometheus'.
#pragma once

#include <functional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"
#include "rules/template/value.h"

namespace vitald::text_template {

// What functions may ask of their surroundings.
struct Environment {
  std::function<Result<Samples>(const std::string& expression)> query;
  std::string external_url;
  double now = 0;  // seconds since the epoch, of the evaluation
};

// What a parameter takes; `any` also takes nil, `value` (Go's reflect.Value) does not.
enum class Param : std::uint8_t { any, value, string, sample, samples };

struct Function {
  std::string_view name;
  std::vector<Param> params;
  bool variadic = false;                                               // the last one any number of times
  Value (*call)(const Environment& env, std::span<const Value> args);  // throws Fault
};

const Function* find_function(std::string_view name);
// The nearest name of a function, for what is none; else empty.
std::string_view nearest_function(std::string_view name);
std::string_view to_string(Param p);  // as Go calls the type

}  // namespace vitald::text_template
