// SPDX-License-Identifier: Apache-2.0
#include "rules/silences.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

#include "core/clock.h"
#include "core/log.h"
#include "core/moment.h"
#include "core/text/bytes.h"
#include "core/text/scan.h"
#include "core/text/uuid.h"
#include "rules/promql/labels.h"
#include "rules/promql/parser.h"

namespace vitald {

namespace {

constexpr std::string_view kHead = "vitalds1";
enum Tag : std::uint32_t { kSilence = kEndSection + 1, kAcknowledged };
constexpr std::size_t kMostMatchers = 100, kMostText = 10'000;

std::uint64_t work_of(const Matchers& matchers) {
  std::uint64_t work = 0;
  for (const auto& m : matchers)
    if (m.pattern) work += promql::pattern_work(m.value);
  return work;
}

// Expired long ago, or of alerts of long ago: nobody asks for them.
void forget_old(Marks& marks, std::int64_t now_ms) {
  std::erase_if(marks.silences, [&](const Silence& s) { return s.ends_ms + Silences::kKeepExpiredMs < now_ms; });
  std::erase_if(marks.acknowledged,
                [&](const auto& a) { return a.second.until_ms != 0 && a.second.until_ms < now_ms; });
}

void put_silence(std::string& out, const Silence& s) {
  put_text(out, s.id);
  put_text(out, matchers_text(s.matchers));
  for (const auto ms : {s.starts_ms, s.ends_ms, s.updated_ms}) put_number(out, ms);
  put_text(out, s.created_by);
  put_text(out, s.comment);
}

// `refused`: it makes sense, but for the matchers.
bool take_silence(Taker in, Silence& s, bool& refused) {
  s.id = in.text();
  const std::string text(in.text());
  for (auto* ms : {&s.starts_ms, &s.ends_ms, &s.updated_ms}) *ms = in.number<std::int64_t>();
  s.created_by = in.text();
  s.comment = in.text();
  if (!in.ended() || !is_time_ms(s.starts_ms) || !is_time_ms(s.ends_ms) || !is_time_ms(s.updated_ms)) return false;
  auto budget = Silences::budget();
  auto matchers = parse_alert_matchers(text, &budget);
  refused = !matchers;
  if (matchers) s.matchers = std::move(*matchers);
  return true;
}

// As Alertmanager reads a text in quotes: \n, \" and \\ are what they are in Go, any other backslash is one ("C:\d").
// Nothing where it is none, or something stands behind it.
std::optional<std::string> unquoted(std::string_view text) {
  if (text.size() < 2 || text.front() != '"' || text.back() != '"') return std::nullopt;
  text = text.substr(1, text.size() - 2);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '"') return std::nullopt;
    if (text[i] != '\\') {
      out += text[i];
      continue;
    }
    if (++i == text.size()) return std::nullopt;  // the quote behind it is one of the text
    if (text[i] == 'n') out += '\n';
    else if (text[i] == '"' || text[i] == '\\') out += text[i];
    else (out += '\\') += text[i];
  }
  return out;
}

// severity=critical and severity= (there is no such label), which Alertmanager takes as well, and path="C:\d": the same
// in quotes as PromQL has them.
std::optional<std::string> quoted_matcher(std::string_view text) {
  const auto at = text.find_first_of("=!");
  if (at == text.npos) return std::nullopt;
  const auto name = trim(text.substr(0, at));
  auto value = text.substr(at);
  for (const std::string_view op : {"=~", "!~", "!=", "="}) {
    if (!take_prefix(value, op)) continue;
    value = trim(value);
    if (!promql::valid_label_name(name)) break;
    if (const auto plain = unquoted(value)) return fmt::format("{{{}{}{}}}", name, op, promql::quoted(*plain));
    if (value.find_first_of(" \t\"'`{}~=!,") != value.npos) break;
    return fmt::format("{{{}{}{}}}", name, op, promql::quoted(value));
  }
  return std::nullopt;
}

}  // namespace

bool fits(const Matchers& matchers, const LabelMap& labels, const LabelMap& external) {
  return std::ranges::all_of(matchers,
                             [&](const promql::Matcher& m) { return m.matches(sent_label(labels, external, m.name)); });
}

Result<Matchers> parse_alert_matchers(std::string_view text, promql::PatternBudget* budget) {
  auto whole = std::string(text);
  if (auto with_quotes = quoted_matcher(text)) whole = std::move(*with_quotes);
  else if (!text.starts_with('{')) whole = fmt::format("{{{}}}", text);
  std::vector<promql::Problem> problems;
  auto selector = promql::parse_selector(whole, problems, budget);
  if (!selector || selector->matchers.empty())
    return fail(Errc::malformed, fmt::format("'{}' is no matcher ({}), expected e.g. severity=\"critical\"", text,
                                             problems.empty() ? std::string("nothing found") : problems[0].what));
  for (const auto& m : selector->matchers)
    if (m.name == "__name__")
      return fail(Errc::malformed, fmt::format("'{}' is no matcher of alerts (they have no __name__), expected e.g. "
                                               "alertname=\"{}\"",
                                               text, m.value));
  return std::move(selector->matchers);
}

