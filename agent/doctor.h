// SPDX-License-Identifier: Apache-2.0
// What `vitald doctor` says: what this machine can and cannot do, and what to change.
#pragma once

#include <string>
#include <vector>

#include "agent/os/state.h"
#include "agent/pipeline/collectors.h"
#include "core/host.h"
#include "core/snapshot.h"

namespace vitald {

struct DoctorInput {
  const Host& host;
  const std::vector<CollectorStatus>& collectors;
  const Snapshot* snapshot = nullptr;  // of one cycle; null: none ended
  const StateCheck& state;
  std::vector<std::string> problems = {}, warnings = {};  // of the configuration
  std::string kept = {};                                  // by history.keep; empty: nothing
  bool kept_is_lost = false;                              // with a restart
  std::string evidence = {};                              // of alerts that fire; empty: not looked at
  bool evidence_is_kept = true;
  std::string config_file = {};  // empty: none was given
  std::string verdict = {};      // what /api/v1/verdict and explain go by; empty: not looked at
  bool has_verdict = true;
};
struct Diagnosis {
  std::string text;
  bool good = false;  // no line of it is to be fixed: all that the configuration asks for works
};
Diagnosis diagnose(const DoctorInput& input);

}  // namespace vitald
