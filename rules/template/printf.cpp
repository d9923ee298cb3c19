// SPDX-License-Identifier: Apache-2.0
#include "rules/template/printf.h"

#include <fmt/format.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstring>
#include <optional>
#include <utility>

#include "rules/template/humanize.h"
#include "rules/template/unicode.h"

namespace vitald::text_template {

namespace {

constexpr std::string_view kLower = "0123456789abcdef", kUpper = "0123456789ABCDEF";

// Without sign; `precision` < 0: the shortest that reads back.
std::string float_digits(double v, char verb, int precision) {
  char buf[512];  // 309 digits before the point, and as many behind it as asked for are cut below
  const auto shortest = [&](std::chars_format f) {
    return std::string(buf, std::to_chars(buf, buf + sizeof buf, v, f).ptr);
  };
  switch (verb) {
    case 'e': return precision < 0 ? shortest(std::chars_format::scientific) : fmt::format("{:.{}e}", v, precision);
    case 'f': return precision < 0 ? shortest(std::chars_format::fixed) : fmt::format("{:.{}f}", v, precision);
    case 'g': {
      if (precision >= 0) return fmt::format("{:.{}g}", v, std::max(precision, 1));
      // Six digits decide, however many the shortest text has.
      const bool exponent = v != 0 && (v < 1e-4 || v >= 1e6);
      return shortest(exponent ? std::chars_format::scientific : std::chars_format::fixed);
    }
    case 'x': {
      auto text = std::string(buf, (precision < 0 ? std::to_chars(buf, buf + sizeof buf, v, std::chars_format::hex)
                                                  : std::to_chars(buf, buf + sizeof buf, v, std::chars_format::hex,
                                                                  std::min(precision, 100)))
                                       .ptr);
      const auto p = text.find('p') + 2;  // an exponent has two digits
      if (text.size() - p < 2) text.insert(p, 1, '0');
      return "0x" + text;
    }
    case 'b': {
      std::uint64_t bits = 0;
      std::memcpy(&bits, &v, sizeof bits);
      auto exp = static_cast<int>(bits >> 52 & 0x7FF);
      auto mantissa = bits & ((1ULL << 52) - 1);
      if (exp == 0) ++exp;
      else mantissa |= 1ULL << 52;
      return fmt::format("{}p{:+d}", mantissa, exp - 1075);
    }
    default: return {};
  }
}

class Printer {
 public:
  std::string out;

  void printf(std::string_view format, std::span<const Value> args);
  void print(const Value& v, char32_t verb, int depth = 0);

  struct Flags {
    bool minus = false, plus = false, sharp = false, space = false, zero = false;
    bool plus_v = false, sharp_v = false;
    std::optional<std::size_t> width, precision;
  } flags;

 private:
  void fill(std::size_t count, bool zeros) {
    check_size(out.size() + count);
    out.append(count, zeros ? '0' : ' ');
  }
  void pad(std::string_view text) {
    const auto width = flags.width.value_or(0), have = flags.width ? count_runes(text) : 0;
    const auto missing = width > have ? width - have : 0;
    if (!flags.minus) fill(missing, flags.zero);
    out += text;
    if (flags.minus) fill(missing, false);
    check_size(out.size());
  }
  void pad_blank(std::string_view text) {  // zeros do not stand before words
    const bool zero = std::exchange(flags.zero, false);
    pad(text);
    flags.zero = zero;
  }
  [[nodiscard]] std::string_view cut(std::string_view text) const {
    return flags.precision ? first_runes(text, *flags.precision) : text;
  }

