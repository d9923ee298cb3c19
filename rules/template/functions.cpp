// SPDX-License-Identifier: Apache-2.0
#include "rules/template/functions.h"

#include <arpa/inet.h>
#include <fmt/format.h>
#include <re2/re2.h>

#include <algorithm>
#include <cmath>
#include <optional>

#include "core/text/scan.h"
#include "core/text/suggest.h"
#include "rules/promql/lexer.h"
#include "rules/promql/pattern.h"
#include "rules/template/humanize.h"
#include "rules/template/printf.h"
#include "rules/template/unicode.h"

namespace vitald::text_template {

namespace {

using Args = std::span<const Value>;
using Env = Environment;

const std::string& text(const Value& v) { return *v.as<std::string>(); }

// ---- Go's own -------------------------------------------------------------------------------------------------------

enum class Basic : std::uint8_t { none, boolean, floating, integer, unsigned_, string };

Basic basic(const Value& v) {
  if (v.as<bool>()) return Basic::boolean;
  if (v.as<double>()) return Basic::floating;
  if (const auto* i = v.as<Integer>()) return i->type == Integer::Type::int_ ? Basic::integer : Basic::unsigned_;
  if (v.as<Named>() || v.as<Duration>()) return Basic::integer;
  if (v.as<std::string>()) return Basic::string;
  return Basic::none;
}

std::int64_t integer(const Value& v) {
  if (const auto* n = v.as<Named>()) return n->value;
  if (const auto* d = v.as<Duration>()) return d->nanos;
  return v.as<Integer>()->value;
}

bool is_whole(Basic b) { return b == Basic::integer || b == Basic::unsigned_; }

// -1, 0, 1, or 2 for what has no order (NaN).
int order(const Value& a, const Value& b) {
  const auto x = basic(a), y = basic(b);
  const auto compare = [](const auto& l, const auto& r) { return l < r ? -1 : l == r ? 0 : r < l ? 1 : 2; };
  if (x == Basic::none || y == Basic::none || x == Basic::boolean || y == Basic::boolean) {
    if (x != Basic::none && y != Basic::none && x != y) throw Fault("incompatible types for comparison");
    throw Fault("invalid type for comparison");
  }
  if (is_whole(x) && is_whole(y)) return compare(integer(a), integer(b));
  if (x != y) throw Fault("incompatible types for comparison");
  if (x == Basic::string) return compare(text(a), text(b));
  return compare(*a.as<double>(), *b.as<double>());
}

bool equal(const Value& a, const Value& b) {
  const auto x = basic(a), y = basic(b);
  if (is_whole(x) && is_whole(y)) return integer(a) == integer(b);
  if (x != y) {
    if (!a.nil() && !b.nil()) throw Fault("incompatible types for comparison");
    return false;
  }
  switch (x) {
    case Basic::boolean: return *a.as<bool>() == *b.as<bool>();
    case Basic::string: return text(a) == text(b);
    case Basic::floating: return *a.as<double>() == *b.as<double>();
    default: break;
  }
  if (a.nil() || b.nil()) return a.nil() == b.nil();
  if (a.type() != b.type())
    throw Fault(fmt::format("non-comparable types {}: {}, {}: {}", go_text(a), a.type(), b.type(), go_text(b)));
  if (const auto* s = a.as<SamplePtr>(), *t = b.as<SamplePtr>(); s && t) return *s == *t;
  throw Fault(fmt::format("non-comparable type {}: {}", go_text(b), b.type()));
}

Value eq(const Env&, Args a) {
  if (a.size() < 2) throw Fault("missing argument for comparison");
  return std::ranges::any_of(a.subspan(1), [&](const Value& v) { return equal(a[0], v); });
}

std::size_t index_of(const Value& v, std::size_t size, bool end) {
  if (v.nil()) throw Fault("cannot index slice/array with nil");
  const auto* i = v.as<Integer>();
  if (!i) throw Fault(fmt::format("cannot index slice/array with type {}", v.type()));
  const auto most = static_cast<std::int64_t>(size);
  if (i->value < 0 || i->value > most || (!end && i->value == most))
    throw Fault(fmt::format("index out of range: {}", i->value));
  return static_cast<std::size_t>(i->value);
}

Value index(const Env&, Args a) {
  if (a[0].nil()) throw Fault("index of untyped nil");
  Value item = a[0];
  for (const auto& key : a.subspan(1)) {
    const auto name = [&]() -> const std::string& {
      if (key.nil()) throw Fault("value is nil; should be of type string");
      if (!key.as<std::string>()) throw Fault(fmt::format("value has type {}; should be string", key.type()));
      return text(key);
    };
    if (const auto* m = item.as<std::shared_ptr<const LabelMap>>()) {
      const auto at = (*m)->find(name());
      item = at == (*m)->end() ? std::string() : std::string(at->second);
    } else if (const auto* any = item.as<std::shared_ptr<const ValueMap>>()) {
      const auto at = (*any)->find(name());
      item = at == (*any)->end() ? Value() : Value(at->second);
    } else if (const auto* list = item.as<std::shared_ptr<const Samples>>()) {
      item = SamplePtr((**list)[index_of(key, (*list)->size(), false)]);
    } else if (const auto* s = item.as<std::string>()) {
      item = Integer{static_cast<unsigned char>((*s)[index_of(key, s->size(), false)]), Integer::Type::uint8};
    } else if (item.nil()) {
      throw Fault("index of nil pointer");
    } else {
      throw Fault(fmt::format("can't index item of type {}", item.type()));
    }
  }
  return item;
}

Value slice(const Env&, Args a) {
  if (a[0].nil()) throw Fault("slice of untyped nil");
  if (a.size() > 4) throw Fault(fmt::format("too many slice indexes: {}", a.size() - 1));
  const auto* s = a[0].as<std::string>();
  const auto* list = a[0].as<std::shared_ptr<const Samples>>();
  if (!s && !list) throw Fault(fmt::format("can't slice item of type {}", a[0].type()));
  if (s && a.size() == 4) throw Fault("cannot 3-index slice a string");
  const auto size = s ? s->size() : (*list)->size();
  std::size_t at[3] = {0, size, size};
  for (std::size_t i = 1; i < a.size(); ++i) at[i - 1] = index_of(a[i], size, true);
  for (const std::size_t i : {0U, 1U})
    if (at[i] > at[i + 1]) throw Fault(fmt::format("invalid slice index: {} > {}", at[i], at[i + 1]));
  if (s) return s->substr(at[0], at[1] - at[0]);
  const auto from = (*list)->begin();
  return std::make_shared<const Samples>(from + static_cast<std::ptrdiff_t>(at[0]),
                                         from + static_cast<std::ptrdiff_t>(at[1]));
}

Value len(const Env&, Args a) {
  const auto& v = a[0];
  std::size_t n = 0;
  if (const auto* s = v.as<std::string>()) n = s->size();
  else if (const auto* m = v.as<std::shared_ptr<const LabelMap>>()) n = (*m)->size();
  else if (const auto* any = v.as<std::shared_ptr<const ValueMap>>()) n = (*any)->size();
  else if (const auto* list = v.as<std::shared_ptr<const Samples>>()) n = (*list)->size();
  else if (v.nil()) throw Fault("reflect: call of reflect.Value.Type on zero Value");
  else throw Fault(fmt::format("len of type {}", v.type()));
  return Integer{static_cast<std::int64_t>(n)};
}

Value call(const Env&, Args a) {
  if (a[0].nil()) throw Fault("call of nil");
  throw Fault(fmt::format("non-function of type {}", a[0].type()));  // no function is a value here
}

// What html, js and urlquery take: their arguments as print shows them.
std::string all_text(Args a) { return go_print(a); }

std::string escape_html(std::string_view in) {
  std::string out;
  for (const char c : in) switch (c) {
      case '\0': out += "\xEF\xBF\xBD"; break;
      case '"': out += "&#34;"; break;
      case '\'': out += "&#39;"; break;
      case '&': out += "&amp;"; break;
      case '<': out += "&lt;"; break;
      case '>': out += "&gt;"; break;
      default: out += c;
    }
  return out;
}

std::string escape_js(std::string_view in) {
  std::string out;
  while (!in.empty()) {
    const auto r = first_rune(in);
    switch (r.rune) {
      case '\\': out += "\\\\"; break;
      case '\'': out += "\\'"; break;
      case '"': out += "\\\""; break;
      case '<': out += "\\u003C"; break;
      case '>': out += "\\u003E"; break;
      case '&': out += "\\u0026"; break;
      case '=': out += "\\u003D"; break;
      default:
        if (r.rune >= 128 ? is_print(r.rune) : r.rune >= ' ') out += in.substr(0, r.size);
        else out += fmt::format("\\u{:04X}", static_cast<std::uint32_t>(r.rune));
    }
    in.remove_prefix(r.size);
  }
  return out;
}

std::string escape_query(std::string_view in) {
  std::string out;
  for (const char c : in) {
    const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' ||
                       c == '_' || c == '.' || c == '~';
    if (plain) out += c;
    else if (c == ' ') out += '+';
    else out += fmt::format("%{:02X}", static_cast<unsigned char>(c));
  }
  return out;
}

// ---- Prometheus'
// -----------------------------------------------------------------------------------------------------

double number(const Value& v) {
  if (const auto* d = v.as<double>()) return *d;
  if (const auto* i = v.as<Integer>()) return static_cast<double>(i->value);
  if (const auto* d = v.as<Duration>()) return static_cast<double>(d->nanos) / 1e9;
  if (const auto* s = v.as<std::string>()) {
    if (const auto d = parse_double(*s)) return *d;
    throw Fault(fmt::format("strconv.ParseFloat: parsing {}: invalid syntax", quote(*s)));
  }
  throw Fault(fmt::format("can't convert {} to float", v.type()));
}

template <std::string (*F)(double)>
Value human(const Env&, Args a) {
  return F(number(a[0]));
}

Time time_of(double v) {
  const auto t = to_time(v);
  if (!t)
    throw Fault(
        fmt::format("{} cannot be represented as a nanoseconds timestamp since it overflows int64", go_float(v)));
  return *t;
}

Value humanize_timestamp(const Env&, Args a) {
  const auto v = number(a[0]);
  return std::isfinite(v) ? to_string(time_of(v)) : go_float(v);
}

// As Go's net.SplitHostPort; nothing for what is no host with a port.
struct HostPort {
  std::string host, port;
};
std::optional<HostPort> split_host_port(const std::string& s) {
  const auto colon = s.rfind(':');
  if (colon == s.npos) return {};
  std::string host = s.substr(0, colon);
  if (s[0] == '[') {
    const auto close = s.find(']');
    if (close == s.npos || close + 1 != colon) return {};
    host = s.substr(1, close - 1);
    if (host.find_first_of("[]") != host.npos) return {};
  } else if (host.find_first_of(":[]") != host.npos) {
    return {};
  }
  auto port = s.substr(colon + 1);
  if (port.find_first_of("[]") != port.npos) return {};
  return HostPort{std::move(host), std::move(port)};
}

bool is_address(const std::string& host) {
  unsigned char buf[sizeof(in6_addr)];
  return inet_pton(AF_INET, host.c_str(), buf) == 1 || inet_pton(AF_INET6, host.c_str(), buf) == 1;
}

Value strip_domain(const Env&, Args a) {
  const auto& whole = text(a[0]);
  const auto split = split_host_port(whole);
  auto host = split ? split->host : whole;
  if (is_address(host)) return whole;
  host = host.substr(0, host.find('.'));
  if (!split || split->port.empty()) return host;
  return host + ':' + split->port;
}

std::unique_ptr<RE2> regex(const std::string& pattern) {
  if (promql::pattern_work(pattern) > promql::PatternBudget::of_owner().work)
    throw Fault("error parsing regexp: it is too large");
  RE2::Options options;
  options.set_log_errors(false);
  auto re = std::make_unique<RE2>(pattern, options);
  if (re->ok()) return re;
  // In Go's words where both libraries know the mistake.
  const auto what = [&]() -> std::string_view {
    switch (re->error_code()) {
      case RE2::ErrorBadEscape: return "invalid escape sequence";
      case RE2::ErrorBadCharClass: return "invalid character class";
      case RE2::ErrorBadCharRange: return "invalid character class range";
      case RE2::ErrorMissingBracket: return "missing closing ]";
      case RE2::ErrorMissingParen: return "missing closing )";
      case RE2::ErrorUnexpectedParen: return "unexpected )";
      case RE2::ErrorTrailingBackslash: return "trailing backslash at end of expression";
      case RE2::ErrorRepeatArgument: return "missing argument to repetition operator";
      case RE2::ErrorRepeatSize: return "invalid repeat count";
      case RE2::ErrorRepeatOp: return "invalid nested repetition operator";
      case RE2::ErrorBadPerlOp: return "invalid or unsupported Perl syntax";
      case RE2::ErrorBadUTF8: return "invalid UTF-8";
      case RE2::ErrorBadNamedCapture: return "invalid named capture";
      default: return re->error();
    }
  }();
  const bool whole = re->error_code() == RE2::ErrorMissingParen || re->error_code() == RE2::ErrorUnexpectedParen;
  throw Fault(fmt::format("error parsing regexp: {}: `{}`", what, whole ? pattern : re->error_arg()));
}

// $1, ${1}, $name, ${name}, $$; a group that is not there is empty.
void expand(std::string& out, std::string_view replacement, const RE2& re, std::span<const re2::StringPiece> groups) {
  const auto& names = re.NamedCapturingGroups();
  while (!replacement.empty()) {
    const auto dollar = std::min(replacement.find('$'), replacement.size());
    out += replacement.substr(0, dollar);
    replacement.remove_prefix(dollar);
    if (replacement.empty()) return;
    replacement.remove_prefix(1);
    if (replacement.starts_with('$')) {
      out += '$';
      replacement.remove_prefix(1);
      continue;
    }
    const bool braces = replacement.starts_with('{');
    auto rest = replacement.substr(braces);
    std::size_t n = 0;
    while (n < rest.size() && is_word(first_rune(rest.substr(n)).rune)) n += first_rune(rest.substr(n)).size;
    if (n == 0 || (braces && !rest.substr(n).starts_with('}'))) {
      out += '$';
      continue;
    }
    const auto name = rest.substr(0, n);
    replacement = rest.substr(n + braces);
    auto group = parse_u64(name);
    if (!group)
      if (const auto at = names.find(std::string(name)); at != names.end())
        group = static_cast<std::uint64_t>(at->second);
    if (group && *group < groups.size()) out.append(groups[*group].data(), groups[*group].size());
  }
}

Value replace_all(const Env&, Args a) {
  const auto re = regex(text(a[0]));
  const re2::StringPiece in(text(a[2]));
  std::vector<re2::StringPiece> groups(static_cast<std::size_t>(re->NumberOfCapturingGroups()) + 1);
  std::string out;
  std::size_t copied = 0, from = 0;
  while (from <= in.size() &&
         re->Match(in, from, in.size(), RE2::UNANCHORED, groups.data(), static_cast<int>(groups.size()))) {
    const auto begin = static_cast<std::size_t>(groups[0].data() - in.data()), end = begin + groups[0].size();
    out.append(in.data() + copied, begin - copied);
    // No empty match right behind the one before.
    if (end > copied || begin == 0) expand(out, text(a[1]), *re, groups);
    copied = end;
    check_size(out.size());
    from = end > begin ? end : end + std::max<std::size_t>(first_rune({in.data() + end, in.size() - end}).size, 1);
  }
  out.append(in.data() + std::min(copied, in.size()), in.size() - std::min(copied, in.size()));
  return out;
}

template <char32_t (*F)(char32_t)>
Value mapped(const Env&, Args a) {
  std::string out;
  for (std::string_view rest = text(a[0]); !rest.empty();) {
    const auto r = first_rune(rest);
    append_rune(out, F(r.rune));
    rest.remove_prefix(r.size);
  }
  return out;
}

Value title(const Env&, Args a) {
  std::string out;
  bool start = true;
  for (std::string_view rest = text(a[0]); !rest.empty();) {
    const auto r = first_rune(rest);
    append_rune(out, start ? to_upper(r.rune) : r.rune);
    start = r.rune < 128 ? !is_word(r.rune) : !is_letter_or_digit(r.rune) && is_space(r.rune);
    rest.remove_prefix(r.size);
  }
  return out;
}

Value sort_by_label(const Env&, Args a) {
  auto sorted = **a[1].as<std::shared_ptr<const Samples>>();
  const auto value = [&](const SamplePtr& s) {
    const auto at = s->labels.find(text(a[0]));
    return at == s->labels.end() ? std::string() : at->second;
  };
  std::ranges::stable_sort(sorted, {}, value);
  return std::make_shared<const Samples>(std::move(sorted));
}

std::string label(const Value& sample, const std::string& name) {
  const auto& labels = (*sample.as<SamplePtr>())->labels;
  const auto at = labels.find(name);
  return at == labels.end() ? std::string() : at->second;
}

Value parse_duration(const Env&, Args a) {
  const auto ms = text(a[0]) == "0" ? 0 : promql::parse_duration_ms(text(a[0]));
  if (ms < 0) throw Fault(fmt::format("not a valid duration string: {}", quote(text(a[0]))));
  return static_cast<double>(ms) / 1000;
}

Value query(const Env& env, Args a) {
  if (!env.query) throw Fault("there is nothing to query here");
  auto found = env.query(text(a[0]));
  if (!found) throw Fault(found.error().text);
  return std::make_shared<const Samples>(std::move(*found));
}

Value first(const Env&, Args a) {
  const auto& samples = **a[0].as<std::shared_ptr<const Samples>>();
  if (samples.empty()) throw Fault("first() called on vector with no elements");
  return SamplePtr(samples.front());
}

Value args(const Env&, Args a) {
  ValueMap out;
  for (std::size_t i = 0; i < a.size(); ++i) {
    if (const auto* inner = a[i].as<std::shared_ptr<const ValueMap>>())
      out.depth = std::max(out.depth, (*inner)->depth + 1);
    out.emplace(fmt::format("arg{}", i), a[i]);
  }
  if (out.depth > kMaxDepth) throw Fault(fmt::format("nested deeper than {} levels", kMaxDepth));
  return std::make_shared<const ValueMap>(std::move(out));
}

Value path_prefix(const Env& env, Args) {
  std::string_view url = env.external_url;
  const auto host = url.find("://");
  if (host == url.npos) return std::string();
  url.remove_prefix(host + 3);
  const auto path = url.find('/');
  return std::string(path == url.npos ? std::string_view() : url.substr(path, url.find_first_of("?#") - path));
}

template <int Tab>
Value link(const Env&, Args a) {
  return fmt::format("/graph?g0.expr={}&g0.tab={}", escape_query(text(a[0])), Tab);
}

constexpr auto kAny = Param::any, kValue = Param::value, kString = Param::string;

const std::vector<Function>& functions() {
  static const std::vector<Function> kAll = {
      // `and` and `or` stop early: exec.cpp evaluates them itself.
      {"and", {kValue, kValue}, true, nullptr},
      {"or", {kValue, kValue}, true, nullptr},
      {"not", {kValue}, false, [](const Env&, Args a) -> Value { return !a[0].truth(); }},
      {"call", {kValue, kValue}, true, call},
      {"html", {kAny}, true, [](const Env&, Args a) -> Value { return escape_html(all_text(a)); }},
      {"index", {kValue, kValue}, true, index},
      {"slice", {kValue, kValue}, true, slice},
      {"js", {kAny}, true, [](const Env&, Args a) -> Value { return escape_js(all_text(a)); }},
      {"len", {kValue}, false, len},
      {"print", {kAny}, true, [](const Env&, Args a) -> Value { return go_print(a); }},
      {"printf",
       {kString, kAny},
       true,
       [](const Env&, Args a) -> Value { return go_printf(text(a[0]), a.subspan(1)); }},
      {"println", {kAny}, true, [](const Env&, Args a) -> Value { return go_println(a); }},
      {"urlquery", {kAny}, true, [](const Env&, Args a) -> Value { return escape_query(all_text(a)); }},
      {"eq", {kValue, kValue}, true, eq},
      {"ne", {kValue, kValue}, false, [](const Env&, Args a) -> Value { return !equal(a[0], a[1]); }},
      {"lt", {kValue, kValue}, false, [](const Env&, Args a) -> Value { return order(a[0], a[1]) == -1; }},
      {"le",
       {kValue, kValue},
       false,
       [](const Env&, Args a) -> Value { return order(a[0], a[1]) == -1 || order(a[0], a[1]) == 0; }},
      // As in Go, where these two are the others turned round: true for NaN.
      {"gt", {kValue, kValue}, false, [](const Env&, Args a) -> Value { return order(a[0], a[1]) >= 1; }},
      {"ge", {kValue, kValue}, false, [](const Env&, Args a) -> Value { return order(a[0], a[1]) != -1; }},

      {"query", {kString}, false, query},
      {"first", {Param::samples}, false, first},
      {"label", {kString, Param::sample}, false, [](const Env&, Args a) -> Value { return label(a[1], text(a[0])); }},
      {"value", {Param::sample}, false, [](const Env&, Args a) -> Value { return (*a[0].as<SamplePtr>())->value; }},
      {"strvalue", {Param::sample}, false, [](const Env&, Args a) -> Value { return label(a[0], "__value__"); }},
      {"sortByLabel", {kString, Param::samples}, false, sort_by_label},
      {"args", {kAny}, true, args},
      {"reReplaceAll", {kString, kString, kString}, false, replace_all},
      {"match",
       {kString, kString},
       false,
       [](const Env&, Args a) -> Value { return RE2::PartialMatch(text(a[1]), *regex(text(a[0]))); }},
      {"safeHtml", {kString}, false, [](const Env&, Args a) -> Value { return text(a[0]); }},
      {"title", {kString}, false, title},
      {"toUpper", {kString}, false, mapped<to_upper>},
      {"toLower", {kString}, false, mapped<to_lower>},
      {"graphLink", {kString}, false, link<0>},
      {"tableLink", {kString}, false, link<1>},
      {"stripPort",
       {kString},
       false,
       [](const Env&, Args a) -> Value {
         const auto split = split_host_port(text(a[0]));
         return split ? split->host : text(a[0]);
       }},
      {"stripDomain", {kString}, false, strip_domain},
      {"humanize", {kAny}, false, human<humanize>},
      {"humanize1024", {kAny}, false, human<humanize1024>},
      {"humanizeDuration", {kAny}, false, human<humanize_duration>},
      {"humanizePercentage", {kAny}, false, human<humanize_percentage>},
      {"humanizeTimestamp", {kAny}, false, humanize_timestamp},
      {"toTime", {kAny}, false, [](const Env&, Args a) -> Value { return time_of(number(a[0])); }},
      {"toDuration",
       {kAny},
       false,
       [](const Env&, Args a) -> Value {
         const auto v = number(a[0]);
         if (!(std::abs(v) < 9.2e9)) throw Fault(fmt::format("{} is no duration", go_float(v)));
         return Duration{static_cast<std::int64_t>(v * 1e9)};
       }},
      {"now", {}, false, [](const Env& env, Args) -> Value { return env.now; }},
      {"pathPrefix", {}, false, path_prefix},
      {"externalURL", {}, false, [](const Env& env, Args) -> Value { return env.external_url; }},
      {"parseDuration", {kString}, false, parse_duration},
      {"urlQueryEscape", {kString}, false, [](const Env&, Args a) -> Value { return escape_query(text(a[0])); }},
      // exec.cpp's own: it runs a template that is defined here.
      {"tmpl", {kString, kAny}, false, nullptr},
  };
  return kAll;
}

}  // namespace

const Function* find_function(std::string_view name) {
  const auto at = std::ranges::find(functions(), name, &Function::name);
  return at == functions().end() ? nullptr : &*at;
}

std::string_view nearest_function(std::string_view name) {
  std::vector<std::string_view> names;
  for (const auto& f : functions()) names.push_back(f.name);
  return closest(name, names);
}

std::string_view to_string(Param p) {
  switch (p) {
    case Param::any: return "interface {}";
    case Param::value: return "reflect.Value";
    case Param::string: return "string";
    case Param::sample: return "*template.sample";
    case Param::samples: return "template.queryResult";
  }
  return {};
}

}  // namespace vitald::text_template
