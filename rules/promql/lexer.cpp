// SPDX-License-Identifier: Apache-2.0
#include "rules/promql/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>

#include "core/text/scan.h"

namespace vitald::promql {

namespace {

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_hex(char c) { return is_digit(c) || (c >= 'a' && c <= 'f') || (c >= 'A' && c <= 'F'); }
bool is_alpha(char c) { return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_'; }

struct Unit {
  std::string_view name;
  std::int64_t ms;
};
constexpr Unit kUnits[] = {
    {"y", 365LL * 86'400'000},
    {"w", 7LL * 86'400'000},
    {"d", 86'400'000},
    {"h", 3'600'000},
    {"m", 60'000},
    {"s", 1'000},
    {"ms", 1},
};

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xC0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xE0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  } else {
    out += static_cast<char>(0xF0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3F));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3F));
    out += static_cast<char>(0x80 | (c & 0x3F));
  }
}

class Lexer {
 public:
  Lexer(std::string_view text, std::vector<Problem>& problems) : text_(text), problems_(problems) {}

  std::vector<Token> run() {
    while (next()) {
    }
    return std::move(tokens_);
  }

 private:
  char peek(std::size_t ahead = 0) const { return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0'; }

  bool next() {
    while (at_ < text_.size() && (is_space(peek()) || peek() == '#')) {
      if (peek() == '#') {
        while (at_ < text_.size() && peek() != '\n') ++at_;
      } else {
        ++at_;
      }
    }
    begin_ = at_;
    if (at_ == text_.size()) return push(Tok::end), false;
    const char c = peek();
    switch (c) {
      case '(': return one(Tok::left_paren);
      case ')': return one(Tok::right_paren);
      case '{': return ++braces_, one(Tok::left_brace);
      case '}': return --braces_, one(Tok::right_brace);
      case '[': return ++brackets_, one(Tok::left_bracket);
      case ']': return --brackets_, one(Tok::right_bracket);
      case ',': return one(Tok::comma);
      case '@': return one(Tok::at);
      case '+': return one(Tok::add);
      case '-': return one(Tok::sub);
      case '*': return one(Tok::mul);
      case '/': return one(Tok::div);
      case '%': return one(Tok::mod);
      case '^': return one(Tok::pow);
      case '=':
        if (peek(1) == '=') return two(Tok::eqlc);
        if (peek(1) == '~') return two(Tok::eql_regex);
        return one(Tok::eql);
      case '!':
        if (peek(1) == '=') return two(Tok::neq);
        if (peek(1) == '~') return two(Tok::neq_regex);
        return bad("'!' alone; expected != or !~", 1);
      case '<': return peek(1) == '=' ? two(Tok::lte) : peek(1) == '/' ? two(Tok::trim_upper) : one(Tok::lss);
      case '>': return peek(1) == '=' ? two(Tok::gte) : peek(1) == '/' ? two(Tok::trim_lower) : one(Tok::gtr);
      case '"':
      case '\'':
      case '`': return string(c);
      default: break;
    }
    if (c == ':' && brackets_ > 0) return one(Tok::colon);
    if (is_digit(c) || (c == '.' && is_digit(peek(1)))) return number();
    if (is_alpha(c) || c == ':') {
      while (is_alpha(peek()) || is_digit(peek()) || (peek() == ':' && brackets_ <= 0)) ++at_;
      return identifier();
    }
    std::size_t size = 1;
    while (at_ + size < text_.size() && (static_cast<unsigned char>(text_[at_ + size]) & 0xC0) == 0x80) ++size;
    return bad(fmt::format("unexpected character '{}'", text_.substr(at_, size)), size);
  }

  bool identifier() {
    const auto word = text_.substr(begin_, at_ - begin_);
    // inf and nan are numbers everywhere but as label names.
    if (braces_ == 0 && (word.size() == 3)) {
      std::string lower(word);
      std::ranges::transform(lower, lower.begin(), [](char c) { return static_cast<char>(c | 0x20); });
      if (lower == "inf") return push(Tok::number).number = std::numeric_limits<double>::infinity(), true;
      if (lower == "nan") return push(Tok::number).number = std::numeric_limits<double>::quiet_NaN(), true;
    }
    push(Tok::identifier);
    return true;
  }

  // Digits of a number; one underscore may stand between two of them, since Prometheus 3.
  void take_digits(bool (*is)(char)) {
    while (is(peek()) || (peek() == '_' && at_ > begin_ && is(text_[at_ - 1]) && is(peek(1)))) ++at_;
  }
  [[nodiscard]] std::string digits_from(std::size_t at) const {
    std::string digits(text_.substr(at, at_ - at));
    std::erase(digits, '_');
    return digits;
  }

  // Go's rules for whole numbers: 0x10 is 16, 0x_10 as well, 017 is 15; 08 is none in base 8 and so 8.
  bool number() {
    if (peek() == '0' && (peek(1) | 0x20) == 'x') {
      at_ += 2;
      if (peek() == '_') ++at_;
      const auto from = at_;
      take_digits(is_hex);
      std::uint64_t n = 0;
      const auto digits = digits_from(from);
      const auto [end, ec] = std::from_chars(digits.data(), digits.data() + digits.size(), n, 16);
      if (digits.empty() || ec != std::errc{} || is_alpha(peek())) return bad_number();
      push(Tok::number).number = static_cast<double>(n);
      return true;
    }
    take_digits(is_digit);
    const bool whole = at_ > begin_ && peek() != '.';
    if (whole && is_alpha(peek()) && (peek() | 0x20) != 'e') {
      while (is_alpha(peek()) || is_digit(peek())) ++at_;
      const auto word = text_.substr(begin_, at_ - begin_);
      const auto ms = parse_duration_ms(word);
      if (ms == kTooLong) return bad(fmt::format("'{}' is longer than 292 years", word), word.size());
      if (ms < 0)
        return bad(fmt::format("'{}' is neither a number nor a duration; write e.g. 10, 1e6, 5m, 1h30m", word),
                   word.size());
      push(Tok::duration).duration_ms = ms;
      return true;
    }
    if (peek() == '.') {
      ++at_;
      take_digits(is_digit);
    }
    if ((peek() | 0x20) == 'e') {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      if (!is_digit(peek())) return bad_number();
      take_digits(is_digit);
    }
    if (is_alpha(peek()) || is_digit(peek())) return bad_number();
    const auto word = digits_from(begin_);
    double v{};
    const auto [end, ec] = std::from_chars(word.data(), word.data() + word.size(), v);
    if (ec == std::errc::result_out_of_range) v = std::strtod(word.c_str(), nullptr);  // too small is 0
    if (std::isinf(v)) return bad(fmt::format("'{}' is beyond the largest number, 1.8e308", word), at_ - begin_);
    if (word.front() == '0')
      if (const auto octal = parse_int<std::int64_t>(word, 8)) v = static_cast<double>(*octal);
    push(Tok::number).number = v;
    return true;
  }

  bool bad_number() {
    while (is_alpha(peek()) || is_digit(peek()) || peek() == '.') ++at_;
    const auto word = text_.substr(begin_, at_ - begin_);
    return bad(fmt::format("'{}' is not a number", word), word.size());
  }

  // Go's rules: "" and '' know escapes and end on their line, `` is taken as it is.
  bool string(char quote) {
    std::string value;
    ++at_;
    while (true) {
      if (at_ >= text_.size() || (quote != '`' && peek() == '\n'))
        return bad("string without closing quote", at_ - begin_);
      const char c = text_[at_++];
      if (c == quote) break;
      if (c != '\\' || quote == '`') {
        value += c;
        continue;
      }
      const auto escape_at = at_ - 1;
      if (!escape(value, quote)) {
        begin_ = escape_at;
        return bad(fmt::format("unknown escape '{}'; write \\\\ for a backslash", text_.substr(escape_at, 2)), 2);
      }
    }
    push(Tok::string).value = std::move(value);
    return true;
  }

  bool escape(std::string& out, char quote) {
    const char c = peek();
    ++at_;
    switch (c) {
      case 'a': return out += '\a', true;
      case 'b': return out += '\b', true;
      case 'f': return out += '\f', true;
      case 'n': return out += '\n', true;
      case 'r': return out += '\r', true;
      case 't': return out += '\t', true;
      case 'v': return out += '\v', true;
      case '\\': return out += '\\', true;
      case 'x': return code(2, 16, out, true);
      case 'u': return code(4, 16, out, false);
      case 'U': return code(8, 16, out, false);
      default: break;
    }
    if (c >= '0' && c <= '7') return --at_, code(3, 8, out, true);
    if (c == quote) return out += c, true;
    return false;
  }

  bool code(std::size_t digits, int base, std::string& out, bool byte) {
    const auto n =
        at_ + digits <= text_.size() ? parse_int<std::uint32_t>(text_.substr(at_, digits), base) : std::nullopt;
    if (!n || (byte ? *n > 0xFF : *n > 0x10FFFF)) return false;
    at_ += digits;
    if (byte) out += static_cast<char>(*n);
    else append_utf8(out, *n);
    return true;
  }

  Token& push(Tok kind) {
    Token t;
    t.kind = kind;
    t.where = {static_cast<std::uint32_t>(begin_), static_cast<std::uint32_t>(at_)};
    t.text = text_.substr(begin_, at_ - begin_);
    return tokens_.emplace_back(std::move(t));
  }
  bool one(Tok kind) { return ++at_, push(kind), true; }
  bool two(Tok kind) { return at_ += 2, push(kind), true; }
  bool bad(std::string what, std::size_t size) {
    problems_.push_back(
        {{static_cast<std::uint32_t>(begin_), static_cast<std::uint32_t>(begin_ + size)}, std::move(what)});
    begin_ = at_ = text_.size();
    push(Tok::end);
    return false;
  }

  std::string_view text_;
  std::vector<Problem>& problems_;
  std::vector<Token> tokens_;
  std::size_t at_ = 0, begin_ = 0;
  int brackets_ = 0, braces_ = 0;
};

}  // namespace

