// SPDX-License-Identifier: Apache-2.0
// Which distribution this is and until when it is supported, from os-release.
#include <fmt/format.h>

#include <array>
#include <chrono>
#include <string>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/file_stamp.h"
#include "core/os/kernel_file.h"
#include "core/os/root_path.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_os_info", gauge,
     "A metric with a constant '1' value labeled by build_id, id, id_like, image_id, image_version, name, pretty_name, "
     "variant, variant_id, version, version_codename, version_id.",
     "build_id,id,id_like,image_id,image_version,name,pretty_name,variant,variant_id,version,version_codename,"
     "version_id",
     "", "/etc/os-release, /usr/lib/os-release"},
    {"node_os_version", gauge, "Metric containing the major.minor part of the OS version.", "id,id_like,name", "",
     "/etc/os-release"},
    {"node_os_support_end_timestamp_seconds", gauge, "Metric containing the end-of-life date timestamp of the OS.", "",
     "seconds", "/etc/os-release"},
};
constexpr const MetricDesc& kInfo = row(kMetrics, "node_os_info");
constexpr const MetricDesc& kOsVersion = row(kMetrics, "node_os_version");
constexpr const MetricDesc& kOsSupportEnd = row(kMetrics, "node_os_support_end_timestamp_seconds");
enum Key {
  kBuildId,
  kId,
  kIdLike,
  kImageId,
  kImageVersion,
  kName,
  kPrettyName,
  kVariant,
  kVariantId,
  kVersion,
  kVersionCodename,
  kVersionId,
  kSupportEnd,
  kKeys
};
constexpr std::array<std::string_view, kKeys> kNames = {
    "BUILD_ID", "ID",         "ID_LIKE", "IMAGE_ID",         "IMAGE_VERSION", "NAME",       "PRETTY_NAME",
    "VARIANT",  "VARIANT_ID", "VERSION", "VERSION_CODENAME", "VERSION_ID",    "SUPPORT_END"};

// A value of os-release(5): shell quoting, without expansion.
std::string unquote(std::string_view text) {
  if (text.size() >= 2 && text.front() == '\'' && text.back() == '\'')
    return std::string(text.substr(1, text.size() - 2));
  const bool quoted = text.size() >= 2 && text.front() == '"' && text.back() == '"';
  if (quoted) text = text.substr(1, text.size() - 2);
  std::string out;
  for (std::size_t i = 0; i < text.size(); ++i) {
    if (text[i] == '\\' && i + 1 < text.size()) ++i;
    out += text[i];
  }
  return out;
}

// "12.5.1" gives 12.5, "rolling" nothing
std::optional<double> major_minor(std::string_view version) {
  std::string_view rest = version;
  if (!take_u64(rest)) return std::nullopt;
  if (take_prefix(rest, ".")) take_u64(rest);
  return parse_double(version.substr(0, version.size() - rest.size()));
}

// "2027-05-31", midnight UTC
std::optional<double> date_seconds(std::string_view date) {
  const auto year = parse_int<int>(take_until(date, '-'));
  const auto month = parse_int<unsigned>(take_until(date, '-'));
  const auto day = parse_int<unsigned>(date);
  if (!year || !month || !day) return std::nullopt;
  const std::chrono::year_month_day ymd{std::chrono::year(*year), std::chrono::month(*month), std::chrono::day(*day)};
  if (!ymd.ok()) return std::nullopt;
  return static_cast<double>(std::chrono::sys_days(ymd).time_since_epoch().count()) * 86400;
}

class Os final : public Collector {
 public:
  explicit Os(const Host& host) : host_(host), files_{{"/etc/os-release", {}, {}}, {"/usr/lib/os-release", {}, {}}} {}

  Result<> collect(BatchWriter& out) override {
    if (auto read = refresh(); !read) return absent_when_gone(read.error());
    std::array<std::string_view, kSupportEnd> labels;
    for (std::size_t i = 0; i < labels.size(); ++i) labels[i] = values_[i];
    out.set_values(kInfo, 1, labels);
    if (const auto v = major_minor(values_[kVersionId]); v && *v > 0)
      out.set(kOsVersion, *v, values_[kId], values_[kIdLike], values_[kName]);
    if (values_[kSupportEnd].empty()) return {};
    const auto end = date_seconds(values_[kSupportEnd]);
    if (!end) return malformed("os-release", values_[kSupportEnd], "SUPPORT_END as YYYY-MM-DD");
    out.set(kOsSupportEnd, *end);
    return {};
  }

 private:
  struct File {
    std::string_view of_host;
    std::string path;  // where that is found now
    FileStamp stamp;
  };

  // An upgrade puts another file in its place, somebody edits it, or a link on the way to it leads elsewhere (NixOS has
  // three with absolute targets).
  Result<> refresh() {
    for (auto& file : files_) {
      file.path = path_below_root(host_.roots().root, file.of_host);
      const bool changed = file.stamp.changed(file.path, host_.clock());
      if (!file.stamp.there()) continue;
      if (!changed && known_ == &file) return {};
      known_ = nullptr;
      const auto text = read_kernel_file(file.path);
      if (!text) return fail(text.error());
      if (is_blank(*text)) return malformed(file.path, "", "lines KEY=value");
      parse(*text);
      known_ = &file;
      return {};
    }
    known_ = nullptr;
    return fail(from_errno(files_[1].path, ENOENT));
  }

  // VERSION="12 (bookworm)"
  void parse(std::string_view text) {
    values_ = {};
    take_prefix(text, "\xef\xbb\xbf");  // editors of other systems begin a file with it
    for (std::string_view rest = text; !rest.empty();) {
      auto line = trim(take_line(rest));
      const auto key = take_until(line, '=');
      for (std::size_t i = 0; i < kKeys; ++i)
        if (kNames[i] == key) values_[i] = unquote(trim(line));
    }
  }

  const Host& host_;
  File files_[2];
  const File* known_ = nullptr;  // whose values these are
  std::array<std::string, kKeys> values_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Os>(host); }

}  // namespace

extern const CollectorInfo collector_os;
const CollectorInfo collector_os{kMetrics, {}, make};

}  // namespace vitald
