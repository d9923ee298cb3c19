// SPDX-License-Identifier: Apache-2.0
// How a collector's state is called on pages and in answers.
#pragma once

#include <string_view>

#include "agent/pipeline/collectors.h"

namespace vitald {

constexpr std::string_view word(CollectorStatus::State state) {
  switch (state) {
    case CollectorStatus::State::on: return "on";
    case CollectorStatus::State::off: return "off";
    case CollectorStatus::State::starting: return "starting";
    case CollectorStatus::State::unavailable: return "not here";
    case CollectorStatus::State::failed: return "failed";
  }
  return "off";
}

}  // namespace vitald
