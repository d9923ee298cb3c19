// SPDX-License-Identifier: Apache-2.0
#include "sensors/gpu/drm_client.h"

#include "core/text/scan.h"

namespace vitald {
namespace {

// "23992 KiB", "16 MiB", "0"
std::optional<std::uint64_t> bytes_of(std::string_view text) {
  const auto number = take_u64(text);
  const auto unit = trim(text);
  std::uint64_t per = 0;
  if (unit.empty()) per = 1;
  else if (unit == "KiB") per = 1024;
  else if (unit == "MiB") per = 1048576;
  if (!number || per == 0 || *number > UINT64_MAX / per) return std::nullopt;
  return *number * per;
}

bool is_own_memory(std::string_view region) { return region.starts_with("vram") || region.starts_with("local"); }

}  // namespace

std::uint64_t DrmClient::memory_bytes() const {
  std::uint64_t own = 0, machines = 0;
  bool has_own = false;
  for (const auto& [region, bytes] : resident) {
    if (is_own_memory(region)) has_own = true, own += bytes;
    else if (region != "cpu") machines += bytes;  // amdgpu's word for what only the CPU can reach
  }
  return has_own ? own : machines;
}

std::optional<DrmClient> parse_drm_client(std::string_view fdinfo) {
  DrmClient client;
  bool identified = false;
  while (!fdinfo.empty()) {
    auto line = take_line(fdinfo);
    if (!take_prefix(line, "drm-")) continue;
    auto key = take_until(line, ':');
    take_prefix(line, ":");
    const auto value = trim(line);
    if (key == "pdev") {
      client.pdev = value;
    } else if (key == "client-id") {
      const auto id = parse_u64(value);
      identified = id.has_value();
      client.id = id.value_or(0);
    } else if (take_prefix(key, "engine-")) {
      auto rest = value;
      const auto ns = take_u64(rest);
      if (!key.starts_with("capacity-") && ns && trim(rest) == "ns") client.engines[std::string(key)].busy_ns = ns;
    } else if (take_prefix(key, "cycles-")) {
      if (const auto n = parse_u64(value)) client.engines[std::string(key)].cycles = n;
    } else if (take_prefix(key, "total-cycles-")) {
      if (const auto n = parse_u64(value)) client.engines[std::string(key)].total_cycles = n;
    } else if (take_prefix(key, "resident-")) {
      if (const auto n = bytes_of(value)) client.resident[std::string(key)] = *n;
    } else if (take_prefix(key, "memory-")) {  // the older word, for the same
      if (const auto n = bytes_of(value)) client.resident.try_emplace(std::string(key), *n);
    }
  }
  if (!identified) return std::nullopt;
  return client;
}

}  // namespace vitald
