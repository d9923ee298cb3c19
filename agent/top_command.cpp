// SPDX-License-Identifier: Apache-2.0
#include "agent/top_command.h"

#include <fmt/format.h>
#include <poll.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <cstdlib>
#include <map>
#include <optional>
#include <ostream>

#include "agent/verdict_command.h"
#include "core/clock.h"
#include "core/log.h"
#include "core/log_output.h"
#include "core/os/fd.h"
#include "core/text/scan.h"

namespace vitald {

namespace {

using namespace asking;

constexpr std::size_t kColumns = std::size(kTopColumns);
constexpr std::int64_t kIntervalMs = 2'000, kLeastIntervalMs = 200, kMostIntervalMs = 3'600'000;
// For all that a screen asks, while it is live and for one look as text.
constexpr std::int64_t kLookNs = 3'000'000'000, kOnceNs = 20'000'000'000;
constexpr std::size_t kPlainWidth = 100, kLeastWidth = 20, kMostAlerts = 5, kMostVerdictLines = 9;

// Per owner and second over the last minute: one query, the columns told apart by a label.
constexpr const char* kOwnersQuery =
    "label_replace(sum by (owner_kind, owner) (rate(vitald_owner_cpu_seconds_total[1m])), \"of\", \"0\", \"\", \"\")"
    " or label_replace(sum by (owner_kind, owner) (rate(vitald_owner_runqueue_delay_seconds_total[1m])), \"of\", "
    "\"1\", "
    "\"\", \"\")"
    " or label_replace(sum by (owner_kind, owner) (rate(vitald_owner_block_seconds_total[1m])), \"of\", \"2\", \"\", "
    "\"\")"
    " or label_replace(sum by (owner_kind, owner) (rate(vitald_owner_block_bytes_total[1m])), \"of\", \"3\", \"\", "
    "\"\")";

std::size_t columns_of(std::string_view text) {
  return static_cast<std::size_t>(
      std::ranges::count_if(text, [](char c) { return (static_cast<unsigned char>(c) & 0xC0) != 0x80; }));
}

std::string cut(std::string text, std::size_t width) {
  std::size_t columns = 0;
  for (std::size_t i = 0; i < text.size(); ++i)
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80 && ++columns > width) return text.substr(0, i);
  return text;
}

std::string padded(const std::string& text, std::size_t width) {
  const auto columns = columns_of(text);
  return columns >= width ? cut(text, width) : text + std::string(width - columns, ' ');
}

struct Colour {
  const char* code;
};
constexpr Colour kBold{"1"}, kRed{"1;31"}, kYellow{"33"}, kGreen{"32"}, kReverse{"7"};

std::string coloured(const std::string& text, Colour colour, bool plain) {
  return plain ? text : fmt::format("\x1b[{}m{}\x1b[0m", colour.code, text);
}

std::string bytes_text(double v) {
  constexpr const char* kUnits[] = {"B", "kB", "MB", "GB", "TB"};
  std::size_t unit = 0;
  while (v >= 1000 && unit + 1 < std::size(kUnits)) v /= 1000, ++unit;
  return unit == 0 || v >= 100 ? fmt::format("{:.0f} {}", v, kUnits[unit]) : fmt::format("{:.1f} {}", v, kUnits[unit]);
}

std::optional<double> number_at(const json& object, const char* name, const char* unit) {
  if (!object.is_object() || !object.contains(name)) return {};
  const auto& part = object[name];
  if (!part.is_object() || !part.contains(unit) || !part[unit].is_number()) return {};
  return part[unit].get<double>();
}

// CPU  [|||||||             ]  34 %; absent where nobody knows.
std::string meter(const char* name, std::optional<double> percent, std::size_t width) {
  constexpr std::size_t kText = 16;  // name, brackets, number
  const auto bar = width > kText + 4 ? std::min<std::size_t>(width - kText, 40) : 4;
  if (!percent) return padded(fmt::format("{:<5}[{}]   ?  ", name, std::string(bar, ' ')), width);
  const auto full =
      std::min(bar, static_cast<std::size_t>(std::max(0.0, *percent) / 100 * static_cast<double>(bar) + 0.5));
  return padded(
      fmt::format("{:<5}[{}{}] {:3.0f} %", name, std::string(full, '|'), std::string(bar - full, ' '), *percent),
      width);
}

struct Owner {
  std::string kind, name;
  std::array<double, kColumns> values{};
};

std::vector<Owner> owners_of(const json& data, std::size_t sort) {
  std::map<std::pair<std::string, std::string>, Owner> all;
  if (data.is_object() && data.contains("result"))
    for (const auto& row : data["result"]) {
      const auto& metric = row.at("metric");
      const auto column = parse_u64(text_at(metric, "of"));
      const auto value = parse_double(row.at("value").at(1).get<std::string>());
      if (!column || *column >= kColumns || !value) continue;
      auto& o = all[{text_at(metric, "owner_kind"), text_at(metric, "owner")}];
      o.kind = text_at(metric, "owner_kind");
      o.name = text_at(metric, "owner");
      o.values[*column] = *value;
    }
  std::vector<Owner> out;
  for (auto& [key, o] : all) out.push_back(std::move(o));
  std::ranges::stable_sort(out, [sort](const Owner& a, const Owner& b) { return a.values[sort] > b.values[sort]; });
  return out;
}

class Screen {
 public:
  Screen(std::size_t width, std::size_t height, bool plain) : width_(width), height_(height), plain_(plain) {}

