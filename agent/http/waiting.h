// SPDX-License-Identifier: Apache-2.0
// Those whose answer is not there yet: whom to look at again and when, and how new a snapshot they need.
#pragma once

#include <cstdint>
#include <list>
#include <optional>
#include <utility>

#include "agent/http/pending.h"

namespace vitald {

struct Exchange;

class Waiting {
 public:
  void add(Exchange& exchange, Pending& pending) { list_.push_back({&exchange, &pending}); }
  void remove(const Exchange& exchange);

  struct Row {
    Exchange* exchange;
    Pending* pending;
    std::optional<Response> response = {};  // none: `all` were wanted, whether they have an answer or not
    bool failed = false;                    // an exception instead of an answer
  };
  // Takes out those that have an answer now, or never will. `woken`: asks each, otherwise only those whose deadline has
  // come. Rows are moved: once one has an answer nothing can fail any more.
  std::list<Row> answered(std::int64_t now_boot_ns, bool woken);
  std::list<Row> all() { return std::exchange(list_, {}); }

  [[nodiscard]] bool empty() const { return list_.empty(); }
  // The greatest that is wanted; 0: nobody waits for a snapshot.
  [[nodiscard]] std::int64_t wants_snapshot_boot_ns() const;
  [[nodiscard]] std::optional<std::int64_t> deadline_boot_ns() const;

 private:
  std::list<Row> list_;
};

}  // namespace vitald
