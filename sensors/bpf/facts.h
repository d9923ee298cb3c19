// SPDX-License-Identifier: Apache-2.0
// What the running kernel's BTF says about what our BPF programs use: host.shared<KernelFacts>(). Whether something is
// there is asked of the running kernel, never of its version: distributions backport.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/host.h"
#include "core/result.h"

namespace vitald {

// Reading the BTF takes some milliseconds, so it is done once for all. Tests change it before the first collector is
// made, so that every rung of the ladder is tried on every kernel; afterwards nobody does.
struct KernelFacts {
  explicit KernelFacts(const Host& host);

  std::string missing;                 // why there is no BTF; empty when there is
  Errc missing_kind = Errc::absent;    // then: absent, denied or io
  bool keeps_last_queued = false;      // sched_info.last_queued and sched_entity.cfs_rq
  bool trust_request_times = true;     // false: as if no disk's requests came with times
  std::uint32_t flush_step = 1u << 4;  // RQF_FLUSH_SEQ in request.rq_flags: a macro first, an enumerator since 6.11
  bool tp_btf = true;                  // false makes every object start at the second rung of the ladder

  [[nodiscard]] bool has(std::string_view tracepoint) const { return arguments(tracepoint) >= 0; }
  [[nodiscard]] int arguments(std::string_view tracepoint) const;         // without the leading void *; -1: not there
  [[nodiscard]] std::uint32_t btf_id(std::string_view tracepoint) const;  // what tp_btf is attached to; 0: not there
  void forget(std::string_view tracepoint);

 private:
  struct Tracepoint {
    std::uint64_t hash = 0;  // of the name
    std::uint32_t id = 0;    // of its type
    int arguments = 0;
  };
  Result<> read_kernel();
  [[nodiscard]] const Tracepoint* find(std::string_view tracepoint) const;

  // All that the kernel has: some 1500.
  std::vector<Tracepoint> tracepoints_;
};

}  // namespace vitald
