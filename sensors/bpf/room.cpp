// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/room.h"

#include <algorithm>
#include <string_view>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

struct Files {
  std::string_view limit, usage, cache;
};
constexpr Files kV1{"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"};
constexpr Files kV2{"memory.max", "memory.current", "inactive_file"};

// "max" and, on v1, 9223372036854771712: no limit.
constexpr std::uint64_t kNone = std::uint64_t{1} << 60;

std::optional<std::uint64_t> number_in(const std::string& path) {
  const auto text = read_kernel_file(path);
  return text ? parse_u64(trim(*text)) : std::nullopt;
}

// "inactive_file 2162688"
std::uint64_t cache_in(const std::string& folder, std::string_view name) {
  const auto text = read_kernel_file(folder + "/memory.stat", KernelFile::Read::records);
  if (!text) return 0;
  for (std::string_view rest = *text; !rest.empty();) {
    auto line = take_line(rest);
    if (take_word(line) == name) return parse_u64(take_word(line)).value_or(0);
  }
  return 0;
}

void narrow(std::optional<MemoryRoom>& room, const std::string& top, std::string_view path, const Files& files) {
  for (std::string below(path == "/" ? "" : path);; below.resize(below.rfind('/'))) {
    const auto folder = top + below + "/";
    const auto limit = number_in(folder + std::string(files.limit)),
               usage = number_in(folder + std::string(files.usage));
    if (limit && usage && *limit < kNone) {
      const auto used = *usage - std::min(*usage, cache_in(top + below, files.cache));
      const MemoryRoom here{*limit - std::min(*limit, used), *limit};
      if (!room || here.bytes < room->bytes) room = here;
    }
    if (below.empty()) return;
  }
}

}  // namespace

// "4:memory:/system.slice/vitald.service", "0::/system.slice/vitald.service"
std::optional<MemoryRoom> memory_room(const std::string& root) {
  std::optional<MemoryRoom> room;
  const auto text = read_kernel_file(root + "/proc/self/cgroup", KernelFile::Read::records);
  if (!text) return room;
  const std::string copy(*text);
  for (std::string_view rest = copy; !rest.empty();) {
    auto line = take_line(rest);
    const auto number = take_until(line, ':'), controllers = take_until(line, ':');
    if (!line.starts_with('/')) continue;
    if (number == "0" && controllers.empty()) narrow(room, root + "/sys/fs/cgroup", line, kV2);
    else if (("," + std::string(controllers) + ",").find(",memory,") != std::string::npos)
      narrow(room, root + "/sys/fs/cgroup/memory", line, kV1);
  }
  return room;
}

}  // namespace vitald
