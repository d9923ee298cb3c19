// SPDX-License-Identifier: Apache-2.0
// Those whose answer is not there yet: whom to look at again and when, and how new a snapshot they need.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <vector>

#include "agent/http/pending.h"

namespace vitald {

struct Exchange;

class Waiting {
 public:
  void add(Exchange& exchange, Pending& pending) { list_.push_back({&exchange, &pending}); }
  void remove(const Exchange& exchange);

  struct Answered {
    Exchange* exchange;
    std::optional<Response> response;  // none: `all` were wanted, whether they have an answer or not
  };
  // Takes out those that have an answer now. `woken`: asks each, otherwise only those whose deadline has come.
  std::vector<Answered> answered(std::int64_t now_boot_ns, bool woken);
  std::vector<Answered> all();

  [[nodiscard]] bool empty() const { return list_.empty(); }
  // The greatest that is wanted; 0: nobody waits for a snapshot.
  [[nodiscard]] std::int64_t wants_snapshot_boot_ns() const;
  [[nodiscard]] std::optional<std::int64_t> deadline_boot_ns() const;

 private:
  struct Row {
    Exchange* exchange;
    Pending* pending;
  };
  std::list<Row> list_;
};

}  // namespace vitald