  void bad(const Value& v, char32_t verb);
  void integer(std::int64_t v, bool is_signed, char32_t verb, const Value& whole);
  void digits(std::uint64_t magnitude, bool negative, unsigned base, char32_t verb, bool upper);
  void floating(double v, char verb, int precision);
  void text(const std::string& v, char32_t verb, const Value& whole);
  void hex(std::string_view v, bool upper);
  template <class Map, class Show>
  void map(const Map& m, std::string_view type, Show show, char32_t verb, int depth);
};

void Printer::bad(const Value& v, char32_t verb) {
  out += "%!";
  append_rune(out, verb);
  out += '(';
  if (v.nil()) {
    out += "<nil>";
  } else {
    out += v.type();
    out += '=';
    print(v, 'v');
  }
  out += ')';
}

void Printer::digits(std::uint64_t magnitude, bool negative, unsigned base, char32_t verb, bool upper) {
  std::size_t least = 0;
  if (flags.precision) {
    least = *flags.precision;
    if (least == 0 && magnitude == 0) return fill(flags.width.value_or(0), false);
  } else if (flags.zero && flags.width) {
    least = *flags.width;
    if (least > 0 && (negative || flags.plus || flags.space)) --least;
  }
  check_size(out.size() + least);
  std::string text;
  do {
    text += (upper ? kUpper : kLower)[magnitude % base];
    magnitude /= base;
  } while (magnitude > 0);
  while (text.size() < least) text += '0';
  if (flags.sharp) {
    if (base == 2) text += "b0";
    else if (base == 8 && text.back() != '0') text += '0';
    else if (base == 16) text += upper ? "X0" : "x0";
  }
  if (verb == 'O') text += "o0";
  if (negative) text += '-';
  else if (flags.plus) text += '+';
  else if (flags.space) text += ' ';
  std::ranges::reverse(text);
  pad_blank(text);
}

void Printer::integer(std::int64_t v, bool is_signed, char32_t verb, const Value& whole) {
  const bool negative = is_signed && v < 0;
  const auto magnitude = negative ? -static_cast<std::uint64_t>(v) : static_cast<std::uint64_t>(v);
  const auto rune = v < 0 || v > 0x10FFFF ? char32_t{0xFFFD} : static_cast<char32_t>(v);
  switch (verb) {
    case 'v':
      if (flags.sharp_v && !is_signed) {
        flags.sharp = true;
        return digits(magnitude, negative, 16, 'v', false);
      }
      return digits(magnitude, negative, 10, verb, false);
    case 'd': return digits(magnitude, negative, 10, verb, false);
    case 'b': return digits(magnitude, negative, 2, verb, false);
    case 'o':
    case 'O': return digits(magnitude, negative, 8, verb, false);
    case 'x': return digits(magnitude, negative, 16, verb, false);
    case 'X': return digits(magnitude, negative, 16, verb, true);
    case 'c': {
      std::string c;
      append_rune(c, rune);
      return pad(c);
    }
    case 'q': return pad(quote_rune(rune, flags.plus));
    case 'U': {
      const auto least = static_cast<int>(std::clamp<std::size_t>(flags.precision.value_or(4), 4, 100));
      auto name = fmt::format("U+{:0{}X}", static_cast<std::uint64_t>(v), least);
      if (flags.sharp && v >= 0 && v <= 0x10FFFF && is_print(rune)) {
        name += " '";
        append_rune(name, rune);
        name += '\'';
      }
      return pad_blank(name);
    }
    default: return bad(whole, verb);
  }
}

void Printer::floating(double v, char verb, int precision) {
  if (flags.precision) precision = static_cast<int>(std::min<std::size_t>(*flags.precision, kMaxOutput));
  const bool negative = std::signbit(v) && !std::isnan(v);
  std::string sign = negative ? "-" : flags.space && !flags.plus ? " " : "+";
  if (!std::isfinite(v)) {
    const bool plain = std::isnan(v) && !flags.space && !flags.plus;
    return pad_blank((plain ? "" : sign) + (std::isnan(v) ? "NaN" : "Inf"));
  }
  check_size(static_cast<std::size_t>(std::max(precision, 0)));
  const bool upper = verb == 'E' || verb == 'G' || verb == 'X';
  const auto lower = upper ? static_cast<char>(verb + ('a' - 'A')) : verb;
  auto text = float_digits(std::abs(v), lower, precision);
  if (flags.sharp && lower != 'b') {
    // A point always, and for %g all digits; the exponent is put back behind them.
    int wanted = lower == 'g' || lower == 'x' ? (precision < 0 ? 6 : precision) : 0;
    const auto tail_at = text.find_first_of(lower == 'x' ? "p" : "e");
    auto tail = tail_at == text.npos ? std::string() : text.substr(tail_at);
    text = text.substr(0, tail_at);
    bool point = false, nonzero = false;
    for (const char c : text) {
      if (c == '.') {
        point = true;
        continue;
      }
      nonzero |= c != '0';
      wanted -= nonzero;
    }
    if (!point) {
      if (text == "0") --wanted;
      text += '.';
    }
    if (wanted > 0) text.append(static_cast<std::size_t>(wanted), '0');
    text += tail;
  }
  if (upper)
    for (auto& c : text)
      if (c >= 'a' && c <= 'z') c = static_cast<char>(c - 'a' + 'A');
  if (!flags.plus && sign == "+") return pad(text);
  if (flags.zero && flags.width && *flags.width > text.size() + 1) {
    out += sign;
    fill(*flags.width - text.size() - 1, true);
    out += text;
    return;
  }
  pad(sign + text);
}

void Printer::hex(std::string_view v, bool upper) {
  if (flags.precision) v = v.substr(0, *flags.precision);
  std::string text;
  const std::string prefix = upper ? "0X" : "0x";
  if (flags.sharp && !v.empty()) text = prefix;
  for (std::size_t i = 0; i < v.size(); ++i) {
    if (flags.space && i > 0) text += flags.sharp ? ' ' + prefix : " ";
    const auto c = static_cast<unsigned char>(v[i]);
    const auto& letters = upper ? kUpper : kLower;
    text += {letters[c >> 4], letters[c & 15]};
  }
  pad(text);
}

void Printer::text(const std::string& v, char32_t verb, const Value& whole) {
  const auto quoted = [&] {
    const auto s = cut(v);
    const bool backquotes = flags.sharp && s.find('`') == s.npos && [&] {
      for (auto rest = s; !rest.empty();) {
        const auto r = first_rune(rest);
        if (!r.valid || r.rune == 0xFEFF || r.rune == 0x7F || (r.rune < ' ' && r.rune != '\t')) return false;
        rest.remove_prefix(r.size);
      }
      return true;
    }();
    pad(backquotes ? '`' + std::string(s) + '`' : quote(s, flags.plus));
  };
  switch (verb) {
    case 'v':
      if (flags.sharp_v) return quoted();
      return pad(cut(v));
    case 's': return pad(cut(v));
    case 'x': return hex(v, false);
    case 'X': return hex(v, true);
    case 'q': return quoted();
    default: return bad(whole, verb);
  }
}

template <class Map, class Show>
void Printer::map(const Map& m, std::string_view type, Show show, char32_t verb, int depth) {
  if (flags.sharp_v) (out += type) += '{';
  else out += "map[";
  bool first = true;
  for (const auto& [key, value] : m) {
    if (!std::exchange(first, false)) out += flags.sharp_v ? ", " : " ";
    text(key, verb, Value(key));
    out += ':';
    show(value, depth + 1);
  }
  out += flags.sharp_v ? '}' : ']';
}

void Printer::print(const Value& v, char32_t verb, int depth) {
  check_size(out.size());
  if (v.nil()) {
    if (verb == 'v' || verb == 'T') return pad("<nil>");
    if (depth > 0 && flags.sharp_v) return pad("interface {}(nil)");
    return bad(v, verb);
  }
  if (verb == 'T') return text(std::string(v.type()), 's', v);
  // What has a String() method of its own shows through it.
  const auto named = [&](const std::string& shown, std::int64_t number) {
    if (std::u32string_view(U"vsxXq").find(verb) == std::u32string_view::npos) return integer(number, true, verb, v);
    text(shown, verb, v);
  };
  if (const auto* b = v.as<bool>()) {
    if (verb == 't' || verb == 'v') return pad(*b ? "true" : "false");
    return bad(v, verb);
  }
  if (const auto* i = v.as<Integer>()) return integer(i->value, i->type == Integer::Type::int_, verb, v);
  if (const auto* d = v.as<double>()) {
    switch (verb) {
      case 'v': return floating(*d, 'g', -1);
      case 'b':
      case 'g':
      case 'G':
      case 'x':
      case 'X': return floating(*d, static_cast<char>(verb), -1);
      case 'f':
      case 'e':
      case 'E': return floating(*d, static_cast<char>(verb), 6);
      case 'F': return floating(*d, 'f', 6);
      default: return bad(v, verb);
    }
  }
  if (const auto* s = v.as<std::string>()) return text(*s, verb, v);
  const auto show_text = [&](const std::string& s, int) { text(s, verb, Value(s)); };
  if (const auto* m = v.as<std::shared_ptr<const LabelMap>>()) return map(**m, v.type(), show_text, verb, depth);
  if (const auto* m = v.as<std::shared_ptr<const ValueMap>>())
    return map(
        **m, v.type(), [&](const Value& x, int d) { print(x, verb, d); }, verb, depth);
  if (const auto* list = v.as<std::shared_ptr<const Samples>>()) {
    // Go shows addresses here; what they hold says more.
    out += '[';
    for (std::size_t i = 0; i < (*list)->size(); ++i) {
      if (i > 0) out += ' ';
      print((**list)[i], verb, depth + 1);
    }
    out += ']';
    return;
  }
  const auto fields = [&](std::string_view type, std::initializer_list<std::pair<std::string_view, Value>> all) {
    if (flags.sharp_v) out += type;
    out += '{';
    bool first = true;
    for (const auto& [name, value] : all) {
      if (!std::exchange(first, false)) out += flags.sharp_v ? ", " : " ";
      if (flags.plus_v || flags.sharp_v) (out += name) += ':';
      print(value, verb, depth + 1);
    }
    out += '}';
  };
  if (const auto* s = v.as<SamplePtr>()) {
    out += '&';
    return fields("template.sample",
                  {{"Labels", std::make_shared<const LabelMap>((*s)->labels)}, {"Value", (*s)->value}});
  }
  if (const auto* d = v.as<std::shared_ptr<const Data>>())
    return fields(v.type(), {{"Labels", (*d)->labels},
                             {"ExternalLabels", (*d)->external_labels},
                             {"ExternalURL", (*d)->external_url},
                             {"Value", (*d)->value}});
  if (const auto* t = v.as<Time>()) return named(to_string(*t), t->seconds);
  if (const auto* d = v.as<Duration>()) return named(to_string(*d), d->nanos);
  if (const auto* n = v.as<Named>()) return named(std::string(n->name), n->value);
}

void Printer::printf(std::string_view format, std::span<const Value> args) {
  std::size_t arg = 0;
  bool reordered = false;
  while (!format.empty()) {
    const auto percent = std::min(format.find('%'), format.size());
    out += format.substr(0, percent);
    check_size(out.size());
    if (percent == format.size()) break;
    format.remove_prefix(percent + 1);

    flags = {};
    for (bool more = true; more && !format.empty();) {
      switch (format[0]) {
        case '#': flags.sharp = true; break;
        case '0': flags.zero = !flags.minus; break;
        case '+': flags.plus = true; break;
        case '-': flags.minus = true, flags.zero = false; break;
        case ' ': flags.space = true; break;
        default: more = false; continue;
      }
      format.remove_prefix(1);
    }
    bool good_index = true, after_index = false;
    const auto index = [&] {  // [3]
      if (!format.starts_with('[')) return;
      reordered = true;
      const auto close = format.find(']');
      std::size_t n = 0;
      const auto inside = format.substr(1, close == format.npos ? 0 : close - 1);
      const auto [end, ec] = std::from_chars(inside.data(), inside.data() + inside.size(), n);
      const bool good = close != format.npos && ec == std::errc() && end == inside.data() + inside.size() && n >= 1 &&
                        n <= args.size();
      format.remove_prefix(close == format.npos ? 1 : close + 1);
      if (good) arg = n - 1;
      good_index = good;
      after_index = close != format.npos;
    };
    constexpr std::int64_t kMost = 1'000'000;
    const auto from_arg = [&]() -> std::optional<std::int64_t> {
      const Integer* i = arg < args.size() ? args[arg].as<Integer>() : nullptr;
      if (arg < args.size()) ++arg;
      if (!i || i->value > kMost || i->value < -kMost) return {};
      return i->value;
    };
    const auto number = [&]() -> std::optional<std::size_t> {
      std::size_t n = 0, i = 0;
      while (i < format.size() && format[i] >= '0' && format[i] <= '9') {
        n = n * 10 + static_cast<std::size_t>(format[i++] - '0');
        if (n > static_cast<std::size_t>(kMost)) return {};
      }
      format.remove_prefix(i);
      if (i == 0) return {};
      return n;
    };
    index();
    if (format.starts_with('*')) {
      format.remove_prefix(1);
      const auto w = from_arg();
      if (!w) out += "%!(BADWIDTH)";
      else flags.width = static_cast<std::size_t>(std::abs(*w));
      if (w && *w < 0) flags.minus = true, flags.zero = false;
      after_index = false;
    } else {
      flags.width = number();
      if (after_index && flags.width) good_index = false;
    }
    if (format.starts_with('.')) {
      format.remove_prefix(1);
      if (after_index) good_index = false;
      index();
      if (format.starts_with('*')) {
        format.remove_prefix(1);
        const auto p = from_arg();
        if (!p) out += "%!(BADPREC)";
        else if (*p >= 0) flags.precision = static_cast<std::size_t>(*p);
        after_index = false;
      } else {
        flags.precision = number();
        if (!flags.precision) flags.precision = 0;
      }
    }
    if (!after_index) index();
    if (format.empty()) {
      out += "%!(NOVERB)";
      break;
    }
    const auto verb = first_rune(format);
    format.remove_prefix(verb.size);
    const auto complain = [&](const char* what) {
      out += "%!";
      append_rune(out, verb.rune);
      out += what;
    };
    if (verb.rune == '%') out += '%';
    else if (!good_index) complain("(BADINDEX)");
    else if (arg >= args.size()) complain("(MISSING)");
    else {
      if (verb.rune == 'v') {
        flags.sharp_v = std::exchange(flags.sharp, false);
        flags.plus_v = std::exchange(flags.plus, false);
      }
      print(args[arg++], verb.rune);
    }
  }
  if (!reordered && arg < args.size()) {
    flags = {};
    out += "%!(EXTRA ";
    for (std::size_t i = arg; i < args.size(); ++i) {
      if (i > arg) out += ", ";
      if (args[i].nil()) {
        out += "<nil>";
        continue;
      }
      (out += args[i].type()) += '=';
      print(args[i], 'v');
    }
    out += ')';
  }
  check_size(out.size());
}

std::string joined(std::span<const Value> args, bool always) {
  Printer p;
  for (std::size_t i = 0; i < args.size(); ++i) {
    const auto is_text = [&](std::size_t k) { return args[k].as<std::string>() != nullptr; };
    if (i > 0 && (always || (!is_text(i - 1) && !is_text(i)))) p.out += ' ';
    p.print(args[i], 'v');
  }
  check_size(p.out.size());
  return std::move(p.out);
}

}  // namespace

std::string go_printf(std::string_view format, std::span<const Value> args) {
  Printer p;
  p.printf(format, args);
  return std::move(p.out);
}
std::string go_print(std::span<const Value> args) { return joined(args, false); }
std::string go_println(std::span<const Value> args) { return joined(args, true) + '\n'; }
std::string go_text(const Value& v) { return joined({&v, 1}, false); }

std::string go_float(double v) { return go_text(v); }

}  // namespace vitald::text_template