Result<promql::Matcher> alert_matcher(std::string_view name, std::string_view value, bool is_regex, bool is_equal,
                                      promql::PatternBudget* budget) {
  if (!promql::valid_label_name(name)) return fail(Errc::malformed, fmt::format("'{}' is no name of a label", name));
  const auto* op = is_regex ? (is_equal ? "=~" : "!~") : (is_equal ? "=" : "!=");
  auto matchers = parse_alert_matchers(fmt::format("{{{}{}{}}}", name, op, promql::quoted(value)), budget);
  if (!matchers) return fail(matchers.error());
  return std::move(matchers->front());
}

std::string matchers_text(const Matchers& matchers) {
  std::string out = "{";
  for (const auto& m : matchers) {
    static constexpr const char* kOps[] = {"=", "!=", "=~", "!~"};
    out += fmt::format("{}{}{}{}", out.size() > 1 ? ", " : "", m.name, kOps[static_cast<std::size_t>(m.op)],
                       promql::quoted(m.value));
  }
  return out + '}';
}

const Acknowledgement* Marks::acknowledgement(const Alert& alert, std::int64_t now_ms) const {
  const auto at = acknowledged.find(alert.fingerprint);
  if (at == acknowledged.end()) return nullptr;
  const auto& a = at->second;
  if (a.at_ms < alert.active_at_ms || (a.until_ms != 0 && a.until_ms <= now_ms)) return nullptr;
  return &a;
}

Result<> save(const Marks& marks, SectionWriter::Sink sink) {
  SectionWriter out(kHead, std::move(sink));
  std::string bytes;
  for (const auto& s : marks.silences) {
    bytes.clear();
    put_silence(bytes, s);
    out.put(kSilence, bytes);
  }
  for (const auto& [fingerprint, a] : marks.acknowledged) {
    bytes.clear();
    put_number(bytes, fingerprint);
    put_number(bytes, a.at_ms);
    put_number(bytes, a.until_ms);
    put_text(bytes, a.by);
    put_text(bytes, a.comment);
    out.put(kAcknowledged, bytes);
  }
  return out.end();
}

Result<Marks> load_marks(SectionReader::Source source, std::size_t file_bytes) {
  SectionReader in(kHead, std::move(source), file_bytes);
  Marks out;
  std::vector<std::string> left_out;
  std::uint64_t work = 0, work_of_ended = 0;
  const auto now_ms = SystemClock::read(CLOCK_REALTIME) / 1'000'000;
  for (;;) {
    const auto section = in.next();
    if (!section) return fail(section.error());
    const auto tag = *section ? (*section)->tag : kEndSection;
    if (tag == kEndSection) {
      if (!left_out.empty())
        log::warn("silences of before are left out: their matchers are refused, make them anew",
                  {{"silences", std::to_string(left_out.size())}, {"first", left_out[0]}});
      return out;
    }
    Taker bytes((*section)->payload);
    bool good = false;
    if (tag == kSilence) {
      bool refused = false;
      auto& silence = out.silences.emplace_back();
      good = take_silence(bytes, silence, refused);
      // Those that have ended, which are kept for a look back, take nothing from the others.
      auto& used = silence.ends_ms > now_ms ? work : work_of_ended;
      used += work_of(silence.matchers);
      if (refused || used > Silences::kMostWork) {
        used -= work_of(silence.matchers);
        left_out.push_back(std::move(silence.id));
        out.silences.pop_back();
      }
    } else if (tag == kAcknowledged) {
      const auto fingerprint = bytes.number<std::uint64_t>();
      auto& a = out.acknowledged[fingerprint];
      a.at_ms = bytes.number<std::int64_t>();
      a.until_ms = bytes.number<std::int64_t>();
      a.by = bytes.text();
      a.comment = bytes.text();
      good = bytes.ended() && is_time_ms(a.at_ms) && is_time_ms(a.until_ms);
    }
    if (!good)
      return fail(Errc::malformed,
                  fmt::format("a section of kind {} makes no sense, though its checksum is right", tag));
  }
}

promql::PatternBudget Silences::budget() {
  return {.program_bytes = 256 << 10, .work = kMostWork / 10, .count = kMostMatchers};
}

