// SPDX-License-Identifier: Apache-2.0
// What the BPF iterators of bpf/programs.bpf.c list: all programs and maps of this host, and who holds them open.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "bpf/include/vitald/programs.h"
#include "bpf/programs.skel.h"
#include "core/os/fd.h"
#include "core/result.h"
#include "sensors/bpf/facts.h"
#include "sensors/bpf/object.h"

namespace vitald {

// By NAME the kernel's functions bpf_iter_NAME, of those that are asked for and that it has.
Result<std::map<std::string, std::uint32_t, std::less<>>> iterator_ids(std::span<const std::string_view> functions);

// Not thread-safe.
class BpfInventory {
 public:
  // Errors name the probe that asks.
  static Result<BpfInventory> load(const KernelFacts& facts, const Signal& signal);

  Result<std::vector<vitald_bpf_program>> programs() const;
  Result<std::vector<vitald_bpf_map>> maps() const;
  // Looks through the open files of all processes that this one may see.
  Result<std::vector<vitald_bpf_holder>> holders() const;
  // Whether vitald_bpf_program has runs (from Linux 5.19).
  [[nodiscard]] bool counts_runs() const;
  // This process, as the host numbers it; in a PID namespace of its own that is not getpid().
  [[nodiscard]] std::uint32_t reader() const;

 private:
  struct Destroy {
    void operator()(programs_bpf* skel) const noexcept { programs_bpf::destroy(skel); }
  };
  template <class Record>
  [[nodiscard]] static Result<std::vector<Record>> read(const Fd& link);
  std::unique_ptr<programs_bpf, Destroy> skel_;
  Fd programs_, maps_, files_;
};

}  // namespace vitald
