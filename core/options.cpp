// SPDX-License-Identifier: Apache-2.0
#include "core/options.h"

#include "core/check.h"
#include "core/text/scan.h"

namespace vitald {

void Options::declare(std::span<const FlagSpec> flags) {
  for (const auto& spec : flags) {
    Entry e{spec, {}, false};
    if (spec.type != FlagType::list || !spec.fallback.empty()) e.values.emplace_back(spec.fallback);
    entries_.emplace(std::string(spec.name), std::move(e));
  }
}

void Options::set(std::string_view name, std::string value) {
  auto& e = const_cast<Entry&>(entry(name));
  e.values.clear();
  e.values.push_back(std::move(value));
  e.given = true;
}

void Options::append(std::string_view name, std::string value) {
  auto& e = const_cast<Entry&>(entry(name));
  if (!e.given) e.values.clear();
  e.values.push_back(std::move(value));
  e.given = true;
}

const Options::Entry& Options::entry(std::string_view name) const {
  const auto it = entries_.find(name);
  if (it == entries_.end()) check(false, ("no flag '" + std::string(name) + "' is declared").c_str());
  return it->second;
}

std::string_view Options::text(std::string_view name) const {
  const auto& values = entry(name).values;
  return values.empty() ? std::string_view{} : std::string_view(values.back());
}
bool Options::flag(std::string_view name) const { return text(name) == "true"; }
std::int64_t Options::number(std::string_view name) const { return parse_i64(text(name)).value_or(0); }
std::int64_t Options::duration_ns(std::string_view name) const { return parse_duration_ns(text(name)).value_or(0); }
std::vector<std::string> Options::list(std::string_view name) const { return entry(name).values; }
bool Options::given(std::string_view name) const { return entry(name).given; }
const FlagSpec* Options::spec(std::string_view name) const {
  const auto it = entries_.find(name);
  return it == entries_.end() ? nullptr : &it->second.spec;
}

std::optional<std::int64_t> parse_duration_ns(std::string_view text) {
  struct Unit {
    std::string_view name;
    std::int64_t ns;
  };
  static constexpr std::int64_t kSecond = 1'000'000'000;
  static constexpr Unit kUnits[] = {{"ms", 1'000'000},
                                    {"us", 1'000},
                                    {"ns", 1},
                                    {"s", kSecond},
                                    {"m", 60 * kSecond},
                                    {"h", 3600 * kSecond},
                                    {"d", 86400 * kSecond},
                                    {"w", 7 * 86400 * kSecond},
                                    {"y", 365 * 86400 * kSecond}};
  if (text == "0") return 0;
  if (text.empty()) return std::nullopt;
  std::int64_t total = 0;
  while (!text.empty()) {
    const char first = text.front();
    if (first < '0' || first > '9') return std::nullopt;
    const auto n = take_u64(text);
    if (!n || *n > static_cast<std::uint64_t>(INT64_MAX)) return std::nullopt;
    std::string_view fraction;
    if (take_prefix(text, ".")) {
      fraction = text.substr(0, text.find_first_not_of("0123456789"));
      if (fraction.empty()) return std::nullopt;
      text.remove_prefix(fraction.size());
    }
    const Unit* unit = nullptr;
    for (const auto& u : kUnits)
      if (take_prefix(text, u.name)) {
        unit = &u;
        break;
      }
    std::int64_t part{};
    if (!unit || __builtin_mul_overflow(static_cast<std::int64_t>(*n), unit->ns, &part) ||
        __builtin_add_overflow(total, part, &total))
      return std::nullopt;
    std::int64_t part_of_unit = unit->ns;
    for (const char digit : fraction) {  // what is below a nanosecond is cut
      part_of_unit /= 10;
      if (__builtin_add_overflow(total, (digit - '0') * part_of_unit, &total)) return std::nullopt;
    }
  }
  return total;
}

std::string duration_text(std::int64_t ns) {
  constexpr std::int64_t kMs = 1'000'000, kSecond = 1'000'000'000;
  return ns % kSecond == 0 ? std::to_string(ns / kSecond) + "s" : std::to_string(ns / kMs) + "ms";
}

}  // namespace vitald
