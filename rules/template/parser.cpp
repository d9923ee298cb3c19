// SPDX-License-Identifier: Apache-2.0
#include "rules/template/parser.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <limits>
#include <optional>
#include <utility>

#include "rules/template/functions.h"
#include "rules/template/lexer.h"
#include "rules/template/unicode.h"

namespace vitald::text_template {

std::string to_string(const Node& n) {
  const auto join = [](const std::vector<NodePtr>& items, const char* between) {
    std::string out;
    for (const auto& i : items) {
      if (!out.empty()) out += between;
      out += i->kind == Kind::pipe ? '(' + to_string(*i) + ')' : to_string(*i);
    }
    return out;
  };
  const auto dotted = [&] {
    std::string out;
    for (const auto& name : n.names) out += '.' + name;
    return out;
  };
  const auto branch = [&](const char* word) {
    auto out = fmt::format("{{{{{} {}}}}}{}", word, to_string(*n.pipe), to_string(*n.yes));
    if (n.no) out += "{{else}}" + to_string(*n.no);
    return out + "{{end}}";
  };
  switch (n.kind) {
    case Kind::list: return join(n.items, "");
    case Kind::text: return n.text;
    case Kind::action: return "{{" + to_string(*n.pipe) + "}}";
    case Kind::pipe: {
      std::string out;
      if (!n.variables.empty()) out = join(n.variables, ", ") + (n.assigns ? " = " : " := ");
      return out + join(n.items, " | ");
    }
    case Kind::command: return join(n.items, " ");
    case Kind::identifier: return n.text;
    case Kind::variable: return dotted().substr(1);
    case Kind::field: return dotted();
    case Kind::chain: return join(n.items, "") + dotted();
    case Kind::dot: return ".";
    case Kind::nil: return "nil";
    case Kind::boolean: return *n.constant.as<bool>() ? "true" : "false";
    case Kind::number:
    case Kind::string: return n.source;
    case Kind::if_: return branch("if");
    case Kind::range: return branch("range");
    case Kind::with: return branch("with");
    case Kind::template_:
      return fmt::format("{{{{template {}{}}}}}", quote(n.text), n.pipe ? " " + to_string(*n.pipe) : "");
    case Kind::break_: return "{{break}}";
    case Kind::continue_: return "{{continue}}";
  }
  return {};
}

namespace {

// Go's ParseInt with base 0: signs, 0x, 0o, 0b, a leading 0 for octal, _ between digits.
std::optional<std::int64_t> go_int(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  std::string digits;
  for (const char c : text)
    if (c != '_') digits += c;
  int base = 10;
  std::string_view rest = digits;
  if (rest.size() > 1 && rest[0] == '0') {
    const char c = static_cast<char>(rest[1] | 0x20);
    base = c == 'x' ? 16 : c == 'b' ? 2 : 8;
    rest.remove_prefix(c == 'x' || c == 'b' || c == 'o' ? 2 : 1);
  }
  std::uint64_t v = 0;
  const auto [end, ec] = std::from_chars(rest.data(), rest.data() + rest.size(), v, base);
  if (ec != std::errc() || end != rest.data() + rest.size()) return {};
  constexpr auto kMost = static_cast<std::uint64_t>(std::numeric_limits<std::int64_t>::max());
  if (v > kMost + (negative ? 1 : 0)) return {};
  return static_cast<std::int64_t>(negative ? -v : v);
}

std::optional<double> go_float(std::string_view text) {
  const bool negative = text.starts_with('-');
  if (negative || text.starts_with('+')) text.remove_prefix(1);
  std::string digits;
  for (const char c : text)
    if (c != '_') digits += c;
  double v = 0;
  std::string_view rest = digits;
  const bool hex = rest.starts_with("0x") || rest.starts_with("0X");
  if (hex) rest.remove_prefix(2);
  const auto [end, ec] = std::from_chars(rest.data(), rest.data() + rest.size(), v,
                                         hex ? std::chars_format::hex : std::chars_format::general);
  if (ec != std::errc() || end != rest.data() + rest.size()) return {};
  return negative ? -v : v;
}

class Parser {
 public:
  explicit Parser(std::string text) {
    tree_.text = std::move(text);
    tokens_ = lex(tree_.text);
  }

  Tree run() {
    tree_.root = node(Kind::list, 0);
    while (peek().kind != Tok::end) {
      if (peek().kind == Tok::left && is_keyword(after_space(1), "define")) {
        definition();
        continue;
      }
      auto n = text_or_action();
      if (stop_) fail(fmt::format("unexpected {{{{{}}}}}", std::exchange(stop_, nullptr)));
      if (n) tree_.root->items.push_back(std::move(n));
    }
    return std::move(tree_);
  }

