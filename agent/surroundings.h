// SPDX-License-Identifier: Apache-2.0
// Looks, beside all else, whether what the configuration names is there: programs and users of receivers, files that
// patterns fit. It only tells, so nobody waits for it.
#pragma once

#include <cstdint>
#include <memory>

#include "agent/config/config.h"

namespace vitald {

class Surroundings {
 public:
  Surroundings();
  Surroundings(const Surroundings&) = delete;
  Surroundings& operator=(const Surroundings&) = delete;

  // On a thread of its own, of which there is one at most: while it hangs, the newest configuration waits for it.
  void look(Config config);
  [[nodiscard]] bool idle() const;

 private:
  struct State;
  std::shared_ptr<State> state_;  // the thread has it, too
};

}  // namespace vitald
