// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/labels.h"

#include <algorithm>

namespace vitald::promql {

Labels::Labels(std::vector<std::pair<std::string, std::string>> pairs) {
  std::ranges::sort(pairs);
  std::size_t bytes = 0;
  for (const auto& [name, value] : pairs)
    if (!value.empty()) bytes += kHeader + name.size() + value.size();
  packed_.reserve(bytes);  // the history keeps one for each series
  for (const auto& [name, value] : pairs)
    if (!value.empty()) append(name, value);
}

void Labels::append(std::string_view name, std::string_view value) {
  const auto n = static_cast<std::uint16_t>(name.size());
  const auto v = static_cast<std::uint32_t>(value.size());
  packed_.append(reinterpret_cast<const char*>(&n), sizeof n);
  packed_.append(reinterpret_cast<const char*>(&v), sizeof v);
  packed_.append(name.substr(0, n));
  packed_.append(value);
}

std::string_view Labels::get(std::string_view name) const {
  for (const Label l : *this)
    if (l.name == name) return l.value;
  return {};
}

std::string Labels::text() const {
  std::string out(name());
  char separator = '{';
  for (const Label l : *this) {
    if (l.name == kMetricName) continue;
    if (separator == ',') out += ", ";
    else out += separator;
    out += l.name;
    out += '=';
    out += quoted(l.value);
    separator = ',';
  }
  if (separator == ',') out += '}';
  else if (out.empty()) out = "{}";
  return out;
}

std::string Labels::text_with_name() const {
  std::string out = "{";
  for (const Label l : *this) {
    if (out.size() > 1) out += ", ";
    out += l.name;
    out += '=';
    out += quoted(l.value);
  }
  return out + '}';
}

std::uint64_t Labels::fingerprint() const {
  constexpr std::string_view kEnd = "\xff";
  std::uint64_t hash = 14695981039346656037U;
  const auto add = [&](std::string_view text) {
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 1099511628211U;
  };
  for (const Label l : *this) {
    add(l.name), add(kEnd);
    add(l.value), add(kEnd);
  }
  return hash;
}

Labels Labels::without_name() const { return drop_labels(*this, {}); }

void LabelsBuilder::set(std::string_view name, std::string_view value) {
  if (value.empty()) return del(name);
  const auto at = std::ranges::lower_bound(labels_, name, {}, &Label::name);
  if (at != labels_.end() && at->name == name) at->value = value;
  else labels_.insert(at, {name, value});
}

void LabelsBuilder::del(std::string_view name) {
  std::erase_if(labels_, [&](const Label& l) { return l.name == name; });
}

std::string_view LabelsBuilder::get(std::string_view name) const {
  const auto at = std::ranges::find(labels_, name, &Label::name);
  return at == labels_.end() ? std::string_view{} : at->value;
}

Labels LabelsBuilder::labels() const {
  Labels out;
  std::size_t size = 0;
  for (const auto& l : labels_) size += Labels::kHeader + l.name.size() + l.value.size();
  out.packed_.reserve(size);
  for (const auto& l : labels_) out.append(l.name, l.value);
  return out;
}

Labels keep_labels(const Labels& l, const std::vector<std::string>& names) {
  LabelsBuilder b;
  for (const Label x : l)
    if (std::ranges::find(names, x.name) != names.end()) b.set(x.name, x.value);
  return b.labels();
}

Labels drop_labels(const Labels& l, const std::vector<std::string>& names) {
  LabelsBuilder b;
  for (const Label x : l)
    if (x.name != kMetricName && std::ranges::find(names, x.name) == names.end()) b.set(x.name, x.value);
  return b.labels();
}

std::string quoted(std::string_view text) {
  std::string out = "\"";
  for (const char c : text) {
    if (c == '"' || c == '\\') out += '\\', out += c;
    else if (c == '\n') out += "\\n";
    else if (c == '\t') out += "\\t";
    else if (c == '\r') out += "\\r";
    else out += c;
  }
  return out + '"';
}

namespace {
bool letter(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }
bool digit(char c) { return c >= '0' && c <= '9'; }
}  // namespace

bool valid_label_name(std::string_view name) {
  if (name.empty() || digit(name[0])) return false;
  return std::ranges::all_of(name, [](char c) { return letter(c) || digit(c); });
}

bool valid_metric_name(std::string_view name) {
  if (name.empty() || digit(name[0])) return false;
  return std::ranges::all_of(name, [](char c) { return letter(c) || digit(c) || c == ':'; });
}

}  // namespace vitald::promql