  [[nodiscard]] bool full() const { return height_ > 0 && lines_.size() >= height_; }
  void add(const std::string& text, std::optional<Colour> colour = {}) {
    if (full()) return;
    const auto line = cut(log::one_line(text), width_);
    lines_.push_back(colour ? coloured(line, *colour, plain_) : line);
  }
  std::vector<std::string> take() { return std::move(lines_); }
  [[nodiscard]] std::size_t width() const { return width_; }

 private:
  std::size_t width_, height_;
  bool plain_;
  std::vector<std::string> lines_;
};

void add_gauges(Screen& screen, const json& u) {
  const auto half = screen.width() >= 60 ? screen.width() / 2 : screen.width();
  const std::string meters[] = {
      meter("CPU", number_at(u, "cpu", "percent"), half), meter("MEM", number_at(u, "memory", "percent"), half),
      meter("DISK", number_at(u, "disk", "percent"), half), meter("NET", number_at(u, "network", "percent"), half)};
  for (std::size_t i = 0; i < std::size(meters); i += half == screen.width() ? 1 : 2)
    screen.add(half == screen.width() ? meters[i] : meters[i] + meters[i + 1]);
  std::string rest;
  if (const auto watts = number_at(u, "power", "watts")) rest += fmt::format("power {:.0f} W  ", *watts);
  if (const auto celsius = number_at(u, "temperature", "celsius"))
    rest += fmt::format("temperature {:.1f} C  ", *celsius);
  if (u.is_object() && u.contains("schedulable")) {
    rest += u["schedulable"] == true ? "schedulable" : "not schedulable";
    if (u.contains("reasons") && !u["reasons"].empty()) rest += ": " + u["reasons"][0].get<std::string>();
  }
  if (!rest.empty()) screen.add(rest);
}

void add_verdict(Screen& screen, const json& v) {
  if (!v.is_object()) return screen.add("VERDICT  not known");
  const auto state = text_at(v, "state");
  screen.add("VERDICT  " + state, state == "bad" ? kRed : state == "ok" ? kGreen : kYellow);
  auto lines = verdict_lines(v, false);
  if (lines.size() > kMostVerdictLines) {
    const auto more = lines.size() - kMostVerdictLines;
    lines.resize(kMostVerdictLines);
    lines.push_back(fmt::format("and {} lines more: vitald verdict", more));
  }
  for (const auto& line : lines) screen.add("  " + line);
}

// "silenced", "inhibited", both, or neither: receivers of this host hear nothing of it.
std::string muting_of(const json& a) {
  const auto by = [&a](const char* key) { return a.contains(key) && !a[key].empty(); };
  return fmt::format("{}{}{}", by("silencedBy") ? "silenced" : "", by("silencedBy") && by("inhibitedBy") ? ", " : "",
                     by("inhibitedBy") ? "inhibited" : "");
}

void add_alerts(Screen& screen, const json& data) {
  if (!data.is_object() || !data.contains("alerts")) return;
  std::vector<const json*> fire;
  std::size_t muted = 0;
  for (const auto& a : data["alerts"]) {
    // One that always fires (Watchdog) is nothing that is wrong.
    if (text_at(a, "state") != "firing" || text_at(a, "severity") == "none") continue;
    fire.push_back(&a);
    if (!muting_of(a).empty()) ++muted;
  }
  std::ranges::stable_sort(fire, [](const json* a, const json* b) {
    const auto weight = [](const json* x) {
      return (text_at(*x, "severity") == "critical" ? 0 : 1) + (muting_of(*x).empty() ? 0 : 2);
    };
    return weight(a) < weight(b);
  });
  screen.add(fmt::format("ALERTS   {} firing{}", fire.size(), muted > 0 ? fmt::format(", {} muted", muted) : ""),
             muted == fire.size() ? kGreen : kRed);
  for (std::size_t i = 0; i < std::min(fire.size(), kMostAlerts); ++i) {
    const auto& a = *fire[i];
    const auto summary = a.contains("annotations") ? text_at(a["annotations"], "summary") : std::string();
    const auto fired = text_at(a, "firedAt"), muting = muting_of(a);
    screen.add(fmt::format("  {:<8} {} since {}{}{}{}", text_at(a, "severity"), text_at(a["labels"], "alertname"),
                           fired.empty() ? text_at(a, "activeAt") : fired,
                           a.value("acknowledged", false) ? " (acknowledged)" : "",
                           muting.empty() ? "" : fmt::format(" ({})", muting), summary.empty() ? "" : ": " + summary));
  }
}

void add_owners(Screen& screen, const json& data, std::size_t sort) {
  const auto owners = owners_of(data, sort);
  if (owners.empty())
    return screen.add("OWNERS   none: no probe counts for them, there is no history, or not two samples yet");
  constexpr std::size_t kNumber = 10;
  const auto name_width = screen.width() > kNumber * kColumns + 20 ? screen.width() - kNumber * kColumns : 20;
  std::string head = padded("OWNERS", name_width);
  for (std::size_t c = 0; c < kColumns; ++c)
    head += fmt::format("{:>{}}", fmt::format("{}{}", kTopColumns[c], c == sort ? "*" : ""), kNumber);
  screen.add(head, kReverse);
  for (const auto& o : owners) {
    if (screen.full()) return;
    auto line = padded(fmt::format("{:<9} {}", o.kind, o.name), name_width);
    for (std::size_t c = 0; c < kColumns; ++c)
      line += fmt::format("{:>{}}", c == 3 ? bytes_text(o.values[c]) : fmt::format("{:.2f}", o.values[c]), kNumber);
    screen.add(line);
  }
}

// What the server does not know is null; that it is not there at all, or lets nobody in, ends the look. What says most
// comes first. Each may take half of the time that is left, the last one all: what hangs leaves the others some.
TopLook look_at(Server& server, std::int64_t patience_ns, int stop_fd) {
  const auto end_ns = SystemClock::read(CLOCK_BOOTTIME) + patience_ns;
  const auto limit = [&](std::int64_t parts) {
    const auto now_ns = SystemClock::read(CLOCK_BOOTTIME);
    server.limit({now_ns + (end_ns - now_ns) / parts, stop_fd});
  };
  TopLook look;
  look.url = server.url();
  const auto maybe = [&](const std::string& path, std::optional<std::string>& unanswered) {
    limit(2);
    try {
      auto answer = server.ask("GET", path);
      return answer.is_object() && answer.contains("data") ? answer["data"] : json();
    } catch (const Failed& failed) {
      unanswered = why_unanswered(failed);
      return json();
    }
  };
  auto& un = look.unanswered;
  look.alerts = maybe("/api/v1/alerts", un.alerts);
  look.verdict = maybe("/api/v1/verdict", un.verdict);
  look.owners = maybe("/api/v1/query?query=" + url_escaped(kOwnersQuery), un.owners);
  limit(1);
  try {
    look.utilization = server.ask("GET", "/api/v1/utilization").at("data");
  } catch (const Failed& failed) {
    const bool busy = failed.status == 0 || failed.status == 429 || failed.status >= 500;
    if (!busy || (un.alerts && un.verdict && un.owners)) throw;
    un.utilization = why_unanswered(failed);
  }
  return look;
}

volatile sig_atomic_t g_ended = 0, g_resized = 0;
int g_end_fd = -1;  // readable once it shall end

// Keys one by one (^C is one of them) and an alternate screen, until it goes.
class Terminal {
 public:
  Terminal() {
    good_ = tcgetattr(STDIN_FILENO, &before_) == 0;
    if (!good_) return;
    auto raw = before_;
    raw.c_lflag &= ~static_cast<tcflag_t>(ICANON | ECHO | ISIG);
    raw.c_cc[VMIN] = 0;
    raw.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &raw);
    // A vitald that hangs is no reason not to end: what is asked is given up when a key or a signal comes.
    end_.reset(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK));
    news_.reset(epoll_create1(EPOLL_CLOEXEC));
    g_end_fd = end_.get();
    for (const int fd : {STDIN_FILENO, end_.get()}) {
      epoll_event event{};
      event.events = EPOLLIN;
      epoll_ctl(news_.get(), EPOLL_CTL_ADD, fd, &event);
    }
    struct sigaction action {};
    action.sa_handler = [](int number) {
      (number == SIGWINCH ? g_resized : g_ended) = 1;
      const std::uint64_t one = 1;
      if (number == SIGWINCH || g_end_fd < 0) return;
      const auto before = errno;
      // Where it cannot be told it is seen at the deadline.
      [[maybe_unused]] const auto told = ::write(g_end_fd, &one, sizeof one);
      errno = before;
    };
    for (const int number : {SIGWINCH, SIGTERM, SIGHUP, SIGINT}) sigaction(number, &action, nullptr);
    write("\x1b[?1049h\x1b[?25l");
  }
  ~Terminal() {
    if (!good_) return;
    g_end_fd = -1;
    write("\x1b[?25h\x1b[?1049l");
    tcsetattr(STDIN_FILENO, TCSANOW, &before_);
  }
  Terminal(const Terminal&) = delete;
  Terminal& operator=(const Terminal&) = delete;

  // Readable once there is a key, or it shall end.
  [[nodiscard]] int news_fd() const { return news_.get(); }
  [[nodiscard]] bool has_news() const {
    pollfd p{news_.get(), POLLIN, 0};
    return poll(&p, 1, 0) > 0;
  }

  // At most a second's worth of waiting for a terminal that takes nothing is not ours to bound: it is the user's.
  static void write(std::string_view bytes) {
    while (!bytes.empty()) {
      const auto n = ::write(STDOUT_FILENO, bytes.data(), bytes.size());
      if (n < 0 && errno == EINTR) continue;
      if (n <= 0) {  // it is gone
        g_ended = 1;
        return;
      }
      bytes.remove_prefix(static_cast<std::size_t>(n));
    }
  }
  static std::pair<std::size_t, std::size_t> size() {
    winsize w{};
    if (ioctl(STDOUT_FILENO, TIOCGWINSZ, &w) != 0 || w.ws_col == 0 || w.ws_row == 0) return {80, 24};
    return {std::max<std::size_t>(w.ws_col, kLeastWidth), w.ws_row};
  }

 private:
  termios before_{};
  bool good_ = false;
  Fd end_, news_;
};

