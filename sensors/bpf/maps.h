// SPDX-License-Identifier: Apache-2.0
// BPF maps as plain memory, and the histograms in them.
#pragma once

#include <bpf/bpf.h>
#include <bpf/libbpf.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <span>
#include <utility>
#include <vector>

#include "bpf/include/vitald/hist.h"
#include "core/batch.h"
#include "core/result.h"
#include "sensors/bpf/mapped_pages.h"

namespace vitald {

// The array of a BPF_F_MMAPABLE map, read and written without system calls. The map's own descriptor must stay open as
// long as this is used: what nobody has looked at yet is not mapped.
template <class T>
class MappedArray {
 public:
  MappedArray() = default;
  static Result<MappedArray> of(bpf_map* map) {
    MappedArray a;
    a.size_ = bpf_map__max_entries(map);
    auto pages = MappedPages::of(bpf_map__fd(map), a.size_ * sizeof(T), bpf_map__name(map));
    if (!pages) return fail(pages.error());
    a.pages_ = std::move(*pages);
    return a;
  }
  // Throws std::bad_alloc where the kernel has no memory for another mapping.
  T& operator[](std::size_t i) const { return *reinterpret_cast<T*>(pages_.at(i * sizeof(T), sizeof(T))); }
  [[nodiscard]] std::size_t size() const { return size_; }

 private:
  static_assert(sizeof(T) % 8 == 0, "the kernel rounds values up to 8 bytes");
  MappedPages pages_;
  std::size_t size_ = 0;
};

// An LRU hash of so many entries, or of what it takes that those of many CPUs do not push each other out: the kernel
// keeps up to 128 free ones for each CPU (LOCAL_FREE_TARGET, kernel/bpf/bpf_lru_list.h).
inline __u32 lru_entries(__u32 entries) {
  return std::max(entries, 256 * static_cast<__u32>(std::max(1, libbpf_num_possible_cpus())));
}

// All entries of a hash, as far as nobody adds to it meanwhile.
inline void clear_hash(bpf_map* map) {
  std::vector<std::byte> key(bpf_map__key_size(map));
  for (auto n = bpf_map__max_entries(map); n > 0; --n)
    if (bpf_map_get_next_key(bpf_map__fd(map), nullptr, key.data()) != 0 ||
        bpf_map_delete_elem(bpf_map__fd(map), key.data()) != 0)
      return;
}

// What a program writes meanwhile.
template <class T>
T now_in(const T& value) {
  return *static_cast<const volatile T*>(&value);
}

// Bounds of vitald_hist in seconds.
inline std::span<const double> hist_bounds() {
  static const auto bounds = [] {
    std::array<double, VITALD_HIST_BOUNDS> b{};
    for (int i = 0; i < VITALD_HIST_BOUNDS; ++i) b[static_cast<std::size_t>(i)] = std::ldexp(1.0, i - 20);
    return b;
  }();
  return bounds;
}

// Per-CPU histograms added up.
struct HistSum {
  std::array<std::uint64_t, VITALD_HIST_SLOTS> counts{};
  std::uint64_t sum_ns = 0;

  void add(const vitald_hist& h) {
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] += h.slots[i];
    sum_ns += h.sum_ns;
  }
  void subtract(const HistSum& h) {
    for (std::size_t i = 0; i < counts.size(); ++i) counts[i] -= h.counts[i];
    sum_ns -= h.sum_ns;
  }
  [[nodiscard]] HistogramView view(std::span<const Exemplar> exemplars = {}) const {
    return {hist_bounds(), counts, static_cast<double>(sum_ns) / 1e9, exemplars};
  }
};

}  // namespace vitald
