// SPDX-License-Identifier: Apache-2.0
#include "rules/template/lexer.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

#include "rules/template/unicode.h"

namespace vitald::text_template {

namespace {

constexpr std::array<std::string_view, 11> kKeywords = {"if",    "else",     "end",   "range",    "with", "define",
                                                        "block", "template", "break", "continue", "nil"};

bool is_space(char c) { return c == ' ' || c == '\t' || c == '\r' || c == '\n'; }

struct Stop {};

class Lexer {
 public:
  explicit Lexer(std::string_view text) : text_(text) {}

  Tokens run() {
    try {
      while (outside()) inside();
      add(Tok::end, at_);
    } catch (const Stop&) {
    }
    return std::move(out_);
  }

 private:
  [[nodiscard]] char peek(std::size_t ahead = 0) const {
    return at_ + ahead < text_.size() ? text_[at_ + ahead] : '\0';
  }
  [[nodiscard]] bool at_end() const { return at_ >= text_.size(); }
  [[nodiscard]] std::string_view rest() const { return text_.substr(std::min(at_, text_.size())); }

  void add(Tok kind, std::size_t from) {
    out_.list.push_back({kind, text_.substr(from, at_ - from), from, line_});
    line_ += static_cast<int>(std::ranges::count(out_.list.back().text, '\n'));
  }
  [[noreturn]] void fail(std::string what) {
    out_.error = std::move(what);
    out_.list.push_back({Tok::error, {}, std::min(at_, text_.size()), line_});
    throw Stop{};
  }
  void skip_space() {
    while (!at_end() && is_space(text_[at_])) line_ += text_[at_++] == '\n';
  }

  // Text up to the next action. False at the end.
  bool outside() {
    for (;;) {
      const auto from = at_;
      const auto brace = std::min(text_.find("{{", at_), text_.size());
      at_ = brace;
      const bool trims = brace + 3 < text_.size() && text_[brace + 2] == '-' && is_space(text_[brace + 3]);
      auto stop = brace;
      if (trims)
        while (stop > from && is_space(text_[stop - 1])) --stop;
      if (stop > from) {
        at_ = stop;
        add(Tok::text, from);
      }
      line_ += static_cast<int>(std::ranges::count(text_.substr(stop, brace - stop), '\n'));
      at_ = brace;
      if (at_end()) return false;
      const std::size_t marker = trims ? 2 : 0;
      if (!text_.substr(at_ + 2 + marker).starts_with("/*")) {
        at_ += 2;
        add(Tok::left, brace);
        at_ += marker;
        depth_ = 0;
        return true;
      }
      comment(at_ + 2 + marker);
    }
  }

  void comment(std::size_t from) {
    const auto stop = text_.find("*/", from + 2);
    if (stop == text_.npos) fail("unclosed comment");
    const auto begin = at_;
    at_ = stop + 2;
    const bool trims = trim_marker();
    if (!trims && !rest().starts_with("}}")) fail("comment ends before closing delimiter");
    at_ += trims ? 4 : 2;
    line_ += static_cast<int>(std::ranges::count(text_.substr(begin, at_ - begin), '\n'));
    if (trims) skip_space();
  }

  // " -}}"
  [[nodiscard]] bool trim_marker() const { return is_space(peek()) && rest().substr(1).starts_with("-}}"); }

  [[nodiscard]] bool at_terminator() const {
    return at_end() || is_space(peek()) || std::string_view(".,|:)(}").find(peek()) != std::string_view::npos;
  }
  [[nodiscard]] std::string shown() const { return unicode_name(first_rune(rest()), true); }

  void inside() {
    for (;;) {
      const bool trims = trim_marker();
      if (trims || rest().starts_with("}}")) {
        if (depth_ > 0) fail("unclosed left paren");
        if (trims) at_ += 2;
        const auto from = at_;
        at_ += 2;
        add(Tok::right, from);
        if (trims) skip_space();
        return;
      }
      if (at_end()) fail("unclosed action");
      token();
    }
  }