 private:
  static NodePtr node(Kind kind, std::size_t at) {
    auto n = std::make_unique<Node>();
    n->kind = kind;
    n->at = at;
    return n;
  }

  // Tokens: the last one stays when it is reached.
  [[nodiscard]] const Token& token(std::size_t i) const { return tokens_.list[std::min(i, tokens_.list.size() - 1)]; }
  [[nodiscard]] const Token& peek() const { return token(at_); }
  [[nodiscard]] const Token& after_space(std::size_t ahead = 0) const {
    auto i = at_ + ahead;
    while (token(i).kind == Tok::space) ++i;
    return token(i);
  }
  const Token& next() {
    const auto& t = token(at_);
    last_ = &t;
    if (at_ < tokens_.list.size()) ++at_;
    return t;
  }
  const Token& next_word() {
    while (peek().kind == Tok::space) next();
    return next();
  }
  static bool is_keyword(const Token& t, std::string_view word) { return t.kind == Tok::keyword && t.text == word; }

  [[noreturn]] void fail(std::string what, std::string word = {}) const {
    const Token& t = last_ ? *last_ : peek();
    throw ParseFault{std::move(what), t.line, t.at, std::move(word)};
  }
  [[nodiscard]] std::string shown(const Token& t) const {
    switch (t.kind) {
      case Tok::end: return "EOF";
      case Tok::error: return tokens_.error;
      case Tok::keyword:
      case Tok::dot: return fmt::format("<{}>", t.text);
      default: return t.text.size() > 10 ? quote(first_runes(t.text, 10)) + "..." : quote(t.text);
    }
  }
  [[noreturn]] void unexpected(const Token& t, std::string_view context) {
    last_ = &t;
    if (t.kind == Tok::error) fail(tokens_.error);
    fail(fmt::format("unexpected {} in {}", shown(t), context));
  }
  void expect(Tok kind, std::string_view context) {
    const auto& t = next_word();
    if (t.kind != kind) unexpected(t, context);
  }
  void descend() {
    if (++depth_ > kMaxDepth) fail(fmt::format("nested deeper than {} levels", kMaxDepth));
  }

  void add(const std::string& name, NodePtr body) {
    const auto empty = [](const Node& n) {
      return std::ranges::all_of(n.items, [](const NodePtr& i) {
        return i->kind == Kind::text && i->text.find_first_not_of(" \t\r\n") == std::string::npos;
      });
    };
    auto& old = tree_.defined[name];
    if (old && !empty(*old) && !empty(*body))
      fail(fmt::format("template: multiple definition of template {}", quote(name)));
    if (!old || empty(*old)) old = std::move(body);
  }

  void definition() {
    constexpr std::string_view kContext = "define clause";
    next();  // {{
    next_word();
    const auto name = template_name(next_word(), kContext);
    expect(Tok::right, kContext);
    auto vars = std::exchange(vars_, {"$"});
    auto body = list();
    if (stop_ != kEnd) fail(fmt::format("unexpected {{{{{}}}}} in {}", stop_, kContext));
    stop_ = nullptr;
    vars_ = std::move(vars);
    add(name, std::move(body));
  }

  std::string template_name(const Token& t, std::string_view context) {
    std::string name;
    if (t.kind != Tok::string && t.kind != Tok::raw_string) unexpected(t, context);
    if (!unquote(t.text, name)) fail("invalid syntax");
    return name;
  }

  // Up to {{end}} or {{else}}, which is then in stop_.
  NodePtr list() {
    auto out = node(Kind::list, after_space().at);
    while (after_space().kind != Tok::end) {
      auto n = text_or_action();
      if (stop_) return out;
      if (n) out->items.push_back(std::move(n));
    }
    last_ = &after_space();
    fail("unexpected EOF");
  }

  NodePtr text_or_action() {
    const auto& t = next_word();
    if (t.kind == Tok::text) {
      auto n = node(Kind::text, t.at);
      n->text = std::string(t.text);
      return n;
    }
    if (t.kind != Tok::left) unexpected(t, "input");
    return action();
  }

