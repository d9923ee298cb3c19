// SPDX-License-Identifier: Apache-2.0
// Statistics of ZFS: its cache, pools and datasets, from /proc/spl/kstat/zfs.
#include <cerrno>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/metric_row.h"
#include "core/os/kernel_file.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/read/cleaned_last.h"
#include "sensors/read/family_memo.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_zfs_*", untyped, "*", "", "", "/proc/spl/kstat/zfs"},
    {"node_zfs_zpool_*", untyped, "*", "zpool", "", "/proc/spl/kstat/zfs/*/io"},
    {"node_zfs_zpool_dataset_*", untyped, "*", "zpool,dataset", "", "/proc/spl/kstat/zfs/*/objset-*"},
    {"node_zfs_zpool_state", gauge, "kstat.zfs.misc.state", "zpool,state", "", "/proc/spl/kstat/zfs/*/state"},
};
constexpr const MetricDesc& kState = row(kMetrics, "node_zfs_zpool_state");
constexpr std::string_view kStates[] = {"online", "degraded", "faulted", "offline", "removed", "unavail", "suspended"};

constexpr struct {
  std::string_view subsystem, file;
} kFiles[] = {{"abd", "abdstats"},
              {"arc", "arcstats"},
              {"dbuf", "dbufstats"},
              {"dmu_tx", "dmu_tx"},
              {"dnode", "dnodestats"},
              {"fm", "fm"},
              {"vdev_cache", "vdev_cache_stats"},
              {"vdev_mirror", "vdev_mirror_stats"},
              {"xuio", "xuio_stats"},
              {"zfetch", "zfetchstats"},
              {"zil", "zil"}};

// KSTAT_DATA_INT64 and KSTAT_DATA_UINT64 (lib/libspl/include/sys/kstat.h of OpenZFS).
bool is_number(std::string_view type) { return type == "3" || type == "4"; }

struct Kstat {
  explicit Kstat(const std::string& path) : file(path, KernelFile::Read::records) {}
  KernelFile file;
  FamilyMemo families;
};
struct Pool {
  explicit Pool(const std::string& path)
      : io(path + "/io"), state(path + "/state", KernelFile::Read::records), objsets(path) {}
  Kstat io;
  KernelFile state;
  KernelItems<Kstat> objsets;
};

