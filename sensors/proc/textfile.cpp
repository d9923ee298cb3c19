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
#include <cmath>
#include <deque>
#include <filesystem>
#include <limits>
#include <map>
#include <set>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/fd.h"
#include "core/os/file_stamp.h"
#include "core/os/kernel_file.h"
#include "sensors/read/exposition.h"

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
  auto parsed = parse_exposition(*text);
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
    out.use(descs_);
    for (const auto& item : plan_)
      out.set_labels(*item.desc, item.value, std::span(labels_).subspan(item.first_label, item.label_count), item.part);
    for (const auto& path : order_) {
      const auto& file = files_.find(path)->second;
      if (file.content) out.set(kMtime, static_cast<double>(file.stamp.status().st_mtim.tv_sec), path);
      else problems.push_back(file.content.error());
    }
    out.set(kScrapeError, problems.empty() && conflicts_.empty() ? 0 : 1);
    for (const auto& conflict : conflicts_) out.problem(conflict);
    for (auto& problem : problems) out.problem(std::move(problem));
    // Like node_exporter: the collector has succeeded, its own metric tells of bad files.
    return {};
  }

 private:
  struct Item {
    const MetricDesc* desc = nullptr;
    Part part = Part::value;
    std::uint32_t first_label = 0, label_count = 0;
    double value = 0;
  };

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
    plan_.clear();
    labels_.clear();
    texts_.clear();
    conflicts_.clear();
    struct Found {
      const ExpositionFamily* family;
      std::string_view path;
    };
    std::vector<Found> families;
    std::map<std::string_view, std::string> sources;  // the files that have a family, for those without HELP
    struct Help {
      std::string_view text;
      bool conflict = false;
    };
    std::map<std::string_view, Help> helps;
    std::map<std::string_view, MetricType> types;
    for (const auto& path : order_) {
      const auto& content = files_.find(path)->second.content;
      if (!content) continue;
      for (const auto& family : content->families) {
        // The first HELP text wins; a family with another one is left out, and so are all after it.
        if (const auto known = helps.find(family.name);
            known != helps.end() && ((family.help && *family.help != known->second.text) || known->second.conflict)) {
          known->second.conflict = true;
          conflicts_.push_back({Errc::malformed, 0,
                                fmt::format("{}: {}: help text '{}' differs from '{}' in {}", path, family.name,
                                            family.help.value_or(""), known->second.text, sources[family.name])});
          continue;
        }
        if (const auto known = types.find(family.name); known != types.end() && known->second != family.type) {
          conflicts_.push_back({Errc::malformed, 0,
                                fmt::format("{}: {} is a {} but was a {} in {}", path, family.name,
                                            to_string(family.type), to_string(known->second), sources[family.name])});
          continue;
        }
        types.emplace(family.name, family.type);
        if (family.help) helps.emplace(family.name, Help{*family.help});
        auto& from = sources[family.name];
        if (!from.empty()) from += ", ";
        from += path;
        families.push_back({&family, path});
      }
    }

    std::map<std::string_view, std::string> texts;
    for (const auto& [family, path] : families) {
      const auto help = helps.find(family->name);
      texts.emplace(family->name,
                    help != helps.end() ? std::string(help->second.text) : "Metric read from " + sources[family->name]);
    }
    // Descriptors stay as long as no family changed its kind or text, so that new numbers in a file keep
    // the layout.
    const bool keep = std::ranges::all_of(families, [&](const auto& found) {
      const auto* family = found.family;
      const auto* desc = descs_->find(family->name);
      return !desc || (desc->type == family->type && desc->help == texts[family->name]);
    });
    if (!keep) descs_ = std::make_shared<DescPool>();
    std::set<std::string> seen;
    for (const auto& [family, path] : families)
      add(*family, path, descs_->get(family->name, family->type, texts[family->name]), seen);
  }

  // False, and said, when a file has that series already: Prometheus refuses a scrape that has one twice.
  bool is_first(const ExpositionFamily& family, const ExpositionSeries& series, std::string_view path,
                std::set<std::string>& seen) {
    auto labels = series.labels;
    std::erase_if(labels, [](const auto& label) { return label.second.empty(); });  // as if it were not there
    std::ranges::sort(labels);
    std::string key = family.name, text;
    for (const auto& [name, value] : labels) {
      key.append(1, '\0').append(name).append(1, '\0').append(value);
      text += fmt::format("{}{}=\"{}\"", text.empty() ? "" : ",", name, value);
    }
    if (seen.insert(std::move(key)).second) return true;
    conflicts_.push_back({Errc::malformed, 0,
                          fmt::format("{}: {}{{{}}} is there twice, the first one is kept", path, family.name, text)});
    return false;
  }

  void add(const ExpositionFamily& family, std::string_view path, const MetricDesc& desc, std::set<std::string>& seen) {
    std::set<std::string_view> names;
    for (const auto& series : family.series)
      for (const auto& [name, value] : series.labels) names.insert(name);
    for (const auto& series : family.series) {
      if (!is_first(family, series, path, seen)) continue;
      // Every series of a family in a file gets all its label names; those it lacks are empty.
      std::vector<Label> labels;
      for (const auto name : names) {
        const auto it = std::ranges::find(series.labels, name, &std::pair<std::string, std::string>::first);
        labels.push_back({name, it == series.labels.end() ? std::string_view{} : std::string_view(it->second)});
      }
      if (family.type != MetricType::histogram && family.type != MetricType::summary) {
        put(desc, Part::value, labels, series.value);
        continue;
      }
      const bool histogram = family.type == MetricType::histogram;
      const auto extra = [&](double at, double value) {
        auto with = labels;
        with.push_back({histogram ? "le" : "quantile", texts_.emplace_back(go_number(at))});
        put(desc, histogram ? Part::bucket : Part::value, with, value);
      };
      for (const auto& [at, value] : series.points) extra(at, value);
      const double end = std::numeric_limits<double>::infinity();
      if (histogram && !series.points.contains(end)) extra(end, series.count);
      put(desc, Part::sum, labels, series.sum);
      put(desc, Part::count, labels, series.count);
    }
  }

  void put(const MetricDesc& desc, Part part, const std::vector<Label>& labels, double value) {
    plan_.push_back(
        {&desc, part, static_cast<std::uint32_t>(labels_.size()), static_cast<std::uint32_t>(labels.size()), value});
    labels_.insert(labels_.end(), labels.begin(), labels.end());
  }

  const Host& host_;
  std::vector<std::string> patterns_;
  std::map<std::string, File> files_;
  std::vector<std::string> order_;  // as read: by directory, then by name
  DescPoolPtr descs_ = std::make_shared<DescPool>();
  // Everything to emit; views into files_ and texts_.
  std::vector<Item> plan_;
  std::vector<Label> labels_;
  std::deque<std::string> texts_;
  std::vector<Error> conflicts_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options& options) {
  return std::make_unique<Textfile>(host, options.list("collector.textfile.directory"));
}

}  // namespace

extern const CollectorInfo collector_textfile;
const CollectorInfo collector_textfile{kMetrics, kFlags, make};

}  // namespace vitald