void Silences::set_inhibit_rules(std::vector<InhibitRule> rules) {
  auto next = std::make_shared<const std::vector<InhibitRule>>(std::move(rules));
  const MutexLock lock(mutex_);
  inhibit_ = std::move(next);
}

std::shared_ptr<const Marks> Silences::marks() const {
  const MutexLock lock(mutex_);
  return marks_;
}

bool Silences::idle() const {
  const MutexLock lock(mutex_);
  return marks_->silences.empty() && inhibit_->empty();
}

Result<> Silences::change(std::int64_t now_ms, const std::function<Result<>(Marks&)>& how) {
  const MutexLock changing(changing_);
  auto next = std::make_shared<Marks>(*marks());
  forget_old(*next, now_ms);
  if (auto done = how(*next); !done) return done;
  if (store_)
    if (const auto kept = store_(*next); !kept)
      return fail(kept.error().kind, "nothing was changed, since it could not be kept: " + kept.error().text);
  const MutexLock lock(mutex_);
  marks_ = std::move(next);
  return {};
}

Result<std::string> Silences::put(Silence silence, std::int64_t now_ms) {
  // As Alertmanager has it: one that excludes something (severity!="critical") chooses, too.
  if (std::ranges::all_of(silence.matchers, [](const promql::Matcher& m) {
        return (m.op == promql::MatchOp::equal || m.op == promql::MatchOp::regex) && m.matches("");
      }))
    return fail(Errc::malformed,
                "no matcher that chooses something out, expected one at least that an empty label does "
                "not fit");
  if (silence.matchers.size() > kMostMatchers)
    return fail(Errc::malformed,
                fmt::format("{} matchers, expected {} at most", silence.matchers.size(), kMostMatchers));
  if (const auto most = budget().work; work_of(silence.matchers) > most)
    return fail(Errc::malformed, "its regular expressions are too large together");
  if (silence.created_by.size() > kMostText || silence.comment.size() > kMostText)
    return fail(Errc::malformed, fmt::format("a text of more than {} bytes", kMostText));
  if (silence.starts_ms >= silence.ends_ms) return fail(Errc::malformed, "it ends before it starts");
  if (silence.ends_ms <= now_ms) return fail(Errc::malformed, "it ends before now");
  silence.updated_ms = now_ms;
  std::string id;
  const auto done = change(now_ms, [&](Marks& marks) -> Result<> {
    if (!silence.id.empty()) {
      const auto at = std::ranges::find(marks.silences, silence.id, &Silence::id);
      if (at == marks.silences.end()) return fail(Errc::absent, fmt::format("no silence '{}'", silence.id));
      // What was muted by it stays told as muted by it; a change of whom it is about is another silence.
      if (now_ms < at->ends_ms && matchers_text(at->matchers) == matchers_text(silence.matchers)) {
        if (now_ms >= at->starts_ms) silence.starts_ms = at->starts_ms;
        id = silence.id;
        *at = std::move(silence);
        return {};
      }
      at->ends_ms = std::min(at->ends_ms, now_ms);
    }
    if (marks.silences.size() >= kMostSilences)
      return fail(Errc::io,
                  fmt::format("{} silences are there, expected {} at most", marks.silences.size(), kMostSilences));
    auto work = work_of(silence.matchers);
    for (const auto& s : marks.silences)
      if (s.ends_ms > now_ms) work += work_of(s.matchers);
    if (work > kMostWork)
      return fail(Errc::malformed,
                  "the regular expressions of all silences together would be too large; delete some, or "
                  "name alerts without regular expressions");
    id = silence.id = new_uuid();
    silence.starts_ms = std::max(silence.starts_ms, now_ms);
    marks.silences.push_back(std::move(silence));
    return {};
  });
  if (!done) return fail(done.error());
  return id;
}

Result<> Silences::expire(const std::string& id, std::int64_t now_ms) {
  return change(now_ms, [&](Marks& marks) -> Result<> {
    const auto at = std::ranges::find(marks.silences, id, &Silence::id);
    if (at == marks.silences.end()) return fail(Errc::absent, fmt::format("no silence '{}'", id));
    if (at->ends_ms <= now_ms) return {};
    at->starts_ms = std::min(at->starts_ms, now_ms);
    at->ends_ms = at->updated_ms = now_ms;
    return {};
  });
}

