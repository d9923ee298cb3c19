// SPDX-License-Identifier: Apache-2.0
#include "rules/template.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include "core/text/suggest.h"
#include "rules/template/exec.h"
#include "rules/template/parser.h"

namespace vitald {

namespace {

using namespace text_template;

// As Prometheus does it: so that variables are variables, and positions in errors are the ones it gives.
constexpr std::string_view kVariables =
    "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}{{$externalURL := .ExternalURL}}{{$value := .Value}}";

constexpr std::string_view kNames[] = {"$labels", "$value", "$externalLabels", "$externalURL"};

std::string hint(std::string_view word) {
  if (word.empty()) return {};
  const auto near = word.starts_with('$') ? closest(word, kNames) : nearest_function(word);
  if (!near.empty()) return fmt::format(", did you mean '{}'?", near);
  if (word.starts_with('$')) return fmt::format(", expected {}", fmt::join(kNames, ", "));
  return ", expected a function of Go's text/template or of Prometheus";
}

void collect_queries(const Node& n, std::vector<std::string>& out) {
  if (n.kind == Kind::command && n.items.size() > 1 && n.items[0]->kind == Kind::identifier &&
      n.items[0]->text == "query" && n.items[1]->kind == Kind::string)
    out.push_back(n.items[1]->text);
  // "up" | query
  for (std::size_t i = 1; n.kind == Kind::pipe && i < n.items.size(); ++i) {
    const auto &before = *n.items[i - 1], &now = *n.items[i];
    if (now.items.size() == 1 && now.items[0]->kind == Kind::identifier && now.items[0]->text == "query" &&
        before.items.size() == 1 && before.items[0]->kind == Kind::string)
      out.push_back(before.items[0]->text);
  }
  for (const auto& i : n.items) collect_queries(*i, out);
  for (const auto* part : {&n.pipe, &n.yes, &n.no})
    if (*part) collect_queries(**part, out);
}

std::unique_ptr<const Tree> tree_of(const std::string& text) {
  return std::make_unique<const Tree>(text_template::parse(std::string(kVariables) + text));
}

}  // namespace

Template::Template() = default;
Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

Template Template::literal(std::string_view text) {
  Template out;
  out.text_ = std::string(text);
  return out;
}

Template Template::parse(std::string_view text) {
  auto out = literal(text);
  if (text.find("{{") == text.npos) return out;
  out.plain_ = false;
  try {
    const auto tree = tree_of(out.text_);
    collect_queries(*tree->root, out.queries_);
    for (const auto& [name, body] : tree->defined) collect_queries(*body, out.queries_);
  } catch (const ParseFault& f) {
    out.go_problem_ = f.what;
    out.problem_line_ = f.line;
    const auto at = f.at > kVariables.size() ? f.at - kVariables.size() : 0;
    out.problem_ = fmt::format("template: {}{} (at character {})", f.what, hint(f.word), at + 1);
  }
  return out;
}

Result<std::string> Template::expand(const TemplateData& data) const {
  if (plain()) return text_;
  const auto name = fmt::format("__alert_{}", data.name);
  if (!problem_.empty())
    return fail(Errc::malformed,
                fmt::format("error parsing template {}: template: {}:{}: {}", name, name, problem_line_, go_problem_));
  static const LabelMap kNone;
  // The labels stay the caller's: these only point to them.
  const auto borrowed = [](const LabelMap* m) {
    return std::shared_ptr<const LabelMap>(std::shared_ptr<void>(), m ? m : &kNone);
  };
  const Environment environment{data.query, data.external_url, static_cast<double>(data.now_ms) / 1000};
  const auto dot = std::make_shared<const Data>(
      Data{borrowed(data.labels), borrowed(data.external_labels), data.external_url, data.value, data.histogram});
  if (!tree_) tree_ = tree_of(text_);
  try {
    return execute(*tree_, name, dot, environment);
  } catch (const Fault& f) {
    return fail(Errc::malformed, fmt::format("error executing template {}: {}", name, f.what()));
  }
}

}  // namespace vitald