std::vector<Token> lex(std::string_view text, std::vector<Problem>& problems) { return Lexer(text, problems).run(); }

std::int64_t parse_duration_ms(std::string_view text) {
  std::int64_t total = 0;
  std::size_t unit = 0;  // units come in falling order, each at most once
  bool any = false;
  while (!text.empty()) {
    const auto n = is_digit(text.front()) ? take_u64(text) : std::nullopt;  // no blanks
    if (!n) return -1;
    std::size_t size = 0;
    while (size < text.size() && is_alpha(text[size])) ++size;
    const auto name = text.substr(0, size);
    text.remove_prefix(size);
    while (unit < std::size(kUnits) && kUnits[unit].name != name) ++unit;
    if (unit == std::size(kUnits)) return -1;
    const auto ms = static_cast<std::int64_t>(std::min<std::uint64_t>(*n, kMaxDurationMs));
    // At most a unit more than kMaxDurationMs: the sum of all does not overflow.
    total += std::min(ms, kMaxDurationMs / kUnits[unit].ms + 1) * kUnits[unit].ms;
    ++unit;
    any = true;
  }
  return !any ? -1 : total > kMaxDurationMs ? kTooLong : total;
}

std::string duration_text(std::int64_t ms) {
  if (ms == 0) return "0s";
  std::string out;
  if (ms < 0) out += '-', ms = -ms;
  // Years, weeks and days only where nothing remains below them, as Prometheus does.
  for (std::size_t i = 0; i < std::size(kUnits); ++i) {
    const auto& u = kUnits[i];
    if (i < 2 && ms % u.ms != 0) continue;
    if (const auto n = ms / u.ms; n > 0) {
      out += fmt::format("{}{}", n, u.name);
      ms -= n * u.ms;
    }
  }
  return out;
}

