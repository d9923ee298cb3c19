// SPDX-License-Identifier: Apache-2.0
// What a person wants to know after the start: what runs, what does not and why.
#pragma once

#include <string>
#include <vector>

#include "agent/pipeline/collectors.h"
#include "agent/view.h"
#include "exporters/deliver/receiver.h"
#include "exporters/push/push.h"
#include "rules/engine.h"

namespace vitald {

struct ReportInput {
  std::vector<std::string> urls;
  const std::vector<CollectorStatus>& collectors;
  std::size_t series = 0;
  const RulesView* rules = nullptr;
  std::vector<std::string> rule_files;
  std::vector<ReceiverPtr> receivers;
  bool descriptors_are_short = false;
  std::string state = {};  // the folder, or why nothing is kept
  std::vector<ViewRow> view = {};
  std::vector<PushPtr> pushes = {};
};
std::string report(const ReportInput& input);

}  // namespace vitald
