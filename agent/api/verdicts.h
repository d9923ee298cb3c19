// SPDX-License-Identifier: Apache-2.0
// The rules of /api/v1/verdict that are in force: those built in, or those of --verdict.file.
#pragma once

#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "core/mutex.h"
#include "core/options.h"
#include "rules/verdict.h"

namespace vitald {

class Verdicts {
 public:
  struct Table {
    std::vector<VerdictRule> rules;
    std::string file;  // empty: built in
  };
  using TablePtr = std::shared_ptr<const Table>;

  // Null, and problems, where the file is not good.
  static TablePtr load(const Options& options, std::vector<std::string>& problems);

  // From any thread.
  void set(TablePtr table) {
    const MutexLock lock(mutex_);
    table_ = std::move(table);
  }
  [[nodiscard]] TablePtr get() const {
    const MutexLock lock(mutex_);
    return table_;
  }

 private:
  mutable Mutex mutex_;
  TablePtr table_ GUARDED_BY(mutex_);
};

}  // namespace vitald
