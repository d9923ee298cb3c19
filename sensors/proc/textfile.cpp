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
#include "sensors/read/open_metrics.h"

namespace vitald {
namespace {

constexpr MetricDesc kMetrics[] = {
    {"node_textfile_mtime_seconds", MetricType::gauge, "Unixtime mtime of textfiles successfully read.", "file",
     "seconds", "stat(2) of *.prom"},
    {"node_textfile_scrape_error", MetricType::gauge, "1 if there was an error opening or reading a file, 0 otherwise",
     "", "", "*.prom"},
};
constexpr auto& kMtime = row(kMetrics, "node_textfile_mtime_seconds");
constexpr auto& kScrapeError = row(kMetrics, "node_textfile_scrape_error");

constexpr FlagSpec kFlags[] = {
    {"collector.textfile.directory", FlagType::list, "",
     "Directory to read text files with metrics from, supports glob matching. (repeatable)"},
};

struct File {
  FileStamp stamp;
  Result<Exposition> content;
  bool seen = false;
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

Result<Exposition> read_exposition(const std::string& path, const std::string& directory, const std::string& name) {
  const auto file = open_inside(path, directory, name);
  if (!file) return fail(file.error());
  const auto text = read_kernel_file(fmt::format("/proc/self/fd/{}", file->get()));
  if (!text) return fail({text.error().kind, text.error().err, path + ": " + text.error().text});
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
  Textfile(const Host& host, std::vector<std::string> patterns) : host_(host), patterns_(std::move(patterns)) {}

  Result<> collect(BatchWriter& out) override {
    std::vector<Error> problems;
    if (list_files(problems)) plan();
    plan_.emit(out);
    for (const auto& path : order_) {
      const auto& file = files_.find(path)->second;
      if (file.content) out.set(kMtime, static_cast<double>(file.stamp.status().st_mtim.tv_sec), path);
      else problems.push_back(file.content.error());
    }
    out.set(kScrapeError, problems.empty() && plan_.conflicts().empty() ? 0 : 1);
    for (const auto& conflict : plan_.conflicts()) out.problem(conflict);
    for (auto& problem : problems) out.problem(std::move(problem));
    // Like node_exporter: the collector has succeeded, its own metric tells of bad files.
    return {};
  }

 private:
  // Parses what is new or changed. True when anything is.
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
          changed |= refresh(path, directory, name);
          order.push_back(std::move(path));
        }
      }
    }
    changed |= std::erase_if(files_, [](const auto& entry) { return !entry.second.seen; }) > 0 || order != order_;
    order_ = std::move(order);
    return changed;
  }

  bool refresh(const std::string& path, const std::string& directory, const std::string& name) {
    auto [it, added] = files_.try_emplace(path);
    auto& file = it->second;
    file.seen = true;
    const bool changed = file.stamp.changed(path, host_.clock());
    if (!file.stamp.there()) {
      file.content = fail(from_errno(path, file.stamp.error()));
      return true;
    }
    // One that could not be read (EACCES, or a network that is away) may be now, without having changed.
    const bool unread = !file.content && file.content.error().kind != Errc::malformed;
    if (!added && !changed && !unread) return false;
    // A directory or a pipe with that name would block or give nothing.
    if (S_ISREG(file.stamp.status().st_mode)) file.content = read_exposition(path, directory, name);
    else file.content = fail(Errc::io, path + ": not a regular file");
    return true;
  }

  void plan() {
    std::vector<ExpositionSource> sources;
    for (const auto& path : order_)
      if (const auto& content = files_.find(path)->second.content) sources.push_back({path, &*content});
    plan_.build(sources);
  }

  const Host& host_;
  std::vector<std::string> patterns_;
  std::map<std::string, File> files_;
  std::vector<std::string> order_;            // as read: by directory, then by name
  ExpositionPlan plan_{"Metric read from "};  // of files_
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return std::make_unique<Textfile>(host, options.list("collector.textfile.directory"));
}

}  // namespace

extern const CollectorInfo collector_textfile;
const CollectorInfo collector_textfile{kMetrics, kFlags, make};

}  // namespace vitald
