// SPDX-License-Identifier: Apache-2.0
// The JSON that stands in for netlink answers (--collector.qdisc.fixtures, --collector.wifi.fixtures): an
// array of flat objects, or one.
#pragma once

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.h"

namespace vitald {

class FixtureItem {
 public:
  // 0 and empty when it is not there.
  [[nodiscard]] double number(std::string_view key) const { return known_number(key).value_or(0); }
  [[nodiscard]] std::string text(std::string_view key) const;
  [[nodiscard]] std::optional<double> known_number(std::string_view key) const;

  std::map<std::string, std::string, std::less<>> fields;
};

// Errors: gone, denied, io, malformed.
Result<> each_fixture(const std::string& path, const std::function<void(const FixtureItem&)>& each);

}  // namespace vitald
