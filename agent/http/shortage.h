// SPDX-License-Identifier: Apache-2.0
// Whether a descriptor is left for a client: the limit may have been lowered, or the whole machine has none. While
// there is none, collectors keep no file open.
#pragma once

#include <cstdint>
#include <optional>

namespace vitald {

class Shortage {
 public:
  enum class Look : std::uint8_t {
    fine,    // there is one, or it was looked at a moment ago
    begins,  // there is none; collectors give theirs back in the next collection
    lasts,
  };
  // `suspicious`: something was to be done and could not be.
  Look look(std::int64_t now_boot_ns, bool suspicious);
  // After connections were closed; `stalled`: none of them ended. Whether it lasts.
  bool goes_on(bool stalled);

 private:
  void keep_descriptors_again();

  bool stalled_ = false;
  std::int64_t look_again_boot_ns_ = 0, short_boot_ns_ = 0;
  std::optional<int> kept_below_;  // what descriptors were kept below until there were none
};

}  // namespace vitald
