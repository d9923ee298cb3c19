// SPDX-License-Identifier: Apache-2.0
// Templates in annotations and labels: Go's text/template with Prometheus' functions, $labels, $value,
// $externalLabels and $externalURL. The parts are in template/.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "core/alert.h"
#include "core/result.h"

namespace vitald {

namespace promql {
struct Sample;
}

namespace text_template {
struct Sample;
struct Tree;
}  // namespace text_template

struct TemplateData {
  const LabelMap* labels = nullptr;
  const LabelMap* external_labels = nullptr;
  double value = 0;
  // Of a sample that is a native histogram: the text that stands for its value; empty: it is a number. Set by whoever
  // evaluates; `histogram` is what it gave for this one.
  std::function<std::string(const promql::Sample&)> text_of_histogram = {};
  std::string histogram = {};
  std::string_view name = {};  // of the alert, for errors
  std::string external_url = {};
  std::int64_t now_ms = 0;  // of the evaluation, epoch
  // What the function `query` asks; without it, it ends in an error.
  std::function<Result<std::vector<std::shared_ptr<const text_template::Sample>>>(const std::string&)> query = {};
};

// Threading: one thread at a time; expand() too, since it keeps what it parsed.
class Template {
 public:
  Template();
  Template(Template&&) noexcept;
  Template& operator=(Template&&) noexcept;
  ~Template();

  // One that cannot be parsed is one all the same: it has a problem, and expands to an error.
  static Template parse(std::string_view text);
  // What stands for itself, whatever is in it.
  static Template literal(std::string_view text);
  // What is wrong, at which character of the text; empty: nothing.
  [[nodiscard]] const std::string& problem() const { return problem_; }

  // The error's text is Prometheus' own. The first call parses again: a tree takes ten times its text's memory, and
  // most rules never fire.
  [[nodiscard]] Result<std::string> expand(const TemplateData& data) const;
  // No {{ }} in it, or none that means anything: the text as it is.
  [[nodiscard]] bool plain() const { return plain_; }
  [[nodiscard]] const std::string& text() const { return text_; }
  // The expressions that it asks `query` for, where they are written out.
  [[nodiscard]] const std::vector<std::string>& queries() const { return queries_; }

 private:
  std::string text_, problem_, go_problem_;
  int problem_line_ = 0;
  bool plain_ = true;
  std::vector<std::string> queries_;
  mutable std::unique_ptr<const text_template::Tree> tree_;  // once it was expanded
};

}  // namespace vitald