  NodePtr action() {
    const auto& t = next_word();
    if (t.kind == Tok::keyword) {
      if (t.text == "if") return control(Kind::if_, "if");
      if (t.text == "range") return control(Kind::range, "range");
      if (t.text == "with") return control(Kind::with, "with");
      if (t.text == "template") return template_clause();
      if (t.text == "block") return block_clause();
      if (t.text == "break" || t.text == "continue") {
        const bool breaks = t.text == "break";
        const auto at = t.at;
        const std::string name = fmt::format("{{{{{}}}}}", t.text);
        expect(Tok::right, name);
        if (range_depth_ == 0) fail(name + " outside {{range}}");
        return node(breaks ? Kind::break_ : Kind::continue_, at);
      }
      if (t.text == "end") {
        expect(Tok::right, "end");
        stop_ = kEnd;
        return nullptr;
      }
      if (t.text == "else") {
        // {{else if}} is an if in the else, without an end of its own; the word stays for control().
        if (!is_keyword(after_space(), "if") && !is_keyword(after_space(), "with")) expect(Tok::right, "else");
        stop_ = kElse;
        return nullptr;
      }
    }
    --at_;
    auto n = node(Kind::action, after_space().at);
    n->pipe = pipeline("command", Tok::right);
    return n;
  }

  NodePtr control(Kind kind, std::string_view context) {
    descend();
    const auto variables = vars_.size();
    auto n = node(kind, after_space().at);
    n->pipe = pipeline(context, Tok::right);
    range_depth_ += kind == Kind::range;
    n->yes = list();
    range_depth_ -= kind == Kind::range;
    if (std::exchange(stop_, nullptr) == kElse) {
      const auto& t = after_space();
      if (t.kind == Tok::keyword) {  // right behind an else: {{else if}}, {{else with}}
        if (!is_keyword(t, kind == Kind::if_ ? "if" : kind == Kind::with ? "with" : "")) unexpected(t, "input");
        next_word();
        n->no = node(Kind::list, t.at);
        n->no->items.push_back(control(kind, context));
      } else {
        n->no = list();
        if (stop_ != kEnd) fail("expected end; found {{else}}");
        stop_ = nullptr;
      }
    }
    vars_.resize(variables);
    --depth_;
    return n;
  }

  NodePtr template_clause() {
    constexpr std::string_view kContext = "template clause";
    const auto& t = next_word();
    auto n = node(Kind::template_, t.at);
    n->text = template_name(t, kContext);
    if (after_space().kind == Tok::right) next_word();
    else n->pipe = pipeline(kContext, Tok::right);
    return n;
  }

  NodePtr block_clause() {
    constexpr std::string_view kContext = "block clause";
    descend();
    const auto& t = next_word();
    auto n = node(Kind::template_, t.at);
    n->text = template_name(t, kContext);
    n->pipe = pipeline(kContext, Tok::right);
    auto vars = std::exchange(vars_, {"$"});
    const auto ranges = std::exchange(range_depth_, 0);
    auto body = list();
    if (stop_ != kEnd) fail(fmt::format("unexpected {{{{{}}}}} in {}", stop_, kContext));
    stop_ = nullptr;
    vars_ = std::move(vars);
    range_depth_ = ranges;
    add(n->text, std::move(body));
    --depth_;
    return n;
  }

  void declare(Node& pipe, const Token& v) {
    auto n = node(Kind::variable, v.at);
    n->names = {std::string(v.text)};
    pipe.variables.push_back(std::move(n));
    vars_.emplace_back(v.text);
  }

  void declarations(Node& pipe, std::string_view context) {
    while (after_space().kind == Tok::variable) {
      const auto begin = at_;
      const auto& v = next_word();
      const auto& t = after_space();
      if (t.kind == Tok::assign || t.kind == Tok::declare) {
        next_word();
        pipe.assigns = t.kind == Tok::assign;
        return declare(pipe, v);
      }
      if (t.kind != Tok::comma || t.text != ",") {
        at_ = begin;
        return;
      }
      next_word();
      declare(pipe, v);
      if (context != "range" || pipe.variables.size() > 1) fail(fmt::format("too many declarations in {}", context));
      const auto kind = after_space().kind;
      if (kind != Tok::variable && kind != Tok::right && kind != Tok::close)
        fail("range can only initialize variables");
    }
  }

  NodePtr pipeline(std::string_view context, Tok end) {
    descend();
    auto n = node(Kind::pipe, after_space().at);
    declarations(*n, context);
    for (;;) {
      const auto& t = next_word();
      if (t.kind == end) break;
      switch (t.kind) {
        case Tok::boolean:
        case Tok::number:
        case Tok::character:
        case Tok::string:
        case Tok::raw_string:
        case Tok::identifier:
        case Tok::field:
        case Tok::variable:
        case Tok::dot:
        case Tok::open: break;
        default:
          if (!is_keyword(t, "nil")) unexpected(t, context);
      }
      --at_;
      n->items.push_back(command());
    }
    if (n->items.empty()) fail(fmt::format("missing value for {}", context));
    for (std::size_t i = 1; i < n->items.size(); ++i) {
      const auto kind = n->items[i]->items[0]->kind;
      if (kind == Kind::boolean || kind == Kind::dot || kind == Kind::nil || kind == Kind::number ||
          kind == Kind::string)
        fail(fmt::format("non executable command in pipeline stage {}", i + 1));
    }
    --depth_;
    return n;
  }

