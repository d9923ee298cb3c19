// SPDX-License-Identifier: Apache-2.0
// Which folder --state.directory means, and what is said where there is none.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "core/options.h"
#include "core/os/state_dir.h"

namespace vitald {

struct StateFolder {
  std::shared_ptr<StateDir> dir;  // null: nothing is kept
  std::string text;               // for the report: the folder, or why nothing is kept
};

// The flag's folder, else the first of $STATE_DIRECTORY (systemd's StateDirectory=), else /var/lib/vitald where we may
// write. One that was asked for by the flag and cannot be used is a problem; unless the disk is full, read-only or
// broken: a monitor is needed most then.
StateFolder open_state(const Options& options, std::vector<std::string>& problems);

// The same without making or locking the folder: for --config.check and doctor. `good`: something would be kept.
struct StateCheck {
  bool good = false;
  bool wanted = true;  // false: nothing was to be kept, or nobody named a folder and the default cannot be used
  std::string text;
};
StateCheck check_state(const Options& options, std::vector<std::string>& problems);

}  // namespace vitald
