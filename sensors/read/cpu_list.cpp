// SPDX-License-Identifier: Apache-2.0
#include "sensors/read/cpu_list.h"

#include "core/text/scan.h"

namespace vitald {

std::optional<std::vector<std::uint64_t>> parse_cpu_list(std::string_view text) {
  std::vector<std::uint64_t> cpus;
  for (std::string_view rest = trim(text); !rest.empty();) {
    auto range = take_until(rest, ',');
    const auto first = parse_u64(take_until(range, '-'));
    const auto last = range.empty() ? first : parse_u64(range);
    if (!first || !last || *last < *first || *last > 65535 || cpus.size() > 65535) return std::nullopt;
    for (auto cpu = *first; cpu <= *last; ++cpu) cpus.push_back(cpu);
  }
  return cpus;
}

CpuList::CpuList(const Host& host, std::string_view which)
    : file_(host.sysfs("devices/system/cpu/" + std::string(which))) {}

std::span<const std::uint64_t> CpuList::cpus() {
  const auto text = file_.read();
  if (!text) cpus_.clear(), text_.clear();
  if (!text || *text == text_) return cpus_;
  text_ = *text;
  cpus_ = parse_cpu_list(text_).value_or(std::vector<std::uint64_t>());
  return cpus_;
}

}  // namespace vitald
