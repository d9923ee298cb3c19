// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/cgroup_files.h"

#include <algorithm>
#include <cmath>
#include <optional>
#include <string_view>
#include <utility>

#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald::cgroup {
namespace {

constexpr double kMicro = 1e6, kNano = 1e9;

// kNone stays kNone, which std::max(0.0, x) makes 0.
double not_below_0(double x) { return x < 0 ? 0 : x; }

// Lines of a name and a number; `take` gets both. The others stay where one is none, which is told with its file.
template <class Take>
void each_pair(std::string_view path, std::string_view text, LeftOut& left_out, Take&& take) {
  if (is_blank(text)) left_out.add(malformed(path, text, "lines of a name and a number"));
  while (!text.empty()) {
    const auto line = take_line(text);
    std::string_view rest = line;
    const auto name = take_word(rest);
    if (name.empty()) continue;
    const auto n = take_u64(rest);
    if (n && trim(rest).empty()) take(name, static_cast<double>(*n));
    else left_out.add(malformed(path, line, "a name and a number"));
  }
}

// A file of a cgroup: what a controller lacks, or a cgroup that has just gone, is no error.
class CgroupFile {
 public:
  explicit CgroupFile(std::string path) : file_(std::move(path)) {}

  template <class Take>
  void pairs(LeftOut& left_out, Take&& take) {
    if (const auto text = read(left_out)) each_pair(file_.path(), *text, left_out, take);
  }
  // "max", and on v1 -1 and a number that no memory has, are no limit.
  double limit(LeftOut& left_out) {
    constexpr double kNoLimit = 9.0e18;  // PAGE_COUNTER_MAX pages, 2^63 less a page
    const auto text = read(left_out);
    if (!text || *text == "max" || *text == "-1") return kNone;
    const auto n = parse_u64(*text);
    if (!n) left_out.add(malformed(file_.path(), *text, "a number or max"));
    return n && static_cast<double>(*n) < kNoLimit ? static_cast<double>(*n) : kNone;
  }
  double number(LeftOut& left_out, double per = 1) {
    const auto text = read(left_out);
    if (!text) return kNone;
    const auto n = parse_u64(*text);
    if (!n) left_out.add(malformed(file_.path(), *text, "a number"));
    return n ? static_cast<double>(*n) / per : kNone;
  }
  std::optional<std::string_view> read(LeftOut& left_out) {
    const auto text = file_.text();
    if (!text)
      if (auto why = file_.no_number()) left_out.add(std::move(*why));
    return text;
  }
  [[nodiscard]] const std::string& path() const { return file_.path(); }

 private:
  Attribute file_;
};

// "8:0". What has no number is no disk of anybody's: "(unknown)" stands for all that are hidden or gone, paths of NVMe
// multipath and ZFS's own among them.
bool is_device(std::string_view word) {
  return parse_u64(take_until(word, ':')).has_value() && parse_u64(word).has_value();
}

Io& io_of(std::vector<Io>& all, std::string_view device) {
  const auto at = std::ranges::find(all, device, &Io::device);
  if (at != all.end()) return *at;
  all.emplace_back().device = device;
  return all.back();
}

class V2Reader final : public Reader {
 public:
  explicit V2Reader(const std::string& folder)
      : cpu_stat_(folder + "/cpu.stat"),
        cpu_max_(folder + "/cpu.max"),
        cpu_weight_(folder + "/cpu.weight"),
        memory_current_(folder + "/memory.current"),
        memory_stat_(folder + "/memory.stat"),
        memory_swap_(folder + "/memory.swap.current"),
        memory_peak_(folder + "/memory.peak"),
        memory_events_(folder + "/memory.events"),
        memory_max_(folder + "/memory.max"),
        swap_max_(folder + "/memory.swap.max"),
        io_stat_(folder + "/io.stat"),
        pids_current_(folder + "/pids.current"),
        pids_max_(folder + "/pids.max"),
        pressures_{CgroupFile(folder + "/cpu.pressure"), CgroupFile(folder + "/memory.pressure"),
                   CgroupFile(folder + "/io.pressure")} {}

