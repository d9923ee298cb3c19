// SPDX-License-Identifier: Apache-2.0
// Metrics that others leave in *.prom files of a directory.
#include <fcntl.h>
#include <fmt/format.h>
#include <glob.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/fd.h"
#include "core/os/file_stamp.h"
#include "core/os/kernel_file.h"
#include "sensors/read/exposition.h"
#include "sensors/read/exposition_plan.h"
#include "sensors/read/exposition_size.h"
#include "sensors/read/open_metrics.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"node_textfile_mtime_seconds", MetricType::gauge, "Unixtime mtime of textfiles successfully read.", "file",
     "seconds", "stat(2) of *.prom"},
    {"node_textfile_scrape_error", MetricType::gauge, "1 if there was an error opening or reading a file, 0 otherwise",
     "", "", "*.prom"},
    // The host's power may come from a file: what it said when its writer died is no power of now.
    // With the labels of the series.
    {"vitald_textfile_power_mtime_seconds", MetricType::gauge,
     "When the file was written that a series of what --collector.host_power.external names is in.", "*", "seconds",
     "stat(2) of *.prom", Shown::inside},
};
constexpr auto& kPowerMtime = row(kMetrics, "vitald_textfile_power_mtime_seconds");
constexpr auto& kMtime = row(kMetrics, "node_textfile_mtime_seconds");
constexpr auto& kScrapeError = row(kMetrics, "node_textfile_scrape_error");

constexpr FlagSpec kFlags[] = {
    {"collector.textfile.directory", FlagType::list, "",
     "Directory to read text files with metrics from, supports glob matching. (repeatable)"},
    {.name = "collector.textfile.max-series",
     .type = FlagType::number,
     .fallback = "20000",
     .help =
         "How many lines with a number are taken of all text files together, of 200 bytes on average and with 4 "
         "comments for each; the largest files are left out where there is more. As many take some 50 MB of memory.",
     .least = 1,
     .most = 10'000'000},
};

constexpr std::string_view kExternal = "collector.host_power.external";
constexpr std::string_view kOthersFlags[] = {kExternal};

struct File {
  std::string directory, name;
  FileStamp stamp;
  Result<Exposition> content;
  ExpositionSize size;  // as far as it was found out before it was refused
  bool seen = false, changed = false;
  bool fits = true;  // beside the smaller ones
};

// What all files together may be.
struct Room {
  ExpositionSize most, used;

  explicit Room(std::size_t series) : most{200 * series, series, 4 * series} {}
  [[nodiscard]] Result<> take_in(const std::string& path, const ExpositionSize& size) const {
    const auto check = [&](std::size_t ExpositionSize::*of, std::string_view what) -> Result<> {
      if (used.*of <= most.*of && size.*of <= most.*of - used.*of) return {};
      return fail(Errc::malformed, fmt::format("{}: {} {}, at most {} are taken of all text files together, the "
                                               "smallest first: --collector.textfile.max-series",
                                               path, size.*of, what, most.*of));
    };
    if (auto bytes = check(&ExpositionSize::bytes, "bytes"); !bytes) return bytes;
    if (auto samples = check(&ExpositionSize::samples, "samples"); !samples) return samples;
    return check(&ExpositionSize::comments, "comments");
  }
};