class Zfs final : public Collector {
 public:
  explicit Zfs(const Host& host) : pools_(host.procfs("spl/kstat/zfs")) {
    for (const auto& f : kFiles) files_.emplace_back(pools_.path() + "/" + std::string(f.file));
  }

  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    if (auto listed = pools_.refresh(); !listed) return absent_when_gone(listed.error());
    LeftOut left_out;
    for (std::size_t i = 0; i < files_.size(); ++i)
      left_out.add(collect_misc(kFiles[i].subsystem, kFiles[i].file, files_[i], out));
    for (auto& [name, pool] : pools_.items()) {
      // Files lie beside the pools' folders; a pool that is exported takes its files away.
      if (auto listed = pool.objsets.refresh(); !listed) {
        if (listed.error().err != ENOTDIR && listed.error().kind != Errc::gone) left_out.add(listed);
        continue;
      }
      left_out.add(collect_io(name, pool.io, out));
      for (auto& [file, objset] : pool.objsets.items())
        if (file.starts_with("objset-")) left_out.add(collect_objset(name, objset, out));
      left_out.add(collect_state(name, pool.state, out));
    }
    return left_out.outcome();
  }

 private:
  FamilyMemo::Family family(std::string_view prefix, std::string_view group, std::string_view field,
                            std::string_view labels) {
    const auto word = metric_name(field);
    const auto& desc = pool_->get(std::string(prefix) + "_" + word, untyped,
                                  "kstat.zfs.misc." + std::string(group) + "." + std::string(field), labels);
    if (desc.labels != labels) return {};  // a field of the pool that is called as one of its datasets'
    return {&desc, word != field};
  }

  // "name                            type data", then "hits                            4    7565574"
  Result<> collect_misc(std::string_view subsystem, std::string_view group, Kstat& kstat, BatchWriter& out) {
    const auto text = kstat.file.read();
    // Which of them there are depends on the version of ZFS.
    if (!text) return text.error().kind == Errc::gone ? Result<>{} : fail(text.error());
    std::string_view rest = *text;
    if (!skip_header(rest)) return malformed(kstat.file.path(), first_line(*text), "a line 'name type data'");
    LeftOut left_out;
    for (std::size_t row = 0; !rest.empty();) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto field = take_word(words);
      const auto type = take_word(words);
      if (!is_number(type)) {  // a text, unless it is no type at all
        if (!field.empty() && !parse_u64(type)) left_out.add(malformed(kstat.file.path(), line, "'name type data'"));
        continue;
      }
      const auto value = parse_double(take_word(words));
      if (!value) {
        left_out.add(malformed(kstat.file.path(), line, "a number"));
        continue;
      }
      const auto& known = kstat.families.at(
          row++, field, [&] { return family("node_zfs_" + std::string(subsystem), group, field, ""); });
      if (known.desc) late_.set(out, *known.desc, *value, known.cleaned);
    }
    late_.finish(out);
    return left_out.outcome();
  }
  static std::string_view first_line(std::string_view text) { return take_line(text); }
  static bool skip_header(std::string_view& rest) {
    while (!rest.empty()) {
      auto line = take_line(rest);
      if (take_word(line) == "name" && take_word(line) == "type" && take_word(line) == "data") return true;
    }
    return false;
  }

  // "nread    nwritten reads    writes   wtime ...", below it as many numbers
  Result<> collect_io(std::string_view pool, Kstat& io, BatchWriter& out) {
    const auto text = io.file.read();
    if (!text) return text.error().kind == Errc::gone ? Result<>{} : fail(text.error());  // gone since OpenZFS 2.1
    if (is_blank(*text)) return malformed(io.file.path(), "", "a line of names and as many numbers below");
    LeftOut left_out;
    std::string_view rest = *text, names;
    while (!rest.empty()) {
      auto line = take_line(rest);
      if (line.starts_with("nread")) {
        names = line;
        continue;
      }
      if (names.empty()) continue;
      std::string_view left = names;
      std::size_t row = 0;
      for (auto field = take_word(left); !field.empty(); field = take_word(left)) {
        const auto value = take_u64(line);
        if (!value) {
          left_out.add(malformed(io.file.path(), names, "as many numbers below as names"));
          break;
        }
        const auto& known =
            io.families.at(row++, field, [&] { return family("node_zfs_zpool", "io", field, "zpool"); });
        if (known.desc) late_.set(out, *known.desc, static_cast<double>(*value), known.cleaned, pool);
      }
    }
    late_.finish(out);
    return left_out.outcome();
  }

  // "dataset_name                    7    pool/dataset with blanks", "writes  4  0", ...
  Result<> collect_objset(std::string_view pool, Kstat& objset, BatchWriter& out) {
    const auto text = objset.file.read();
    if (!text) return text.error().kind == Errc::gone ? Result<>{} : fail(text.error());
    std::string_view rest = *text, dataset;
    if (!skip_header(rest)) return malformed(objset.file.path(), first_line(*text), "a line 'name type data'");
    LeftOut left_out;
    for (std::size_t row = 0; !rest.empty();) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto field = take_word(words);
      const auto type = take_word(words);
      while (!words.empty() && is_blank(words.front())) words.remove_prefix(1);
      if (field == "dataset_name") {
        dataset = words;
        continue;
      }
      if (type != "4") {
        if (!field.empty() && !parse_u64(type)) left_out.add(malformed(objset.file.path(), line, "'name type data'"));
        continue;
      }
      // Without its name it would pass for another dataset that has lost its own.
      if (dataset.empty()) {
        left_out.add(malformed(objset.file.path(), line, "a line 'dataset_name' before it"));
        break;
      }
      const auto value = take_u64(words);
      if (!value) {
        left_out.add(malformed(objset.file.path(), line, "a number"));
        continue;
      }
      const auto& known = objset.families.at(
          row++, field, [&] { return family("node_zfs_zpool_dataset", "objset", field, "zpool,dataset"); });
      if (known.desc) late_.set(out, *known.desc, static_cast<double>(*value), known.cleaned, pool, dataset);
    }
    late_.finish(out);
    return left_out.outcome();
  }

  // "ONLINE"
  static Result<> collect_state(std::string_view pool, KernelFile& file, BatchWriter& out) {
    const auto text = file.read();
    if (!text) return text.error().kind == Errc::gone ? Result<>{} : fail(text.error());
    std::string_view rest = *text;
    std::string state(trim(take_line(rest)));
    if (state.empty()) return malformed(file.path(), "", "a state");
    for (auto& c : state)
      if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    for (const auto name : kStates) out.set(kState, name == state, pool, name);
    return {};
  }

  std::vector<Kstat> files_;
  KernelItems<Pool> pools_;
  CleanedLast late_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Zfs>(host); }

}  // namespace

extern const CollectorInfo collector_zfs;
const CollectorInfo collector_zfs{kMetrics, {}, make};

}  // namespace vitald
