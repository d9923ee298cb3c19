// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/prom_words.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/text/number.h"
#include "core/text/utf8.h"

namespace vitald {

void append_escaped_help(std::string& out, std::string_view help, bool quotes) {
  std::string mended;
  if (!is_fit_text(help)) help = mended = fit_text(help);
  for (const char c : help) {
    if (c == '\\') out += "\\\\";
    else if (c == '\n') out += "\\n";
    else if (c == '"' && quotes) out += "\\\"";
    else out += c;
  }
}

void append_escaped_value(std::string& out, std::string_view value) {
  for (const char c : value) {
    if (c == '\n') out += "\\n";
    else if (c == '\\' || c == '"') out.append(1, '\\').append(1, c);
    else out += c;
  }
}

std::string exemplar_text(const Exemplar& e) {
  std::string out(" # {");
  for (const auto& [name, value] : e.labels) {
    if (out.back() != '{') out += ',';
    out.append(name).append("=\"");
    append_escaped_value(out, value);
    out += '"';
  }
  char number[kMaxNumberText];
  out.append("} ").append(number, static_cast<std::size_t>(write_number(number, e.value) - number));
  if (e.wall_ms > 0) out += fmt::format(" {}.{:03}", e.wall_ms / 1000, e.wall_ms % 1000);
  return out;
}

const Exemplar* exemplar_of(const Batch& batch, std::uint32_t value) {
  const auto found = std::ranges::lower_bound(batch.exemplars, value, {}, &Exemplar::at);
  return found != batch.exemplars.end() && found->at == value ? &*found : nullptr;
}

}  // namespace vitald
