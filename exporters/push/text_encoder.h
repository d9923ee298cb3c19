// SPDX-License-Identifier: Apache-2.0
// The encoder of destinations that want the whole of a snapshot as one text: files and Pushgateways.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "exporters/encode/table_text.h"
#include "exporters/push/push_table.h"

namespace vitald {

class TextEncoder final : public PushEncoder {
 public:
  // `end_item`: at the end there is one item without a body, by which the destination takes back what it has.
  TextEncoder(SeriesTable::Settings settings, PushAggregate aggregate, bool json, bool end_item)
      : table_(with_names(std::move(settings), json), aggregate), json_(json), end_item_(end_item) {}

  void encode(const Snapshot& snapshot, std::vector<Item>& out) override {
    table_.look(snapshot);
    Item item;
    item.key = "the numbers";
    item.wall_ms = snapshot.wall_ns / 1'000'000;
    item.records = static_cast<std::uint32_t>(table_.series().rows().size());
    if (json_) append_table_json(table_.series(), table_.values(), snapshot.wall_ns, item.body);
    else text_.encode(table_.series(), table_.values(), item.body);
    out.push_back(std::move(item));
  }
  void end(std::int64_t wall_ms, std::vector<Item>& out) override {
    if (!end_item_) return;
    Item item;
    item.key = "the end";
    item.wall_ms = wall_ms;
    item.records = 0;
    out.push_back(std::move(item));
  }
  [[nodiscard]] SeriesLeftOut left_out() const override { return table_.series().left_out(); }
  void observe(const Snapshot& snapshot) override { table_.observe(snapshot); }

 private:
  static SeriesTable::Settings with_names(SeriesTable::Settings settings, bool any) {
    settings.any_name = any;
    return settings;
  }

  PushTable table_;
  TableText text_;
  const bool json_, end_item_;
};

}  // namespace vitald
