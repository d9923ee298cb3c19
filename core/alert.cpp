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

}  // namespace vitald
