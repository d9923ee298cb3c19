// SPDX-License-Identifier: Apache-2.0
// Text files, and what the encoder makes of the labels in them: it must read back as the same.
#include "exporters/encode/prom_text.h"
#include "sensors/read/exposition.h"
#include "sensors/read/open_metrics.h"
#include "tests/fuzz/input.h"

extern "C" int LLVMFuzzerTestOneInput(const unsigned char* data, std::size_t size) {
  using namespace vitald;
  const auto given = Input(data, size).rest();
  (void)parse_open_metrics(given);
  const auto parsed = parse_exposition(given);
  if (!parsed) return 0;
  BatchWriter writer("fuzz");
  const auto pool = std::make_shared<DescPool>();
  writer.begin(0);
  writer.use(pool);
  std::size_t count = 0;
  for (const auto& family : parsed->families)
    for (const auto& series : family.series) {
      std::vector<Label> labels;
      for (const auto& [name, value] : series.labels) labels.push_back({name, value});
      writer.set_labels(pool->get(family.name, MetricType::untyped, family.help.value_or("")), series.value, labels);
      ++count;
    }
  Snapshot snapshot;
  snapshot.batches.push_back(writer.finish({}, 0, 0));
  if (!snapshot.batches[0]->layout->duplicates().empty()) return 0;
  std::string text;
  PromText(PromText::Format::open_metrics).encode(snapshot, text);
  if (!parse_open_metrics(text)) __builtin_trap();
  PromText().encode(snapshot, text);
  const auto again = parse_exposition(text);
  if (!again) __builtin_trap();
  for (const auto& family : again->families) count -= family.series.size();
  if (count != 0) __builtin_trap();
  return 0;
}
