// SPDX-License-Identifier: Apache-2.0
// The series of a destination as JSON lines, a line a sample:
// {"name":"node_load1","labels":{"job":"node"},"value":0.5,"timestamp":1700000000.250}
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <string_view>

#include "exporters/encode/row_texts.h"

namespace vitald {

// Keeps what stands before the numbers. Not thread-safe.
class JsonLines {
 public:
  using Take = std::function<void(std::string_view lines, std::uint32_t count)>;
  // At most `most` lines at a time; `values` stand beside the table's rows. NaN and infinite ones are null: JSON has no
  // word for them.
  void encode(const SeriesTable& table, std::span<const double> values, std::int64_t wall_ns, std::size_t most,
              const Take& take);

 private:
  RowTexts prefixes_;
  std::string out_;
};

}  // namespace vitald
