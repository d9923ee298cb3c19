// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/map_memory.h"

#include <linux/bpf.h>

#include <algorithm>
#include <bit>
#include <cstdint>

namespace vitald {
namespace {

// Of the kernel's own, on 64 bits; the first three differ a little from version to version.
constexpr double kArray = 320, kHash = 768, kOther = 320;  // struct bpf_array, bpf_htab, the rest of them
constexpr double kPointer = 8, kElement = 48, kBucket = 16, kLocks = 8 * 4, kStackBucket = 16;

double rounded(std::uint32_t bytes) { return static_cast<double>((std::uint64_t{bytes} + 7) / 8 * 8); }

double buckets(std::uint32_t entries) { return static_cast<double>(std::bit_ceil(std::uint64_t{entries})); }

std::optional<double> hash_bytes(const vitald_bpf_map& map, double cpus) {
  if (map.flags & BPF_F_NO_PREALLOC) return std::nullopt;  // takes what is in it
  const bool per_cpu = map.type == BPF_MAP_TYPE_PERCPU_HASH || map.type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
  const bool lru = map.type == BPF_MAP_TYPE_LRU_HASH || map.type == BPF_MAP_TYPE_LRU_PERCPU_HASH;
  // One more for each CPU, to replace another with.
  const double elements = map.max_entries + (per_cpu || lru ? 0 : cpus);
  const double value = per_cpu ? kPointer + cpus * rounded(map.value_size) : rounded(map.value_size);
  return kHash + kBucket * buckets(map.max_entries) + kLocks * cpus + (per_cpu || lru ? 0 : kPointer * cpus) +
         elements * (kElement + rounded(map.key_size) + value);
}

}  // namespace

std::optional<double> bpf_map_bytes(const vitald_bpf_map& map, double cpus, double page_bytes) {
  const double entries = map.max_entries;
  const auto paged = [page_bytes](double bytes) {
    const auto page = static_cast<std::uint64_t>(page_bytes);
    return static_cast<double>((static_cast<std::uint64_t>(bytes) + page - 1) / page * page);
  };
  switch (map.type) {
    case BPF_MAP_TYPE_ARRAY:
      if (map.flags & BPF_F_MMAPABLE) return paged(kArray) + paged(entries * rounded(map.value_size));
      return kArray + entries * rounded(map.value_size);
    case BPF_MAP_TYPE_PROG_ARRAY:
    case BPF_MAP_TYPE_PERF_EVENT_ARRAY:
    case BPF_MAP_TYPE_CGROUP_ARRAY:
    case BPF_MAP_TYPE_ARRAY_OF_MAPS: return kArray + entries * kPointer;
    case BPF_MAP_TYPE_PERCPU_ARRAY: return kArray + entries * (kPointer + cpus * rounded(map.value_size));
    case BPF_MAP_TYPE_HASH:
    case BPF_MAP_TYPE_HASH_OF_MAPS:
    case BPF_MAP_TYPE_PERCPU_HASH:
    case BPF_MAP_TYPE_LRU_HASH:
    case BPF_MAP_TYPE_LRU_PERCPU_HASH: return hash_bytes(map, cpus);
    case BPF_MAP_TYPE_STACK_TRACE:
      return kOther + kPointer * buckets(map.max_entries) + entries * (kStackBucket + map.value_size);
    case BPF_MAP_TYPE_QUEUE:
    case BPF_MAP_TYPE_STACK: return kOther + (entries + 1) * map.value_size;
    case BPF_MAP_TYPE_RINGBUF:
    case BPF_MAP_TYPE_USER_RINGBUF:
      // Three pages before the data, and the table of all pages, in which those of the data are twice.
      return kOther + entries + 3 * page_bytes + kPointer * (3 + 2 * entries / page_bytes);
    default: return std::nullopt;
  }
}

}  // namespace vitald