std::string_view describe(Tok tok) {
  switch (tok) {
    case Tok::end: return "the end";
    case Tok::identifier: return "a name";
    case Tok::number: return "a number";
    case Tok::duration: return "a duration";
    case Tok::string: return "a string";
    case Tok::left_paren: return "'('";
    case Tok::right_paren: return "')'";
    case Tok::left_brace: return "'{'";
    case Tok::right_brace: return "'}'";
    case Tok::left_bracket: return "'['";
    case Tok::right_bracket: return "']'";
    case Tok::comma: return "','";
    case Tok::colon: return "':'";
    case Tok::at: return "'@'";
    case Tok::add: return "'+'";
    case Tok::sub: return "'-'";
    case Tok::mul: return "'*'";
    case Tok::div: return "'/'";
    case Tok::mod: return "'%'";
    case Tok::pow: return "'^'";
    case Tok::eql: return "'='";
    case Tok::eqlc: return "'=='";
    case Tok::neq: return "'!='";
    case Tok::lte: return "'<='";
    case Tok::lss: return "'<'";
    case Tok::gte: return "'>='";
    case Tok::gtr: return "'>'";
    case Tok::trim_upper: return "'</'";
    case Tok::trim_lower: return "'>/'";
    case Tok::eql_regex: return "'=~'";
    case Tok::neq_regex: return "'!~'";
  }
  return "?";
}

}  // namespace vitald::promql
