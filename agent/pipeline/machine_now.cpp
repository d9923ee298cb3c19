// SPDX-License-Identifier: Apache-2.0
#include "agent/pipeline/machine_now.h"

#include <fmt/format.h>
#include <sys/klog.h>

#include <algorithm>
#include <cerrno>
#include <functional>
#include <optional>
#include <utility>
#include <vector>

#include "core/clock.h"
#include "core/os/kernel_file.h"
#include "core/text/json.h"
#include "core/text/scan.h"

namespace vitald {

namespace {

constexpr std::size_t kBiggest = 10, kMostBlocked = 40, kMostStack = 2048, kMostTasks = 5000;
constexpr std::size_t kLogBytes = 64 << 10, kLogLines = 200;
constexpr int kReadAll = 3;  // SYSLOG_ACTION_READ_ALL of syslog(2)

std::string read(const std::string& path) {
  const auto text = read_kernel_file(path);
  return text ? std::string(trim(*text)) : std::string();
}

void member(std::string& out, std::string_view name, std::string_view text) {
  append_json_string(out, name);
  out += ':';
  append_json_string(out, text);
}

// "12 (comm with ) in it) D 1 ...": proc_pid_stat(5).
struct Task {
  std::uint64_t pid = 0;
  std::string comm;
  char state = '?';
  std::uint64_t cpu_ticks = 0, rss_pages = 0;
};
std::optional<Task> parse_stat(std::string_view line) {
  const auto open = line.find('('), close = line.rfind(')');
  if (open == line.npos || close == line.npos || close < open || close + 2 >= line.size()) return {};
  Task t;
  const auto pid = parse_u64(trim(line.substr(0, open)));
  if (!pid) return {};
  t.pid = *pid;
  t.comm = line.substr(open + 1, close - open - 1);
  auto rest = line.substr(close + 2);
  // From the third field on: state, ..., utime (14), stime (15), ..., rss (24).
  for (int field = 3; field <= 24 && !rest.empty(); ++field) {
    const auto word = take_until(rest, ' ');
    if (field == 3 && !word.empty()) t.state = word[0];
    if (field == 14 || field == 15) t.cpu_ticks += parse_u64(word).value_or(0);
    if (field == 24) t.rss_pages = parse_u64(word).value_or(0);
  }
  return t;
}

bool is_number(std::string_view name) { return parse_u64(name).has_value(); }

class Processes {
 public:
  Processes(const Host& host, std::int64_t deadline_boot_ns) : host_(host), deadline_ns_(deadline_boot_ns) {
    const auto pids = list_directory(host.procfs(""));
    if (!pids) return;
    for (const auto& pid : *pids) {
      if (!is_number(pid)) continue;
      if (late()) break;
      if (auto t = parse_stat(read(host.procfs(pid + "/stat")))) all_.push_back(std::move(*t));
      threads(pid);
    }
  }

  [[nodiscard]] bool complete() const { return !cut_; }

  void append(std::string& out) {
    out += fmt::format(R"("processes":{{"seen":{},"all":{})", all_.size(), cut_ ? "false" : "true");
    biggest(out, "by_memory", [](const Task& t) { return t.rss_pages; });
    biggest(out, "by_cpu_since_start", [](const Task& t) { return t.cpu_ticks; });
    out += R"(},"blocked":[)";
    for (std::size_t i = 0; i < blocked_.size(); ++i) out += (i > 0 ? "," : "") + blocked_[i];
    out += ']';
  }

 private:
  bool late() {
    if (SystemClock::read(CLOCK_BOOTTIME) < deadline_ns_) return false;
    cut_ = true;
    return true;
  }

  // A process whose first thread sleeps may have others that are blocked.
  void threads(const std::string& pid) {
    if (blocked_.size() >= kMostBlocked || looked_ >= kMostTasks) return;
    const auto folder = pid + "/task";
    const auto tids = list_directory(host_.procfs(folder));
    if (!tids) return;
    for (const auto& tid : *tids) {
      if (blocked_.size() >= kMostBlocked || ++looked_ > kMostTasks || late()) return;
      const auto path = fmt::format("{}/{}", folder, tid);
      const auto t = parse_stat(read(host_.procfs(path + "/stat")));
      if (!t || t->state != 'D') continue;
      const auto found = read_kernel_file(host_.procfs(path + "/stack"));  // with CAP_SYS_ADMIN only
      auto stack = std::string(found ? trim(*found) : std::string_view());
      if (stack.size() > kMostStack) stack.resize(kMostStack);
      const auto problem = found ? std::string() : found.error().text;
      std::string row = fmt::format(R"({{"pid":{},"tid":{},)", pid, t->pid);
      member(row, "comm", t->comm);
      row += ',';
      member(row, "wchan", read(host_.procfs(path + "/wchan")));
      row += ',';
      member(row, "stack", stack);
      if (!problem.empty()) {
        row += ',';
        member(row, "stack_error", problem);
      }
      blocked_.push_back(row + '}');
    }
  }