  void read(Values& out, LeftOut& left_out) override {
    auto& n = out.numbers;
    n.fill(kNone);
    cpu_stat_.pairs(left_out, [&](std::string_view name, double value) {
      if (name == "usage_usec") n[cpu_usage] = value / kMicro;
      else if (name == "user_usec") n[cpu_user] = value / kMicro;
      else if (name == "system_usec") n[cpu_system] = value / kMicro;
      else if (name == "nr_periods") n[cpu_periods] = value;
      else if (name == "nr_throttled") n[cpu_throttled_periods] = value;
      else if (name == "throttled_usec") n[cpu_throttled] = value / kMicro;
    });
    read_cpu_limit(n, left_out);
    n[memory_usage] = memory_current_.number(left_out);
    double inactive = kNone;
    memory_stat_.pairs(left_out, [&](std::string_view name, double value) {
      if (name == "anon") n[memory_rss] = value;
      else if (name == "file") n[memory_cache] = value;
      else if (name == "file_mapped") n[memory_mapped] = value;
      else if (name == "inactive_file") inactive = value;
      else if (name == "pgfault") n[memory_pgfault] = value;
      else if (name == "pgmajfault") n[memory_pgmajfault] = value;
    });
    n[memory_working_set] = not_below_0(n[memory_usage] - inactive);
    n[memory_swap] = memory_swap_.number(left_out);
    n[memory_max_usage] = memory_peak_.number(left_out);
    memory_events_.pairs(left_out, [&](std::string_view name, double value) {
      if (name == "max") n[memory_failcnt] = value;
      else if (name == "oom_kill") n[memory_oom] = value;
    });
    n[memory_limit] = memory_max_.limit(left_out);
    n[swap_limit] = swap_max_.limit(left_out);
    n[threads] = pids_current_.number(left_out);
    n[threads_limit] = pids_max_.limit(left_out);
    for (std::size_t i = 0; i < pressures_.size(); ++i) read_pressure(pressures_[i], n, cpu_waiting + 2 * i, left_out);
    read_io(out.io, left_out);
  }

 private:
  // "max 100000", "50000 100000"
  void read_cpu_limit(std::array<double, kNumbers>& n, LeftOut& left_out) {
    if (const auto text = cpu_max_.read(left_out)) {
      std::string_view rest = *text;
      const auto quota = take_word(rest), period = take_word(rest);
      const auto of = parse_u64(period), is = parse_u64(quota);
      if (!of || (!is && quota != "max")) {
        left_out.add(malformed(cpu_max_.path(), *text, "a quota or max, and a period"));
      } else {
        n[cpu_period] = static_cast<double>(*of);
        if (is) n[cpu_quota] = static_cast<double>(*is);
      }
    }
    // weight = 1 + (shares - 2) * 9999 / 262142, as the runtimes make one of the other.
    const auto weight = cpu_weight_.number(left_out);
    if (weight >= 1) n[cpu_shares] = std::round(2 + (weight - 1) * 262142 / 9999);
  }
  // "some avg10=0.00 avg60=0.00 avg300=0.00 total=123"
  static void read_pressure(CgroupFile& file, std::array<double, kNumbers>& n, std::size_t some, LeftOut& left_out) {
    const auto text = file.read(left_out);
    if (!text) return;
    std::string_view lines = *text;
    if (is_blank(lines)) left_out.add(malformed(file.path(), lines, "some or full with a total"));
    while (!lines.empty()) {
      const auto line = take_line(lines);
      const auto at = line.rfind("total=");
      const auto us = parse_u64(at == std::string_view::npos ? std::string_view() : trim(line.substr(at + 6)));
      const bool is_some = line.starts_with("some ");
      if (!us || (!is_some && !line.starts_with("full "))) {
        left_out.add(malformed(file.path(), line, "some or full with a total"));
        continue;
      }
      n[is_some ? some : some + 1] = static_cast<double>(*us) / kMicro;
    }
  }
  // "8:0 rbytes=90112 wbytes=0 rios=22 wios=0 dbytes=0 dios=0"; a device without numbers has nothing moved, and Linux
  // 5.14 to 5.16 end its line with the next one's: "7:7 7:6 7:5 rbytes=28672 ..." are the bytes of 7:5.
  void read_io(std::vector<Io>& out, LeftOut& left_out) {
    out.clear();
    const auto text = io_stat_.read(left_out);
    if (!text) return;
    std::string_view lines = *text;
    while (!lines.empty()) {
      const auto line = take_line(lines);
      std::string_view rest = line;
      Io io;
      bool any = false;
      const auto end_device = [&] {
        if (any && !io.device.empty()) out.push_back(std::move(io));
        io = {};
        any = false;
      };
      for (auto word = take_word(rest); !word.empty(); word = take_word(rest)) {
        if (word.find('=') == word.npos) {
          end_device();
          if (is_device(word)) io.device = word;
          continue;
        }
        constexpr std::pair<std::string_view, IoNumber> kKeys[] = {
            {"rbytes=", read_bytes}, {"wbytes=", written_bytes}, {"rios=", reads}, {"wios=", writes}};
        for (const auto& [key, number] : kKeys) {
          std::string_view value = word;
          if (!take_prefix(value, key)) continue;
          const auto n = parse_u64(value);
          if (!n) {
            left_out.add(malformed(io_stat_.path(), line, "numbers of bytes and requests"));
            break;  // the others of its line are good
          }
          io.values[number] = static_cast<double>(*n);
          any = true;
        }
      }
      end_device();
    }
  }

