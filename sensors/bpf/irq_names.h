// SPDX-License-Identifier: Apache-2.0
// Whose an interrupt's number is: the name of the first handler on its line, and since when, as far as its time goes. A
// number is used again when a driver goes and another comes.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "core/host.h"

namespace vitald {

// Not thread-safe.
class IrqNames {
 public:
  IrqNames(const Host& host, std::size_t numbers) : host_(host), known_(numbers) {}

  // What the BPF program has of an interrupt, all CPUs together.
  struct Seen {
    std::uint64_t ns = 0;       // in its handlers
    std::uint64_t changes = 0;  // of the handler that came
    std::string_view name;      // of the one that came last
  };
  struct Named {
    std::string_view name;  // until the next call
    std::uint64_t ns = 0;   // since it is called so
  };
  // Asks the kernel when the handler was another one than before, and once a minute.
  Named name(std::size_t irq, const Seen& seen);

 private:
  struct Known {
    std::string name;
    std::uint64_t changes = 0, before_ns = 0;
    std::int64_t read_ns = 0;  // 0: never
  };
  const Host& host_;
  std::vector<Known> known_;  // by number
};

}  // namespace vitald
