// SPDX-License-Identifier: Apache-2.0
// The BPF object sched: what follows the scheduler.
#pragma once

#include <memory>
#include <span>
#include <vector>

#include "bpf/include/vitald/sched.h"
#include "bpf/sched.skel.h"
#include "sensors/bpf/maps.h"
#include "sensors/bpf/object.h"
#include "sensors/bpf/owners.h"

namespace vitald {

enum SchedSignal : std::size_t { kRunqLatency, kOwnerWaits, kOwnerPeaks, kMigrations };
std::span<const Signal> sched_signals();

struct SchedObject {
  static Result<SignalUse<SchedObject>> use(const Host& host, const Options& options, SchedSignal which);

  // The slices that run, seen before the rows are read; and then the CPU time of those that have not ended meanwhile: a
  // task alone on its CPU may not be switched for seconds.
  // One whose task was moved to another cgroup meanwhile is several, one after the other.
  struct Slice {
    std::size_t cpu;
    std::uint32_t slot;
    std::uint64_t began_ns;  // the whole of it
    std::uint64_t since_ns, until_ns;
  };
  struct Running {
    std::vector<Slice> slices;
    std::uint64_t clock_ns = 0;
  };
  [[nodiscard]] Running running() const;
  [[nodiscard]] bool still_runs(const Slice& s) const { return now_in(cpus[s.cpu].since_ns) == s.began_ns; }
  [[nodiscard]] bool fits(const Options& options) const {
    return owners->fits(options) && detailed == detailed_slots(options, owners->size());
  }
  // While the signal was off, CPUs changed their tasks without a word.
  void forget_past(const Signal& signal);
  template <class Each>
  void each_running(const Running& running, Each&& each) const {  // (owner, CPU, nanoseconds)
    for (const auto& s : running.slices) {
      if (!still_runs(s) || s.until_ns <= s.since_ns) continue;
      each(owners->slots().of_slot(s.slot), s.cpu, s.until_ns - s.since_ns);
    }
  }
  // What a slot has counted, all CPUs added up.
  [[nodiscard]] vitald_sched_row row(std::uint32_t slot) const;

  // How many of the first slots have rows in `waits` and `peaks`, where these are wanted.
  std::uint32_t detailed = 1;
  std::shared_ptr<BpfOwners> owners;  // its maps are used by bpf
  BpfObject<sched_bpf> bpf;
  MappedArray<vitald_sched_cpu> cpus;
  MappedArray<vitald_sched_row> rows;
  MappedArray<vitald_sched_waits> waits;
  MappedArray<vitald_sched_peaks> peaks;
  MappedArray<std::uint64_t> migrations;  // per CPU and slot
};

}  // namespace vitald
