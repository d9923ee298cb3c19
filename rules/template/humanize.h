// SPDX-License-Identifier: Apache-2.0
// Numbers for people, as Prometheus' templates show them.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "rules/template/value.h"

namespace vitald::text_template {

std::string humanize(double v);
std::string humanize1024(double v);
std::string humanize_percentage(double v);
std::string humanize_duration(double seconds);

// Seconds since the epoch; nothing for what is no time.
std::optional<Time> to_time(double unix_seconds);
// 2015-06-23 13:19:44.128 +0000 UTC
std::string to_string(const Time& t);
// 1h30m0s
std::string to_string(const Duration& d);
// Go's layouts: "2006-01-02 15:04:05".
std::string format(const Time& t, std::string_view layout);

}  // namespace vitald::text_template