// Whoever may write to the directory must not have the agent, which may read all, read what is elsewhere; and where
// everybody may, not what is nobody's of its keepers. Looked at once it is open: names may change meanwhile.
Result<Fd> open_inside(const std::string& path, const std::string& directory, const std::string& name) {
  const Fd folder(open(directory.c_str(), O_PATH | O_DIRECTORY | O_CLOEXEC));
  if (!folder) return fail(from_errno(directory, errno));
  open_how how{};
  how.flags = O_RDONLY | O_NONBLOCK | O_CLOEXEC;
  how.resolve = RESOLVE_BENEATH;
  Fd file(static_cast<int>(syscall(SYS_openat2, folder.get(), name.c_str(), &how, sizeof how)));
  if (!file && (errno == ENOSYS || errno == EPERM))  // before Linux 5.6, or a filter of system calls
    file.reset(openat(folder.get(), name.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW));
  if (!file && (errno == EXDEV || errno == ELOOP))
    return fail(Errc::denied, path + ": a link out of its directory is not read: copy the file there");
  if (!file) return fail(from_errno(path, errno));
  struct stat keeper {
  }, st{};
  if (fstat(folder.get(), &keeper) != 0 || fstat(file.get(), &st) != 0) return fail(from_errno(path, errno));
  if (!S_ISREG(st.st_mode)) return fail(Errc::io, path + ": not a regular file");
  if ((keeper.st_mode & S_IWOTH) != 0 && st.st_uid != 0 && st.st_uid != geteuid() && st.st_uid != keeper.st_uid)
    return fail(Errc::denied, path +
                                  ": everybody may write to its directory, and it belongs to none of root, the "
                                  "directory's owner and vitald");
  return file;
}

// Nothing is read of what is too large. That is `malformed`, so that it is looked at again when it has changed.
Result<Exposition> read_exposition(const std::string& path, File& known, const Room& room) {
  known.fits = false;
  known.size = {};
  const auto file = open_inside(path, known.directory, known.name);
  if (!file) return fail(file.error());
  struct stat st {};
  if (fstat(file->get(), &st) != 0) return fail(from_errno(path, errno));
  known.size.bytes = static_cast<std::size_t>(st.st_size);
  if (auto fits = room.take_in(path, known.size); !fits) return fail(std::move(fits.error()));
  // Not by the buffer of kernel files, which stays as large as the largest.
  const auto text = read_text_file(fmt::format("/proc/self/fd/{}", file->get()), room.most.bytes);
  if (!text) {
    if (text.error().kind == Errc::malformed) known.size.bytes = room.most.bytes + 1;  // it has grown, or has no size
    return fail({text.error().kind, text.error().err, path + ": " + text.error().text});
  }
  known.size = exposition_size(*text);
  if (auto fits = room.take_in(path, known.size); !fits) return fail(std::move(fits.error()));
  known.fits = true;
  auto parsed = parse_any_exposition(*text);
  if (!parsed) return fail(Errc::malformed, path + ": " + parsed.error().text);
  if (parsed->timestamps)
    return fail(Errc::malformed, path + ": contains unsupported client-side timestamps, skipping entire file");
  return parsed;
}

// What the pattern matches, else the pattern itself, so that a directory that is missing is an error.
std::vector<std::string> expand(const std::string& pattern) {
  glob_t found{};
  std::vector<std::string> paths;
  if (glob(pattern.c_str(), 0, nullptr, &found) == 0) paths.assign(found.gl_pathv, found.gl_pathv + found.gl_pathc);
  globfree(&found);
  if (paths.empty()) paths.push_back(pattern);
  return paths;
}

class Textfile final : public Collector {
 public:
  Textfile(const Host& host, std::vector<std::string> patterns, std::size_t most_series, std::string power)
      : host_(host), patterns_(std::move(patterns)), most_series_(most_series), power_(std::move(power)) {}

  Result<> collect(BatchWriter& out) override {
    std::vector<Error> problems;
    if (list_files(problems)) plan();
    plan_.emit(out);
    for (const auto& path : order_) {
      const auto& file = files_.find(path)->second;
      if (file.content) out.set(kMtime, static_cast<double>(file.stamp.status().st_mtim.tv_sec), path);
      else problems.push_back(file.content.error());
    }
    if (!power_.empty())
      plan_.each(power_, [&](std::span<const Label> labels, std::size_t source) {
        out.set_labels(kPowerMtime, mtimes_s_[source], labels);
      });
    out.set(kScrapeError, problems.empty() && plan_.conflicts().empty() ? 0 : 1);
    for (const auto& conflict : plan_.conflicts()) out.problem(conflict);
    for (auto& problem : problems) out.problem(std::move(problem));
    // Like node_exporter: the collector has succeeded, its own metric tells of bad files.
    return {};
  }

