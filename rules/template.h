// SPDX-License-Identifier: Apache-2.0
// The part of Go's text/template that alert annotations and labels use: {{ $labels.x }}, {{ $value }},
// {{ printf "%.2f" $value }}, {{ $value | humanize }}, {{ if gt $value 90.0 }}..{{ else }}..{{ end }}.
#pragma once

#include <map>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.h"

namespace vitald {

struct TemplateData {
  const std::map<std::string, std::string>* labels = nullptr;
  const std::map<std::string, std::string>* external_labels = nullptr;
  double value = 0;
};

class Template {
 public:
  struct Node;
  Template() = default;
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  // The error's text says what is wrong and at which character of `text`.
  static Result<Template> parse(std::string_view text);
  // What cannot be expanded (a number as text, %d on a float) shows as Go shows it.
  [[nodiscard]] std::string expand(const TemplateData& data) const;
  // No {{ }} in it: the text as it is.
  [[nodiscard]] bool plain() const;
  [[nodiscard]] const std::string& text() const { return text_; }

 private:
  std::string text_;
  std::vector<std::unique_ptr<Node>> nodes_;
};

// The functions, as Prometheus defines them.
std::string humanize(double v);
std::string humanize1024(double v);
std::string humanize_percentage(double v);
std::string humanize_duration(double seconds);
std::string humanize_timestamp(double unix_seconds);
// Go's %v of a float64.
std::string go_float(double v);

}  // namespace vitald