  template <class Size>
  void biggest(std::string& out, std::string_view name, Size size) {
    const auto count = std::min(kBiggest, all_.size());
    std::ranges::partial_sort(all_, all_.begin() + static_cast<std::ptrdiff_t>(count), std::greater(), size);
    out += fmt::format(",\"{}\":[", name);
    for (std::size_t i = 0; i < count; ++i) {
      const auto& t = all_[i];
      out += fmt::format("{}{{\"pid\":{},", i > 0 ? "," : "", t.pid);
      member(out, "comm", t.comm);
      out += fmt::format(R"(,"state":"{}","rss_bytes":{},"cpu_seconds":{:.2f}}})", t.state,
                         t.rss_pages * static_cast<std::uint64_t>(host_.page_size_bytes()),
                         static_cast<double>(t.cpu_ticks) / host_.clock_ticks_per_second());
    }
    out += ']';
  }

  const Host& host_;
  const std::int64_t deadline_ns_;
  std::vector<Task> all_;
  std::vector<std::string> blocked_;
  std::size_t looked_ = 0;
  bool cut_ = false;
};

void append_kernel_log(std::string& out) {
  std::string bytes(kLogBytes, '\0');
  const int n = klogctl(kReadAll, bytes.data(), static_cast<int>(bytes.size()));
  if (n < 0) return member(out, "kernel_log_error", from_errno("the kernel's log", errno).text);
  bytes.resize(static_cast<std::size_t>(n));
  std::vector<std::string_view> lines;
  for (std::string_view rest = bytes; !rest.empty();) lines.push_back(take_line(rest));
  const auto first = lines.size() > kLogLines ? lines.size() - kLogLines : 0;
  out += "\"kernel_log\":[";
  for (auto i = first; i < lines.size(); ++i) {
    if (i > first) out += ',';
    append_json_string(out, lines[i]);
  }
  out += ']';
}

// "MemAvailable:   629896 kB"
std::optional<std::uint64_t> meminfo_bytes(std::string_view meminfo, std::string_view name) {
  while (!meminfo.empty()) {
    auto line = take_line(meminfo);
    if (take_until(line, ':') != name) continue;
    line = trim(line);
    const auto kib = parse_u64(take_until(line, ' '));
    return kib ? std::optional(*kib * 1024) : std::nullopt;
  }
  return {};
}

// "some avg10=1.25 avg60=...": what of the last ten seconds.
std::string_view some_avg10(std::string_view pressure) {
  const auto at = pressure.find("some avg10=");
  if (at == pressure.npos) return {};
  pressure.remove_prefix(at + std::string_view("some avg10=").size());
  return take_until(pressure, ' ');
}

}  // namespace

MachineNow machine_now(const Host& host, std::int64_t deadline_boot_ns) {
  std::string out = "{";
  member(out, "loadavg", read(host.procfs("loadavg")));
  for (const auto* what : {"cpu", "memory", "io"}) {
    out += ',';
    member(out, fmt::format("pressure_{}", what), read(host.procfs(fmt::format("pressure/{}", what))));
  }
  out += ',';
  member(out, "meminfo", read(host.procfs("meminfo")));
  out += ',';
  Processes processes(host, deadline_boot_ns);
  processes.append(out);
  out += ',';
  append_kernel_log(out);
  out += '}';
  return {std::move(out), processes.complete()};
}

std::string vitals_line(const Host& host) {
  std::string out;
  const auto add = [&out](std::string_view name, std::string_view text) {
    if (!text.empty()) out += fmt::format("{}{} {}", out.empty() ? "" : ", ", name, text);
  };
  const auto load = read(host.procfs("loadavg"));
  add("load", std::string_view(load).substr(0, load.find(' ', load.find(' ', load.find(' ') + 1) + 1)));
  const auto meminfo = read(host.procfs("meminfo"));
  const auto available = meminfo_bytes(meminfo, "MemAvailable"), total = meminfo_bytes(meminfo, "MemTotal");
  if (available && total) add("memory available", fmt::format("{} of {} MiB", *available >> 20, *total >> 20));
  for (const auto* what : {"cpu", "memory", "io"})
    add(fmt::format("pressure {}", what), some_avg10(read(host.procfs(fmt::format("pressure/{}", what)))));
  return out;
}

}  // namespace vitald
