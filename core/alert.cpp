// SPDX-License-Identifier: Apache-2.0
#include "core/alert.h"

namespace vitald {

std::string_view to_string(AlertState state) {
  switch (state) {
    case AlertState::inactive: return "inactive";
    case AlertState::pending: return "pending";
    case AlertState::firing: return "firing";
  }
  return "?";
}

LabelMap sent_labels(LabelMap own, const LabelMap& external) {
  own.insert(external.begin(), external.end());
  return own;
}

std::string_view sent_label(const LabelMap& own, const LabelMap& external, const std::string& name) {
  for (const auto* labels : {&own, &external})
    if (const auto at = labels->find(name); at != labels->end()) return at->second;
  return {};
}

}  // namespace vitald