Result<> Silences::acknowledge(const Alert& alert, Acknowledgement acknowledgement, std::int64_t now_ms) {
  if (acknowledgement.by.size() > kMostText || acknowledgement.comment.size() > kMostText)
    return fail(Errc::malformed, fmt::format("a text of more than {} bytes", kMostText));
  if (acknowledgement.until_ms != 0 && acknowledgement.until_ms <= now_ms)
    return fail(Errc::malformed, "it ends before now");
  // Where the clock was set back the alert began in the future; it is this occurrence all the same.
  acknowledgement.at_ms = std::max(now_ms, alert.active_at_ms);
  return change(now_ms, [&](Marks& marks) -> Result<> {
    auto& all = marks.acknowledged;
    if (all.size() >= kMostAcknowledged && !all.contains(alert.fingerprint))
      all.erase(std::ranges::min_element(all, {}, [](const auto& a) { return a.second.at_ms; }));
    all[alert.fingerprint] = std::move(acknowledgement);
    return {};
  });
}

Result<> Silences::withdraw(const Alert& alert, std::int64_t now_ms) {
  return change(now_ms, [&](Marks& marks) -> Result<> {
    if (!marks.acknowledgement(alert, now_ms)) return fail(Errc::absent, "nobody has acknowledged it");
    marks.acknowledged.erase(alert.fingerprint);
    return {};
  });
}

Muting Silences::muting(const LabelMap& labels, const LabelMap& external, std::span<const Alert* const> firing,
                        std::int64_t now_ms) const {
  return mutes(external, firing, now_ms).of(labels);
}

Mutes Silences::mutes(const LabelMap& external, std::span<const Alert* const> firing, std::int64_t now_ms) const {
  std::shared_ptr<const Marks> marks;
  std::shared_ptr<const std::vector<InhibitRule>> inhibit;
  {
    const MutexLock lock(mutex_);
    marks = marks_;
    inhibit = inhibit_;
  }
  return {std::move(marks), std::move(inhibit), external, firing, now_ms};
}

Mutes::Mutes(std::shared_ptr<const Marks> marks, std::shared_ptr<const std::vector<InhibitRule>> inhibit,
             const LabelMap& external, std::span<const Alert* const> firing, std::int64_t now_ms)
    : external_(external), marks_(std::move(marks)), inhibit_(std::move(inhibit)) {
  for (const auto& s : marks_->silences)
    if (now_ms >= s.starts_ms && now_ms < s.ends_ms) active_.push_back(&s);
  for (const auto& rule : *inhibit_) {
    auto& made = inhibitions_.emplace_back(Inhibition{&rule, {}});
    for (const auto* a : firing) {
      if (!fits(rule.source, a->labels, external_)) continue;
      auto& sources = made.by_equal[equal_of(rule, a->labels)];
      (fits(rule.target, a->labels, external_) ? sources.target_too : sources.only).push_back(a->fingerprint);
    }
  }
}

std::string Mutes::equal_of(const InhibitRule& rule, const LabelMap& labels) const {
  std::string out;
  for (const auto& name : rule.equal) {
    const auto value = sent_label(labels, external_, name);
    out += fmt::format("{}:{}", value.size(), value);  // wherever one ends, no two of them are one
  }
  return out;
}

Muting Mutes::of(const LabelMap& labels) const {
  Muting out;
  for (const auto* s : active_)
    if (fits(s->matchers, labels, external_)) out.silenced_by.push_back(s->id);
  const auto name = [&by = out.inhibited_by](const std::vector<std::uint64_t>& all) {
    for (const auto fingerprint : all) {
      if (by.size() == kMostNamed) return;
      if (std::ranges::find(by, fingerprint) == by.end()) by.push_back(fingerprint);
    }
  };
  for (const auto& inhibition : inhibitions_) {
    const auto& rule = *inhibition.rule;
    if (inhibition.by_equal.empty() || !fits(rule.target, labels, external_)) continue;
    const auto sources = inhibition.by_equal.find(equal_of(rule, labels));
    if (sources == inhibition.by_equal.end()) continue;
    name(sources->second.only);
    // One that is on both sides is inhibited by those that are on the source's side only: not by itself, and no two by
    // each other.
    if (!fits(rule.source, labels, external_)) name(sources->second.target_too);
  }
  return out;
}

std::string alert_uuid(const Alert& alert, std::string_view machine) {
  // FNV-1a, twice with other beginnings; it need not be secret, only the same everywhere.
  UuidBytes bytes{};
  const auto text = fmt::format("{}\n{:016x}\n{}", machine, alert.fingerprint, alert.active_at_ms);
  std::uint64_t halves[2] = {0xcbf29ce484222325, 0x84222325cbf29ce4};
  for (auto& half : halves)
    for (const char c : text) half = (half ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  for (std::size_t i = 0; i < bytes.size(); ++i) bytes[i] = static_cast<std::uint8_t>(halves[i / 8] >> (i % 8 * 8));
  return uuid_text(bytes, 8);  // made in a way of one's own
}

}  // namespace vitald
