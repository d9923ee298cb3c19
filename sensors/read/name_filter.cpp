// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/name_filter.h"

#include <fmt/format.h>
#include <re2/re2.h>

namespace vitald {
namespace {

Result<std::shared_ptr<const re2::RE2>> compile(std::string_view pattern) {
  if (pattern.empty()) return std::shared_ptr<const re2::RE2>();
  auto re = std::make_shared<const re2::RE2>(re2::StringPiece(pattern.data(), pattern.size()), re2::RE2::Quiet);
  if (!re->ok()) return fail(Errc::malformed, fmt::format("pattern '{}': {}", pattern, re->error()));
  return re;
}

bool matches(const std::shared_ptr<const re2::RE2>& re, std::string_view name) {
  return re2::RE2::PartialMatch(re2::StringPiece(name.data(), name.size()), *re);
}

}  // namespace

Result<NameFilter> NameFilter::make(std::string_view exclude, std::string_view include) {
  NameFilter filter;
  auto compiled = compile(exclude);
  if (!compiled) return fail(compiled.error());
  filter.exclude_ = std::move(*compiled);
  compiled = compile(include);
  if (!compiled) return fail(compiled.error());
  filter.include_ = std::move(*compiled);
  return filter;
}

Result<NameFilter> NameFilter::exclusive(const Options& options, std::string_view exclude_flag,
                                         std::string_view include_flag) {
  const auto include = options.text(include_flag);
  const auto exclude =
      !include.empty() && !options.given(exclude_flag) ? std::string_view{} : options.text(exclude_flag);
  if (!include.empty() && !exclude.empty())
    return fail(Errc::malformed,
                fmt::format("--{} and --{} are mutually exclusive: give one of them", exclude_flag, include_flag));
  return make(exclude, include);
}

bool NameFilter::ignored(std::string_view name) const {
  return (exclude_ && matches(exclude_, name)) || (include_ && !matches(include_, name));
}

}  // namespace vitald
