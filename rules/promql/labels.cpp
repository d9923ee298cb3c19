// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/labels.h"

#include <algorithm>

#include "core/text/utf8.h"

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
  const bool plain = name().empty() || valid_metric_name(name());
  std::string out(plain ? name() : "");
  char separator = '{';
  if (!plain) {
    out = '{' + promql::quoted(name());
    separator = ',';
  }
  for (const Label l : *this) {
    if (l.name == kMetricName) continue;
    if (separator == ',') out += ", ";
    else out += separator;
    out += name_text(l.name);
    out += '=';
    out += promql::quoted(l.value);
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
    out += promql::quoted(l.value);
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

Labels Labels::without_identity() const {
  LabelsBuilder b;
  for (const Label x : *this)
    if (!is_identity(x.name)) b.set(x.name, x.value);
  return b.labels();
}

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
  static constexpr char kHex[] = "0123456789abcdef";
  const bool valid = is_valid_utf8(text);
  std::string out = "\"";
  const auto byte = [&](char c) {
    const auto b = static_cast<unsigned char>(c);
    out += "\\x";
    out += kHex[b >> 4];
    out += kHex[b & 15];
  };
  for (std::size_t i = 0; i < text.size(); ++i) {
    const char c = text[i];
    if (c == '"' || c == '\\') out += '\\', out += c;
    else if (c == '\n') out += "\\n";
    else if (c == '\t') out += "\\t";
    else if (c == '\r') out += "\\r";
    else if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) byte(c);
    else if (valid || static_cast<unsigned char>(c) < 0x80) out += c;
    else {
      // A character where there is one, else the byte.
      std::size_t size = 2;
      while (size <= 4 && i + size <= text.size() && !is_valid_utf8(text.substr(i, size))) ++size;
      if (size > 4 || i + size > text.size()) {
        byte(c);
      } else {
        out += text.substr(i, size);
        i += size - 1;
      }
    }
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

bool valid_quoted_name(std::string_view name) { return !name.empty() && is_valid_utf8(name); }

std::string name_text(std::string_view name) {
  return valid_label_name(name) ? std::string(name) : promql::quoted(name);
}

bool is_identity(std::string_view name) { return name == kMetricName || name == "__type__" || name == "__unit__"; }

}  // namespace vitald::promql
