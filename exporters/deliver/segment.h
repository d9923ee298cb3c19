// SPDX-License-Identifier: Apache-2.0
// The bytes of one file of a queue's journal (docs/adr/0004-journal.md): a head, then records, each with its
// length and checksum. Pure: text in, items out.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "exporters/deliver/destination.h"

namespace vitald {

// What every file begins with.
inline constexpr std::string_view kSegmentHead = "vitaldq1";
inline constexpr std::size_t kMostRecord = 8 << 20;

void append_item_record(std::string& out, const Item& item);
// All items up to this id are done with.
void append_done_record(std::string& out, std::uint64_t id);

struct SegmentContent {
  bool ours = false;  // begins with the head
  std::vector<Item> items;
  std::uint64_t done = 0;         // the highest of the done records
  std::size_t damaged_bytes = 0;  // that belong to no good record
};
// Never fails: what is torn or changed is left out, the good records before and behind it are found.
SegmentContent read_segment(std::string_view bytes);

}  // namespace vitald
