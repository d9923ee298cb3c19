// SPDX-License-Identifier: Apache-2.0
#include "rules/template.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <charconv>
#include <cmath>
#include <ctime>
#include <optional>
#include <variant>

#include "core/text/scan.h"
#include "rules/promql/labels.h"
#include "rules/promql/lexer.h"

namespace vitald {

std::string go_float(double v) {
  if (std::isnan(v)) return "NaN";
  if (std::isinf(v)) return v > 0 ? "+Inf" : "-Inf";
  // Shortest digits; with an exponent below 1e-4 and from 1e6 on (strconv's 'g' without precision).
  char buf[64];
  const double a = std::abs(v);
  const bool exponent = a != 0 && (a < 1e-4 || a >= 1e6);
  const auto [end, ec] =
      std::to_chars(buf, buf + sizeof buf, v, exponent ? std::chars_format::scientific : std::chars_format::fixed);
  return {buf, end};
}

namespace {

// Go's %.4g.
std::string significant(double v) { return std::isfinite(v) ? fmt::format("{:.4g}", v) : go_float(v); }

}  // namespace

std::string humanize(double v) {
  if (v == 0 || std::isnan(v) || std::isinf(v)) return significant(v);
  static constexpr std::string_view kLarge[] = {"k", "M", "G", "T", "P", "E", "Z", "Y"};
  static constexpr std::string_view kSmall[] = {"m", "u", "n", "p", "f", "a", "z", "y"};
  std::string_view prefix;
  if (std::abs(v) >= 1) {
    for (const auto p : kLarge) {
      if (std::abs(v) < 1000) break;
      prefix = p;
      v /= 1000;
    }
  } else {
    for (const auto p : kSmall) {
      if (std::abs(v) >= 1) break;
      prefix = p;
      v *= 1000;
    }
  }
  return significant(v) + std::string(prefix);
}

std::string humanize1024(double v) {
  if (std::abs(v) <= 1 || std::isnan(v) || std::isinf(v)) return significant(v);
  std::string_view prefix;
  for (const std::string_view p : {"ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"}) {
    if (std::abs(v) < 1024) break;
    prefix = p;
    v /= 1024;
  }
  return significant(v) + std::string(prefix);
}

std::string humanize_percentage(double v) { return significant(v * 100) + "%"; }

std::string humanize_duration(double v) {
  if (std::isnan(v) || std::isinf(v)) return significant(v);
  if (v == 0 || std::abs(v) >= 0x1p63) return significant(v) + "s";  // more does not divide into days
  if (std::abs(v) >= 1) {
    const std::string sign = v < 0 ? "-" : "";
    v = std::abs(v);
    const auto whole = static_cast<std::int64_t>(v);
    const auto s = whole % 60, m = whole / 60 % 60, h = whole / 3600 % 24, d = whole / 86400;
    if (d != 0) return fmt::format("{}{}d {}h {}m {}s", sign, d, h, m, s);
    if (h != 0) return fmt::format("{}{}h {}m {}s", sign, h, m, s);
    if (m != 0) return fmt::format("{}{}m {}s", sign, m, s);
    return sign + significant(v) + "s";
  }
  std::string_view prefix;
  for (const std::string_view p : {"m", "u", "n", "p", "f", "a", "z", "y"}) {
    if (std::abs(v) >= 1) break;
    prefix = p;
    v *= 1000;
  }
  return significant(v) + std::string(prefix) + "s";
}

std::string humanize_timestamp(double v) {
  if (std::isnan(v) || std::isinf(v)) return significant(v);
  if (!(std::abs(v) < 1e15)) return significant(v);
  // Milliseconds; what is below is cut off.
  const auto total_ms = static_cast<std::int64_t>(v * 1000);
  const auto ms = (total_ms % 1000 + 1000) % 1000;
  const std::time_t seconds = (total_ms - ms) / 1000;
  std::tm tm{};
  gmtime_r(&seconds, &tm);
  auto text = fmt::format("{:04}-{:02}-{:02} {:02}:{:02}:{:02}", tm.tm_year + 1900, tm.tm_mon + 1, tm.tm_mday,
                          tm.tm_hour, tm.tm_min, tm.tm_sec);
  if (ms > 0) {
    text += fmt::format(".{:03}", ms);
    while (text.back() == '0') text.pop_back();
  }
  return text + " +0000 UTC";
}

namespace {

using Map = std::map<std::string, std::string>;
using Object = std::variant<std::monostate, double, std::int64_t, bool, std::string, const Map*>;

struct Fault {
  std::size_t at;
  std::string what;
};

std::string show(const Object& o) {
  struct Show {
    std::string operator()(std::monostate) const { return "<no value>"; }
    std::string operator()(double v) const { return go_float(v); }
    std::string operator()(std::int64_t v) const { return std::to_string(v); }
    std::string operator()(bool v) const { return v ? "true" : "false"; }
    std::string operator()(const std::string& v) const { return v; }
    std::string operator()(const Map* m) const {
      std::string out = "map[";
      for (const auto& [k, v] : *m) {
        if (out.size() > 4) out += ' ';
        out += k + ':' + v;
      }
      return out + ']';
    }
  };
  return std::visit(Show{}, o);
}

bool truthy(const Object& o) {
  if (const auto* v = std::get_if<double>(&o)) return *v != 0;
  if (const auto* v = std::get_if<std::int64_t>(&o)) return *v != 0;
  if (const auto* v = std::get_if<bool>(&o)) return *v;
  if (const auto* v = std::get_if<std::string>(&o)) return !v->empty();
  if (const auto* v = std::get_if<const Map*>(&o)) return !(*v)->empty();
  return false;
}

// A number, also from text, as the humanize functions take it.
std::optional<double> number(const Object& o) {
  if (const auto* v = std::get_if<double>(&o)) return *v;
  if (const auto* v = std::get_if<std::int64_t>(&o)) return static_cast<double>(*v);
  if (const auto* v = std::get_if<std::string>(&o)) return parse_double(*v);
  return {};
}

std::string_view type_name(const Object& o) {
  static constexpr std::string_view kNames[] = {"<nil>", "float64", "int", "bool", "string", "map[string]string"};
  return kNames[o.index()];
}

std::string pad(std::string text, std::string_view flags, std::size_t width, bool numeric) {
  if (text.size() >= width) return text;
  const auto fill = width - text.size();
  if (flags.find('-') != flags.npos) return text + std::string(fill, ' ');
  if (numeric && flags.find('0') != flags.npos) {
    const std::size_t sign = !text.empty() && (text[0] == '-' || text[0] == '+') ? 1 : 0;
    return text.insert(sign, fill, '0');
  }
  return std::string(fill, ' ') + text;
}

std::string go_printf(std::string_view format, const std::vector<Object>& args) {
  std::string out;
  std::size_t next = 0;
  while (!format.empty()) {
    const auto percent = format.find('%');
    out += format.substr(0, percent);
    if (percent == format.npos) break;
    format.remove_prefix(percent + 1);
    std::size_t n = 0;
    while (n < format.size() && std::string_view("+-# 0").find(format[n]) != std::string_view::npos) ++n;
    const auto flags = format.substr(0, n);
    format.remove_prefix(n);
    const auto width = take_u64(format).value_or(0);
    std::optional<std::uint64_t> precision;
    if (take_prefix(format, ".")) precision = take_u64(format).value_or(0);
    if (format.empty()) return out + "%!(NOVERB)";
    const char verb = format[0];
    format.remove_prefix(1);
    if (verb == '%') {
      out += '%';
      continue;
    }
    if (next >= args.size()) {
      out += fmt::format("%!{}(MISSING)", verb);
      continue;
    }
    const Object& arg = args[next++];
    const auto size = std::min<std::size_t>(width, 1000);
    const auto digits = static_cast<int>(std::min<std::uint64_t>(precision.value_or(6), 100));
    const auto* d = std::get_if<double>(&arg);
    const auto* i = std::get_if<std::int64_t>(&arg);
    const bool plus = flags.find('+') != flags.npos;
    const auto sign = [&](std::string t) { return plus && t[0] != '-' && t[0] != '+' ? '+' + t : t; };
    if (d && std::string_view("fFeEgG").find(verb) != std::string_view::npos) {
      std::string t;
      if (std::isnan(*d)) t = "NaN";
      else if (std::isinf(*d)) t = *d > 0 ? "+Inf" : "-Inf";
      else if (verb == 'f' || verb == 'F') t = fmt::format("{:.{}f}", *d, digits);
      else if (verb == 'e' || verb == 'E') t = fmt::format("{:.{}e}", *d, digits);
      else t = precision ? fmt::format("{:.{}g}", *d, digits) : go_float(*d);
      out += pad(sign(std::move(t)), flags, size, std::isfinite(*d));
    } else if (i && (verb == 'd' || verb == 'x' || verb == 'X' || verb == 'o' || verb == 'b')) {
      const auto t = verb == 'd'   ? fmt::format("{}", *i)
                     : verb == 'x' ? fmt::format("{:x}", *i)
                     : verb == 'X' ? fmt::format("{:X}", *i)
                     : verb == 'o' ? fmt::format("{:o}", *i)
                                   : fmt::format("{:b}", *i);
      out += pad(sign(t), flags, size, true);
    } else if (verb == 'v') {
      out += pad(show(arg), flags, size, d || i);
    } else if (verb == 's' && std::holds_alternative<std::string>(arg)) {
      const auto& s = std::get<std::string>(arg);
      out += pad(precision ? s.substr(0, *precision) : s, flags, size, false);
    } else if (verb == 'q' && std::holds_alternative<std::string>(arg)) {
      out += pad(promql::quoted(std::get<std::string>(arg)), flags, size, false);
    } else if (verb == 't' && std::holds_alternative<bool>(arg)) {
      out += pad(show(arg), flags, size, false);
    } else {
      out += fmt::format("%!{}({}={})", verb, type_name(arg), show(arg));
    }
  }
  return out;
}

std::string title(std::string text) {
  bool start = true;
  for (auto& c : text) {
    if (start && c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
    start = c == ' ' || c == '\t' || c == '\n' || c == '-' || c == '.' || c == '/';
  }
  return text;
}

std::string ascii(std::string text, char from, char to, int shift) {
  for (auto& c : text)
    if (c >= from && c <= to) c = static_cast<char>(c + shift);
  return text;
}

struct Function {
  std::string_view name;
  std::size_t least, most;  // arguments
  Object (*call)(const std::vector<Object>& args);
};

template <std::string (*F)(double)>
Object human(const std::vector<Object>& a) {
  const auto v = number(a[0]);
  return v ? F(*v) : fmt::format("<not a number: {}>", show(a[0]));
}

// -1, 0, 1; nullopt when they cannot be compared.
std::optional<int> order(const Object& a, const Object& b) {
  if (const auto* x = std::get_if<std::string>(&a), *y = std::get_if<std::string>(&b); x && y)
    return *x < *y ? -1 : *x == *y ? 0 : 1;
  const auto x = number(a), y = number(b);
  if (!x || !y) return {};
  return *x < *y ? -1 : *x == *y ? 0 : 1;
}
template <auto Test>
Object ordered(const std::vector<Object>& a) {
  const auto o = order(a[0], a[1]);
  return o && Test(*o);
}

constexpr std::size_t kAny = 64;
constexpr Function kFunctions[] = {
    {"printf", 1, kAny,
     [](const std::vector<Object>& a) -> Object {
       return go_printf(show(a[0]), {a.begin() + 1, a.end()});
     }},
    {"print", 0, kAny,
     [](const std::vector<Object>& a) -> Object {
       std::string out;
       for (std::size_t i = 0; i < a.size(); ++i) {  // a blank only between two that are no text
         const auto is_text = [&](std::size_t k) { return std::holds_alternative<std::string>(a[k]); };
         if (i > 0 && !is_text(i - 1) && !is_text(i)) out += ' ';
         out += show(a[i]);
       }
       return out;
     }},
    {"humanize", 1, 1, human<humanize>},
    {"humanize1024", 1, 1, human<humanize1024>},
    {"humanizePercentage", 1, 1, human<humanize_percentage>},
    {"humanizeDuration", 1, 1, human<humanize_duration>},
    {"humanizeTimestamp", 1, 1, human<humanize_timestamp>},
    {"title", 1, 1, [](const std::vector<Object>& a) -> Object { return title(show(a[0])); }},
    {"toUpper", 1, 1, [](const std::vector<Object>& a) -> Object { return ascii(show(a[0]), 'a', 'z', 'A' - 'a'); }},
    {"toLower", 1, 1, [](const std::vector<Object>& a) -> Object { return ascii(show(a[0]), 'A', 'Z', 'a' - 'A'); }},
    {"parseDuration", 1, 1,
     [](const std::vector<Object>& a) -> Object {
       const auto ms = promql::parse_duration_ms(show(a[0]));
       return ms < 0 ? std::nan("") : static_cast<double>(ms) / 1000;
     }},
    {"index", 2, 2,
     [](const std::vector<Object>& a) -> Object {
       const auto* const* m = std::get_if<const Map*>(&a[0]);
       if (!m) return {};
       const auto at = (*m)->find(show(a[1]));
       return at == (*m)->end() ? std::string() : at->second;
     }},
    {"len", 1, 1,
     [](const std::vector<Object>& a) -> Object {
       const auto* const* m = std::get_if<const Map*>(&a[0]);
       return static_cast<std::int64_t>(m ? (*m)->size() : show(a[0]).size());
     }},
    {"eq", 2, 2, ordered<[](int o) { return o == 0; }>},
    {"ne", 2, 2, ordered<[](int o) { return o != 0; }>},
    {"lt", 2, 2, ordered<[](int o) { return o < 0; }>},
    {"le", 2, 2, ordered<[](int o) { return o <= 0; }>},
    {"gt", 2, 2, ordered<[](int o) { return 0 < o; }>},
    {"ge", 2, 2, ordered<[](int o) { return 0 <= o; }>},
    {"not", 1, 1, [](const std::vector<Object>& a) -> Object { return !truthy(a[0]); }},
    {"and", 1, kAny,
     [](const std::vector<Object>& a) -> Object {
       for (const auto& x : a)
         if (!truthy(x)) return x;
       return a.back();
     }},
    {"or", 1, kAny,
     [](const std::vector<Object>& a) -> Object {
       for (const auto& x : a)
         if (truthy(x)) return x;
       return a.back();
     }},
};

// One operand or call; a pipeline is a list of them, each taking the result of the one before as last argument.
struct Term {
  enum class What : std::uint8_t { literal, variable, call, pipeline };
  What what = What::literal;
  Object literal;
  enum class Variable : std::uint8_t { labels, value, external } variable = Variable::value;
  std::string field;
  const Function* function = nullptr;
  std::vector<Term> args;  // of a call; the stages of a pipeline
};

constexpr std::size_t kMaxDepth = 100;  // of parentheses, of ifs: parsing, expanding and freeing recurse

struct Token {
  enum class Kind : std::uint8_t { word, string, number, pipe, open, close, end } kind = Kind::end;
  std::string text;
  std::size_t at = 0;
};

class ActionParser {
 public:
  ActionParser(std::string_view text, std::size_t base) : text_(text), base_(base) { next(); }

  const Token& now() const { return now_; }
  void take() { next(); }
  bool at_end() const { return now_.kind == Token::Kind::end; }

  Term pipeline() {
    std::vector<Term> stages;
    stages.push_back(command());
    while (now_.kind == Token::Kind::pipe) {
      take();
      stages.push_back(command());
      auto& s = stages.back();
      if (s.what != Term::What::call) throw Fault{now_.at, "after '|' comes a function, e.g. humanize"};
    }
    for (std::size_t i = 0; i < stages.size(); ++i) {
      const auto& s = stages[i];
      if (s.what != Term::What::call) continue;
      const auto given = s.args.size() + (i > 0 ? 1 : 0);
      if (given < s.function->least || given > s.function->most)
        throw Fault{base_,
                    fmt::format("{} has {} argument{}; expected {}{}", s.function->name, given, given == 1 ? "" : "s",
                                s.function->most == kAny ? "at least " : "", s.function->least)};
    }
    if (stages.size() == 1) return std::move(stages[0]);
    Term t;
    t.what = Term::What::pipeline;
    t.args = std::move(stages);
    return t;
  }

 private:
  Term command() {
    if (now_.kind == Token::Kind::word && now_.text[0] != '$' && now_.text[0] != '.') {
      if (now_.text == "true" || now_.text == "false") return operand();
      Term t;
      t.what = Term::What::call;
      const auto at = std::ranges::find(kFunctions, std::string_view(now_.text), &Function::name);
      if (at == std::end(kFunctions)) {
        static constexpr std::string_view kKnown =
            "printf, print, humanize, humanize1024, humanizePercentage, humanizeDuration, humanizeTimestamp, title, "
            "toUpper, toLower";
        throw Fault{now_.at, fmt::format("unknown function '{}'; there are {}", now_.text, kKnown)};
      }
      t.function = at;
      take();
      while (now_.kind != Token::Kind::pipe && now_.kind != Token::Kind::close && now_.kind != Token::Kind::end)
        t.args.push_back(operand());
      return t;
    }
    return operand();
  }

  Term operand() {
    Term t;
    switch (now_.kind) {
      case Token::Kind::string: t.literal = now_.text; break;
      case Token::Kind::number: {
        if (const auto i = parse_i64(now_.text)) t.literal = *i;
        else if (const auto d = parse_double(now_.text)) t.literal = *d;
        else throw Fault{now_.at, fmt::format("'{}' is not a number", now_.text)};
        break;
      }
      case Token::Kind::open: {
        if (++depth_ > kMaxDepth) throw Fault{now_.at, fmt::format("nested deeper than {} levels", kMaxDepth)};
        take();
        t = pipeline();
        --depth_;
        if (now_.kind != Token::Kind::close) throw Fault{now_.at, "expected ')'"};
        break;
      }
      case Token::Kind::word: {
        if (now_.text == "true" || now_.text == "false") {
          t.literal = now_.text == "true";
          break;
        }
        t.what = Term::What::variable;
        std::string_view rest = now_.text;
        const auto name = take_until(rest, '.');
        std::string_view full = now_.text;
        if (name == "$labels" || take_prefix(full, ".Labels")) t.variable = Term::Variable::labels;
        else if (name == "$value" || full == ".Value") t.variable = Term::Variable::value;
        else if (name == "$externalLabels" || take_prefix(full, ".ExternalLabels"))
          t.variable = Term::Variable::external;
        else throw Fault{now_.at, fmt::format("unknown '{}'; there are $labels, $value, $externalLabels", now_.text)};
        if (name.empty()) rest = full.starts_with('.') ? full.substr(1) : std::string_view{};
        if (t.variable == Term::Variable::value && !rest.empty() && full != ".Value")
          throw Fault{now_.at, "$value is a number and has no fields"};
        if (full == ".Value") rest = {};
        t.field = std::string(rest);
        break;
      }
      default: throw Fault{now_.at, "expected $labels.<name>, $value, a string, a number or '('"};
    }
    take();
    return t;
  }

  void next() {
    while (at_ < text_.size() && is_space(text_[at_])) ++at_;
    now_ = {Token::Kind::end, "", base_ + at_};
    if (at_ >= text_.size()) return;
    const char c = text_[at_];
    const auto single = [&](Token::Kind k) { now_.kind = k, now_.text = c, ++at_; };
    if (c == '|') return single(Token::Kind::pipe);
    if (c == '(') return single(Token::Kind::open);
    if (c == ')') return single(Token::Kind::close);
    if (c == '"' || c == '`') {
      const auto first = at_++;
      while (at_ < text_.size() && text_[at_] != c) at_ += c == '"' && text_[at_] == '\\' ? 2 : 1;
      if (at_ >= text_.size()) throw Fault{base_ + first, "string without closing quote"};
      ++at_;
      std::vector<promql::Problem> problems;
      const auto tokens = promql::lex(text_.substr(first, at_ - first), problems);
      if (!problems.empty()) throw Fault{base_ + first, problems[0].what};
      now_.kind = Token::Kind::string;
      now_.text = tokens[0].value;
      return;
    }
    const auto first = at_;
    while (at_ < text_.size() && !is_space(text_[at_]) &&
           std::string_view("|()\"`").find(text_[at_]) == std::string_view::npos)
      ++at_;
    now_.text = std::string(text_.substr(first, at_ - first));
    const char d = now_.text[0];
    now_.kind = (d >= '0' && d <= '9') || d == '-' || d == '+' ? Token::Kind::number : Token::Kind::word;
  }

  std::string_view text_;
  std::size_t base_, at_ = 0, depth_ = 0;
  Token now_;
};

Object evaluate(const Term& t, const TemplateData& data, const Object* piped = nullptr) {
  static const Map kNone;
  switch (t.what) {
    case Term::What::literal: return t.literal;
    case Term::What::variable: {
      if (t.variable == Term::Variable::value) return data.value;
      const Map* m = t.variable == Term::Variable::labels ? data.labels : data.external_labels;
      if (!m) m = &kNone;
      if (t.field.empty()) return m;
      const auto at = m->find(t.field);
      return at == m->end() ? std::string() : at->second;
    }
    case Term::What::call: {
      std::vector<Object> args;
      for (const auto& a : t.args) args.push_back(evaluate(a, data));
      if (piped) args.push_back(*piped);
      return t.function->call(args);
    }
    case Term::What::pipeline: {
      Object value = evaluate(t.args[0], data);
      for (std::size_t i = 1; i < t.args.size(); ++i) value = evaluate(t.args[i], data, &value);
      return value;
    }
  }
  return {};
}

}  // namespace

struct Template::Node {
  std::string text;  // when there is no term
  std::optional<Term> term;
  bool condition = false;  // {{ if term }} yes {{ else }} no {{ end }}
  std::vector<std::unique_ptr<Node>> yes, no;
};

Template::Template(Template&&) noexcept = default;
Template& Template::operator=(Template&&) noexcept = default;
Template::~Template() = default;

bool Template::plain() const { return nodes_.empty() || (nodes_.size() == 1 && !nodes_[0]->term); }

Result<Template> Template::parse(std::string_view text) {
  Template out;
  out.text_ = std::string(text);
  struct Open {
    std::vector<std::unique_ptr<Node>>* list;
    Node* node;
    std::size_t at;
  };
  std::vector<Open> open;
  auto* list = &out.nodes_;
  std::size_t at = 0;
  bool trim_next = false;
  try {
    while (at < text.size()) {
      const auto start = text.find("{{", at);
      auto literal = text.substr(at, start == text.npos ? text.npos : start - at);
      if (trim_next)
        while (!literal.empty() && is_space(literal.front())) literal.remove_prefix(1);
      const bool trims = start != text.npos && text.substr(start + 2, 2).size() == 2 && text[start + 2] == '-' &&
                         is_space(text[start + 3]);
      if (trims)
        while (!literal.empty() && is_space(literal.back())) literal.remove_suffix(1);
      if (!literal.empty()) {
        list->push_back(std::make_unique<Node>());
        list->back()->text = std::string(literal);
      }
      if (start == text.npos) break;
      const auto stop = text.find("}}", start + 2);
      if (stop == text.npos) throw Fault{start, "'{{' without '}}'"};
      auto action = text.substr(start + 2, stop - start - 2);
      auto base = start + 2;
      if (trims) action.remove_prefix(1), ++base;
      trim_next = action.size() >= 2 && action.back() == '-' && is_space(action[action.size() - 2]);
      if (trim_next) action.remove_suffix(1);
      at = stop + 2;
      if (trim(action).starts_with("/*")) continue;

      ActionParser parser(action, base);
      const auto word = parser.now();
      if (word.kind == Token::Kind::end) throw Fault{start, "empty '{{ }}'"};
      if (word.text == "if") {
        if (open.size() >= kMaxDepth) throw Fault{start, fmt::format("nested deeper than {} levels", kMaxDepth)};
        parser.take();
        auto node = std::make_unique<Node>();
        node->condition = true;
        node->term = parser.pipeline();
        list->push_back(std::move(node));
        auto* now = list->back().get();
        open.push_back({list, now, start});
        list = &now->yes;
      } else if (word.text == "else" || word.text == "end") {
        if (open.empty()) throw Fault{start, fmt::format("'{}' without 'if'", word.text)};
        parser.take();
        if (word.text == "else") list = &open.back().node->no;
        else list = open.back().list, open.pop_back();
      } else if (word.text == "range" || word.text == "with" || word.text == "define" || word.text == "template" ||
                 word.text == "block") {
        throw Fault{word.at, fmt::format("'{}' is not supported; expected a value, 'if', 'else' or 'end'", word.text)};
      } else {
        auto node = std::make_unique<Node>();
        node->term = parser.pipeline();
        list->push_back(std::move(node));
      }
      if (!parser.at_end())
        throw Fault{parser.now().at, fmt::format("unexpected '{}'; expected '|' or '}}}}'", parser.now().text)};
    }
    if (!open.empty()) throw Fault{open.back().at, "'if' without 'end'"};
  } catch (const Fault& f) {
    return vitald::fail(Errc::malformed, fmt::format("template: {} (at character {})", f.what, f.at + 1));
  }
  return out;
}

namespace {
void render(const std::vector<std::unique_ptr<Template::Node>>& nodes, const TemplateData& data, std::string& out);
}

std::string Template::expand(const TemplateData& data) const {
  std::string out;
  render(nodes_, data, out);
  return out;
}

namespace {
void render(const std::vector<std::unique_ptr<Template::Node>>& nodes, const TemplateData& data, std::string& out) {
  for (const auto& n : nodes) {
    if (!n->term) out += n->text;
    else if (!n->condition) out += show(evaluate(*n->term, data));
    else render(truthy(evaluate(*n->term, data)) ? n->yes : n->no, data, out);
  }
}
}  // namespace

}  // namespace vitald