 private:
  // Parses what is new or changed, the smallest first. True when anything is.
  bool list_files(std::vector<Error>& problems) {
    bool changed = false;
    std::vector<std::string> order;
    for (auto& [path, file] : files_) file.seen = false;
    for (const auto& pattern : patterns_) {
      if (pattern.empty()) continue;
      for (const auto& directory : expand(pattern)) {
        const auto names = list_directory(directory);
        if (!names) {
          problems.push_back(names.error());
          continue;
        }
        for (const auto& name : *names) {
          if (!name.ends_with(".prom")) continue;
          auto path = (std::filesystem::path(directory) / name).lexically_normal().string();
          if (std::ranges::find(order, path) != order.end()) continue;  // a folder that two patterns match
          auto& file = files_[path];
          file.seen = true;
          file.directory = directory;
          file.name = name;
          file.changed = file.stamp.changed(path, host_.clock());
          order.push_back(std::move(path));
        }
      }
    }
    auto by_size = order;
    std::ranges::stable_sort(by_size, {}, [this](const auto& path) {
      const auto& stamp = files_.find(path)->second.stamp;
      return stamp.there() ? stamp.status().st_size : 0;
    });
    Room room(most_series_);
    for (const auto& path : by_size) changed |= refresh(path, files_.find(path)->second, room);
    changed |= std::erase_if(files_, [](const auto& entry) { return !entry.second.seen; }) > 0 || order != order_;
    order_ = std::move(order);
    return changed;
  }

  bool refresh(const std::string& path, File& file, Room& room) {
    const bool had = file.content.has_value();
    // One that could not be read (EACCES, or a network that is away) may be now, without having changed.
    const bool unread = !had && file.content.error().kind != Errc::malformed;
    bool again = true;
    if (!file.stamp.there()) file.content = fail(from_errno(path, file.stamp.error()));
    // A directory or a pipe with that name would block or give nothing.
    else if (!S_ISREG(file.stamp.status().st_mode)) file.content = fail(Errc::io, path + ": not a regular file");
    else if (file.changed || unread || room.take_in(path, file.size).has_value() != file.fits) {
      file.content = Exposition();  // of the old one and the new one there is not room for both
      file.content = read_exposition(path, file, room);
    } else again = false;
    if (file.content) room.used += file.size;
    return again && (had || file.content);
  }

  void plan() {
    std::vector<ExpositionSource> sources;
    mtimes_s_.clear();
    for (const auto& path : order_) {
      const auto& file = files_.find(path)->second;
      if (!file.content) continue;
      sources.push_back({path, &*file.content});
      const auto& written = file.stamp.status().st_mtim;
      mtimes_s_.push_back(static_cast<double>(written.tv_sec) + static_cast<double>(written.tv_nsec) / 1e9);
    }
    plan_.build(sources);
  }

  const Host& host_;
  std::vector<std::string> patterns_;
  const std::size_t most_series_;
  const std::string power_;       // the family whose age is told; may be empty
  std::vector<double> mtimes_s_;  // of plan_'s sources, since the epoch
  std::map<std::string, File> files_;
  std::vector<std::string> order_;                      // as read: by directory, then by name
  ExpositionPlan plan_{"Metric read from ", kMetrics};  // of files_
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return std::make_unique<Textfile>(host, options.list("collector.textfile.directory"),
                                    static_cast<std::size_t>(options.number("collector.textfile.max-series")),
                                    std::string(options.text(kExternal)));
}

}  // namespace

extern const CollectorInfo collector_textfile;
const CollectorInfo collector_textfile{kMetrics, kFlags, make, kOthersFlags};

}  // namespace vitald