void draw(const std::vector<std::string>& lines, std::size_t height) {
  std::string out = "\x1b[H";
  for (std::size_t i = 0; i < std::min(lines.size(), height); ++i) out += (i > 0 ? "\r\n" : "") + lines[i] + "\x1b[K";
  Terminal::write(out + "\x1b[J");
}

enum class Key : std::uint8_t { none, quit, left, right };

// What was pressed within so long; a resize and a signal end the wait.
Key wait_for_key(std::int64_t patience_ms) {
  pollfd in{STDIN_FILENO, POLLIN, 0};
  if (poll(&in, 1, static_cast<int>(std::clamp<std::int64_t>(patience_ms, 0, kMostIntervalMs))) <= 0) return Key::none;
  char bytes[16];
  const auto n = read(STDIN_FILENO, bytes, sizeof bytes);
  if (n <= 0) return Key::quit;  // the terminal is gone
  const std::string_view keys(bytes, static_cast<std::size_t>(n));
  if (keys == "\x1b[D" || keys == "\x1bOD" || keys == "h") return Key::left;
  if (keys == "\x1b[C" || keys == "\x1bOC" || keys == "l") return Key::right;
  return keys[0] == 'q' || keys[0] == 'Q' || keys[0] == '\x03' || keys == "\x1b" ? Key::quit : Key::none;
}