  NodePtr command() {
    auto n = node(Kind::command, after_space().at);
    for (;;) {
      while (peek().kind == Tok::space) next();
      if (auto o = operand()) n->items.push_back(std::move(o));
      const auto& t = next();
      if (t.kind == Tok::space) continue;
      if (t.kind == Tok::right || t.kind == Tok::close) --at_;
      else if (t.kind != Tok::pipe) unexpected(t, "operand");
      break;
    }
    if (n->items.empty()) fail("empty command");
    return n;
  }

  NodePtr operand() {
    auto n = term();
    if (!n || peek().kind != Tok::field) return n;
    const auto at = peek().at;
    std::vector<std::string> names;
    while (peek().kind == Tok::field) names.emplace_back(next().text.substr(1));
    switch (n->kind) {
      case Kind::field:
      case Kind::variable:
        n->names.insert(n->names.end(), names.begin(), names.end());
        n->at = at;
        return n;
      case Kind::boolean:
      case Kind::string:
      case Kind::number:
      case Kind::nil:
      case Kind::dot: fail(fmt::format("unexpected . after term {}", quote(to_string(*n))));
      default: break;
    }
    auto chain = node(Kind::chain, at);
    chain->items.push_back(std::move(n));
    chain->names = std::move(names);
    return chain;
  }

  NodePtr term() {
    const auto& t = next_word();
    switch (t.kind) {
      case Tok::identifier: {
        if (!find_function(t.text)) fail(fmt::format("function {} not defined", quote(t.text)), std::string(t.text));
        auto n = node(Kind::identifier, t.at);
        n->text = std::string(t.text);
        return n;
      }
      case Tok::dot: return node(Kind::dot, t.at);
      case Tok::variable: {
        if (std::ranges::find(vars_, t.text) == vars_.end())
          fail(fmt::format("undefined variable {}", quote(t.text)), std::string(t.text));
        auto n = node(Kind::variable, t.at);
        n->names = {std::string(t.text)};
        return n;
      }
      case Tok::field: {
        auto n = node(Kind::field, t.at);
        n->names = {std::string(t.text.substr(1))};
        return n;
      }
      case Tok::boolean: {
        auto n = node(Kind::boolean, t.at);
        n->constant = t.text == "true";
        return n;
      }
      case Tok::character:
      case Tok::number: return number(t);
      case Tok::open: return pipeline("parenthesized pipeline", Tok::close);
      case Tok::string:
      case Tok::raw_string: {
        auto n = node(Kind::string, t.at);
        n->source = std::string(t.text);
        if (!unquote(t.text, n->text)) fail("invalid syntax");
        return n;
      }
      default:
        if (is_keyword(t, "nil")) return node(Kind::nil, t.at);
        --at_;
        return nullptr;
    }
  }

  NodePtr number(const Token& t) {
    auto n = node(Kind::number, t.at);
    n->source = std::string(t.text);
    if (t.kind == Tok::character) {
      std::string c;
      if (!unquote(t.text, c)) fail(fmt::format("malformed character constant: {}", t.text));
      n->constant = Integer{static_cast<std::int64_t>(first_rune(c).rune)};
      return n;
    }
    const auto i = go_int(t.text);
    const bool hex = t.text.find_first_of("xX") != t.text.npos;
    const bool looks_like_float = t.text.find_first_of(hex ? ".pP" : ".eEpP") != t.text.npos;
    if (i && !looks_like_float) {
      n->constant = Integer{*i};
      return n;
    }
    const auto f = go_float(t.text);
    if (!f) fail(fmt::format("illegal number syntax: {}", quote(t.text)));
    if (!looks_like_float) fail(fmt::format("integer overflow: {}", quote(t.text)));
    n->constant = *f;
    return n;
  }

  static constexpr const char *kEnd = "end", *kElse = "else";

  Tree tree_;
  Tokens tokens_;
  std::size_t at_ = 0, depth_ = 0;
  const Token* last_ = nullptr;
  const char* stop_ = nullptr;
  int range_depth_ = 0;
  std::vector<std::string> vars_{"$"};
};

}  // namespace

Tree parse(std::string text) { return Parser(std::move(text)).run(); }

}  // namespace vitald::text_template