  CgroupFile cpu_stat_, cpu_max_, cpu_weight_, memory_current_, memory_stat_, memory_swap_, memory_peak_,
      memory_events_, memory_max_, swap_max_, io_stat_, pids_current_, pids_max_;
  std::array<CgroupFile, 3> pressures_;
};

class V1Reader final : public Reader {
 public:
  V1Reader(const std::string& root, const std::string& path, double ticks)
      : ticks_(ticks),
        cpu_usage_(root + "/cpuacct" + path + "/cpuacct.usage"),
        cpu_stat_(root + "/cpuacct" + path + "/cpuacct.stat"),
        throttling_(root + "/cpu" + path + "/cpu.stat"),
        quota_(root + "/cpu" + path + "/cpu.cfs_quota_us"),
        period_(root + "/cpu" + path + "/cpu.cfs_period_us"),
        shares_(root + "/cpu" + path + "/cpu.shares"),
        memory_usage_(root + "/memory" + path + "/memory.usage_in_bytes"),
        memory_stat_(root + "/memory" + path + "/memory.stat"),
        memory_max_usage_(root + "/memory" + path + "/memory.max_usage_in_bytes"),
        memory_failcnt_(root + "/memory" + path + "/memory.failcnt"),
        memory_oom_(root + "/memory" + path + "/memory.oom_control"),
        memory_limit_(root + "/memory" + path + "/memory.limit_in_bytes"),
        swap_limit_(root + "/memory" + path + "/memory.memsw.limit_in_bytes"),
        io_bytes_(root + "/blkio" + path + "/blkio.throttle.io_service_bytes_recursive"),
        io_requests_(root + "/blkio" + path + "/blkio.throttle.io_serviced_recursive"),
        pids_current_(root + "/pids" + path + "/pids.current"),
        pids_max_(root + "/pids" + path + "/pids.max") {}

  void read(Values& out, LeftOut& left_out) override {
    auto& n = out.numbers;
    n.fill(kNone);
    n[cpu_usage] = cpu_usage_.number(left_out, kNano);
    cpu_stat_.pairs(left_out, [&](std::string_view name, double value) {
      if (name == "user") n[cpu_user] = value / ticks_;
      else if (name == "system") n[cpu_system] = value / ticks_;
    });
    throttling_.pairs(left_out, [&](std::string_view name, double value) {
      if (name == "nr_periods") n[cpu_periods] = value;
      else if (name == "nr_throttled") n[cpu_throttled_periods] = value;
      else if (name == "throttled_time") n[cpu_throttled] = value / kNano;
    });
    n[cpu_quota] = quota_.limit(left_out);
    n[cpu_period] = period_.number(left_out);
    n[cpu_shares] = shares_.number(left_out);
    n[memory_usage] = memory_usage_.number(left_out);
    double inactive = kNone;
    memory_stat_.pairs(left_out, [&](std::string_view name, double value) {
      if (name == "total_rss") n[memory_rss] = value;
      else if (name == "total_cache") n[memory_cache] = value;
      else if (name == "total_mapped_file") n[memory_mapped] = value;
      else if (name == "total_inactive_file") inactive = value;
      else if (name == "total_swap") n[memory_swap] = value;
      else if (name == "total_pgfault") n[memory_pgfault] = value;
      else if (name == "total_pgmajfault") n[memory_pgmajfault] = value;
    });
    n[memory_working_set] = not_below_0(n[memory_usage] - inactive);
    n[memory_max_usage] = memory_max_usage_.number(left_out);
    n[memory_failcnt] = memory_failcnt_.number(left_out);
    memory_oom_.pairs(left_out, [&](std::string_view name, double value) {
      if (name == "oom_kill") n[memory_oom] = value;
    });
    n[memory_limit] = memory_limit_.limit(left_out);
    n[swap_limit] = swap_limit_.limit(left_out);
    n[threads] = pids_current_.number(left_out);
    n[threads_limit] = pids_max_.limit(left_out);
    out.io.clear();
    read_io(io_bytes_, read_bytes, written_bytes, out.io, left_out);
    read_io(io_requests_, reads, writes, out.io, left_out);
  }

 private:
  // "8:0 Read 90112", with lines for Sync, Async and Total, and at the end "Total 90112"
  static void read_io(CgroupFile& file, IoNumber read, IoNumber write, std::vector<Io>& out, LeftOut& left_out) {
    const auto text = file.read(left_out);
    if (!text) return;
    std::string_view lines = *text;
    while (!lines.empty()) {
      const auto line = take_line(lines);
      std::string_view rest = line;
      const auto device = take_word(rest), what = take_word(rest);
      if (!is_device(device) || (what != "Read" && what != "Write")) continue;  // the last line is "Total 90112"
      const auto n = parse_u64(trim(rest));
      if (!n) {
        left_out.add(malformed(file.path(), line, "a device, an operation and a number"));
        continue;
      }
      io_of(out, device).values[what == "Read" ? read : write] = static_cast<double>(*n);
    }
  }

  const double ticks_;
  CgroupFile cpu_usage_, cpu_stat_, throttling_, quota_, period_, shares_, memory_usage_, memory_stat_,
      memory_max_usage_, memory_failcnt_, memory_oom_, memory_limit_, swap_limit_, io_bytes_, io_requests_,
      pids_current_, pids_max_;
};

}  // namespace

std::unique_ptr<Reader> v2_reader(const std::string& folder) { return std::make_unique<V2Reader>(folder); }
std::unique_ptr<Reader> v1_reader(const std::string& root, const std::string& path, double clock_ticks_per_second) {
  return std::make_unique<V1Reader>(root, path, clock_ticks_per_second);
}

}  // namespace vitald::cgroup
