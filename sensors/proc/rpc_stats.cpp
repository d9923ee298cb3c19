// SPDX-License-Identifier: Apache-2.0
#include "sensors/proc/rpc_stats.h"

#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

// What follows the line's first word; empty when there is no such line.
std::string_view numbers_of(std::string_view text, std::string_view key) {
  while (!text.empty()) {
    auto line = take_line(text);
    if (take_prefix(line, key) && line.starts_with(' ')) return line;
  }
  return {};
}

}  // namespace

Result<> collect_rpc_stats(std::string_view path, std::string_view text, std::span<const RpcColumn> columns,
                           std::span<const RpcProcedures> procedures, const MetricDesc& requests, BatchWriter& out) {
  if (is_blank(text)) return malformed(path, "", "lines of numbers");
  LeftOut left_out;
  for (const auto& column : columns) {
    auto words = numbers_of(text, column.line);
    if (words.empty()) continue;  // this kernel does not count it
    for (std::size_t skipped = 0; skipped < column.at; ++skipped) take_word(words);
    const auto n = take_u64(words);
    if (!n) left_out.add(malformed(path, numbers_of(text, column.line), "more numbers"));
    else if (column.label.empty()) out.set(column.desc, static_cast<double>(*n));
    else out.set(column.desc, static_cast<double>(*n), column.label);
  }
  for (const auto& table : procedures) {
    const auto line = numbers_of(text, table.line);
    std::string_view words = line;
    const auto count = take_u64(words);
    if (line.empty()) continue;
    if (!count || *count < table.at_least) {
      left_out.add(malformed(path, line, "more numbers"));
      continue;
    }
    for (std::size_t i = 0; i < table.skip; ++i) take_word(words);
    std::uint64_t at = table.skip;
    for (const auto name : table.names) {
      const auto word = take_word(words);
      const auto n = parse_u64(word);
      // A line that was cut has fewer numbers than it says.
      if (!n && (!word.empty() || at < *count)) {
        left_out.add(malformed(path, line, "a count and as many numbers"));
        break;
      }
      ++at;
      // What an older kernel has no procedure for was never called.
      if (!name.empty()) out.set(requests, static_cast<double>(n.value_or(0)), table.version, name);
    }
  }
  return left_out.outcome();
}

}  // namespace vitald