  void token() {
    const auto from = at_;
    const char c = text_[at_];
    const auto one = [&](Tok kind) { ++at_, add(kind, from); };
    if (is_space(c)) {
      while (is_space(peek()) && !trim_marker()) ++at_;
      return add(Tok::space, from);
    }
    switch (c) {
      case '=': return one(Tok::assign);
      case ':':
        if (peek(1) != '=') fail("expected :=");
        at_ += 2;
        return add(Tok::declare, from);
      case '|': return one(Tok::pipe);
      case '(': ++depth_; return one(Tok::open);
      case ')':
        one(Tok::close);
        if (--depth_ < 0) fail("unexpected right paren U+0029 ')'");
        return;
      case '"': return quoted('"', Tok::string, "unterminated quoted string");
      case '\'': return quoted('\'', Tok::character, "unterminated character constant");
      case '`': {
        const auto stop = text_.find('`', at_ + 1);
        if (stop == text_.npos) fail("unterminated raw quoted string");
        at_ = stop + 1;
        return add(Tok::raw_string, from);
      }
      case '$': return word(Tok::variable, 1);
      case '.':
        if (at_ + 1 < text_.size() && (peek(1) < '0' || peek(1) > '9')) return word(Tok::field, 1);
        return number();
      default: break;
    }
    if (c == '+' || c == '-' || (c >= '0' && c <= '9')) return number();
    if (is_word(first_rune(rest()).rune)) return word(Tok::identifier, 0);
    if (c > ' ' && c < 127) return one(Tok::comma);
    fail("unrecognized character in action: " + shown());
  }

  void quoted(char quote, Tok kind, const char* unterminated) {
    const auto from = at_++;
    while (!at_end() && text_[at_] != quote && text_[at_] != '\n') at_ += text_[at_] == '\\' && peek(1) != '\n' ? 2 : 1;
    if (at_end() || text_[at_] != quote) fail(unterminated);
    ++at_;
    add(kind, from);
  }

  void word(Tok kind, std::size_t prefix) {
    const auto from = at_;
    at_ += prefix;
    while (!at_end()) {
      const auto r = first_rune(rest());
      if (!is_word(r.rune)) break;
      at_ += r.size;
    }
    if (!at_terminator()) fail("bad character " + shown());
    const auto text = text_.substr(from, at_ - from);
    if (kind == Tok::field && text.size() == 1) kind = Tok::dot;
    if (kind == Tok::identifier) {
      if (std::ranges::find(kKeywords, text) != kKeywords.end()) kind = Tok::keyword;
      else if (text == "true" || text == "false") kind = Tok::boolean;
    }
    add(kind, from);
  }

  void number() {
    const auto from = at_;
    if (peek() == '+' || peek() == '-') ++at_;
    const auto run = [&](std::string_view digits) {
      while (!at_end() && digits.find(peek()) != digits.npos) ++at_;
    };
    std::string_view digits = "0123456789_";
    bool hex = false;
    if (peek() == '0' && std::string_view("xXoObB").find(peek(1)) != std::string_view::npos && peek(1) != '\0') {
      hex = peek(1) == 'x' || peek(1) == 'X';
      digits = hex ? "0123456789abcdefABCDEF_" : peek(1) == 'o' || peek(1) == 'O' ? "01234567_" : "01_";
      at_ += 2;
    }
    run(digits);
    if (peek() == '.') {
      ++at_;
      run(digits);
    }
    const auto exponent = std::string_view(hex ? "pP" : "eE");
    if (!at_end() && exponent.find(peek()) != exponent.npos) {
      ++at_;
      if (peek() == '+' || peek() == '-') ++at_;
      run("0123456789_");
    }
    if (!at_end()) {
      const auto next = first_rune(rest());
      if (is_word(next.rune)) {
        at_ += next.size;
        fail(fmt::format("bad number syntax: \"{}\"", text_.substr(from, at_ - from)));
      }
    }
    add(Tok::number, from);
  }

  std::string_view text_;
  std::size_t at_ = 0;
  int line_ = 1, depth_ = 0;
  Tokens out_;
};

}  // namespace

Tokens lex(std::string_view text) { return Lexer(text).run(); }

}  // namespace vitald::text_template
