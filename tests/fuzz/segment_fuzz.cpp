// SPDX-License-Identifier: Apache-2.0
// A file of a queue's journal, as a crash or a disk left it, and the bodies in it.
#include "exporters/deliver/segment.h"

#include "exporters/deliver/parts.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  Input in(data, size);
  if (in.byte() & 1) {  // as it is
    const auto content = read_segment(in.rest());
    for (const auto& item : content.items) (void)parts_of(item.body);
    return 0;
  }
  // Good records, then damage: what stands before it must be found.
  std::string bytes(kSegmentHead);
  std::vector<Item> items;
  std::vector<std::size_t> ends;
  while (!in.empty() && items.size() < 8) {
    Item item{items.size() + 1, std::string(in.bytes()), std::string(in.bytes()), in.byte(), in.byte()};
    append_item_record(bytes, item);
    (void)parts_of(item.body);
    items.push_back(std::move(item));
    ends.push_back(bytes.size());
  }
  bytes.append(in.rest());
  auto content = read_segment(bytes);
  if (content.items.size() < items.size()) __builtin_trap();
  content.items.resize(items.size());
  if (content.items != items) __builtin_trap();
  // Torn anywhere, all that ended before is there.
  bytes.resize(size % (bytes.size() + 1));
  content = read_segment(bytes);
  for (std::size_t i = 0; i < items.size() && ends[i] <= bytes.size(); ++i)
    if (i >= content.items.size() || content.items[i] != items[i]) __builtin_trap();
  return 0;
}