int live(Server& server, std::int64_t interval_ms) {
  const Terminal terminal;
  std::size_t sort = 0;
  std::optional<TopLook> look;
  std::string problem;
  std::int64_t next_ms = 0;
  while (g_ended == 0) {
    const auto now_ms = SystemClock::read(CLOCK_MONOTONIC) / 1'000'000;
    if (now_ms >= next_ms) {
      next_ms = now_ms + interval_ms;
      std::optional<TopLook> now;
      std::string why;
      try {
        now = look_at(server, kLookNs, terminal.news_fd());
      } catch (const Failed& failed) {  // it may come back
        why = failed.text;
      }
      if (terminal.has_news()) {  // what was given up for it says nothing
        next_ms = now_ms;
      } else {
        problem = std::move(why);
        if (now) look = std::move(now);
      }
    }
    const auto [width, height] = Terminal::size();
    std::vector<std::string> lines;
    if (!problem.empty()) lines.push_back(coloured(cut("no answer: " + problem, width), kRed, false));
    if (look)
      for (auto& line : top_screen(*look, width, height > lines.size() ? height - lines.size() : 1, false, sort))
        lines.push_back(std::move(line));
    draw(lines, height);
    g_resized = 0;
    switch (wait_for_key(next_ms - SystemClock::read(CLOCK_MONOTONIC) / 1'000'000)) {
      case Key::quit: return 0;
      case Key::left: sort = (sort + kColumns - 1) % kColumns; break;
      case Key::right: sort = (sort + 1) % kColumns; break;
      case Key::none: break;
    }
  }
  return 0;
}

bool is_live_terminal() {
  const char* term = std::getenv("TERM");
  return isatty(STDIN_FILENO) && isatty(STDOUT_FILENO) && term && *term && std::string_view(term) != "dumb";
}

}  // namespace

std::optional<std::string> why_unanswered(const Failed& failed) {
  if (failed.status == 0) return "";
  if (failed.status == 404 || failed.why.find("keeps no history") != std::string::npos) return std::nullopt;
  return fmt::format("{} {}", failed.status, failed.why);
}

std::vector<std::string> top_screen(const TopLook& look, std::size_t width, std::size_t height, bool plain,
                                    std::size_t sort) {
  Screen screen(width, height, plain);
  screen.add(fmt::format("vitald top  {}  {}{}", text_at(look.utilization, "name"), look.url,
                         plain ? "" : "  q: end, arrows: sort"),
             kBold);
  const auto& un = look.unanswered;
  const auto not_answered = [&](std::string_view part, const std::string& why) {
    screen.add(fmt::format("{:<9}not answered{}{}", part, why.empty() ? "" : ": ", why), kYellow);
  };
  if (un.utilization) not_answered("GAUGES", *un.utilization);
  else add_gauges(screen, look.utilization);
  if (un.verdict) not_answered("VERDICT", *un.verdict);
  else add_verdict(screen, look.verdict);
  if (un.alerts) not_answered("ALERTS", *un.alerts);
  else add_alerts(screen, look.alerts);
  if (un.owners) not_answered("OWNERS", *un.owners);
  else add_owners(screen, look.owners, std::min(sort, kColumns - 1));
  return screen.take();
}

std::string_view top_help() {
  return "usage: vitald top [--once] [--interval=2s]\n"
         "The host at a glance: how full it is, what is wrong, which alerts fire, who uses CPU, waits and disks. q "
         "ends,\n"
         "the arrows left and right choose what owners are sorted by. --once, or where there is no terminal: one "
         "look,\n"
         "as text. CPU, WAIT and IO are seconds per second: 1.00 is one CPU, one task that waits.\n"
         "Which vitald is asked: --url=http://HOST:PORT, else the first --web.listen-address; --user, --password-file\n"
         "and --ca-file where it wants them.\n";
}

int run_top(const Config& config, std::ostream& out) {
  const auto words = words_of(config.command_line.words);
  std::string problem;
  if (!words.plain.empty()) problem = fmt::format("unexpected '{}'", words.plain.front());
  auto interval_ms = kIntervalMs;
  if (const auto text = words.get("interval"); !text.empty()) {
    const auto ns = parse_duration_ns(text);
    interval_ms = ns.value_or(0) / 1'000'000;
    if (!ns || interval_ms < kLeastIntervalMs || interval_ms > kMostIntervalMs)
      problem = fmt::format("--interval: '{}', expected a duration from 200ms to 1h", text);
  }
  if (!problem.empty()) {
    log::say(fmt::format("vitald: error: top: {}\n{}", problem, top_help()));
    return 1;
  }
  return run([&] {
    Server server(words, config.options);
    if (!words.given.contains("once") && is_live_terminal()) return live(server, interval_ms);
    for (const auto& line : top_screen(look_at(server, kOnceNs, -1), kPlainWidth, 0, true, 0)) out << line << '\n';
    out << std::flush;
    return out ? 0 : 1;
  });
}

}  // namespace vitald
