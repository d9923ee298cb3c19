// SPDX-License-Identifier: Apache-2.0
// Space, counters and errors of bcachefs file systems, from /sys/fs/bcachefs.
#include <cmath>
#include <optional>
#include <string>
#include <vector>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/names.h"
#include "core/text/scan.h"
#include "sensors/read/cleaned_last.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr std::string_view kSource = "/sys/fs/bcachefs/*";
constexpr MetricDesc kMetrics[] = {
    {"node_bcachefs_info", gauge, "Filesystem information.", "uuid", "", kSource},
    {"node_bcachefs_btree_cache_size_bytes", gauge, "Btree cache memory usage in bytes.", "uuid", "bytes", kSource},
    {"node_bcachefs_compression_compressed_bytes", gauge, "Compressed size by algorithm.", "uuid,algorithm", "bytes",
     kSource},
    {"node_bcachefs_compression_uncompressed_bytes", gauge, "Uncompressed size by algorithm.", "uuid,algorithm",
     "bytes", kSource},
    {"node_bcachefs_errors_total", counter, "Error count by error type.", "uuid,error_type", "", kSource},
    {"node_bcachefs_btree_writes_total", counter, "Number of btree writes by type.", "uuid,type", "", kSource},
    {"node_bcachefs_btree_write_average_size_bytes", gauge, "Average btree write size by type.", "uuid,type", "bytes",
     kSource},
    {"node_bcachefs_device_info", gauge, "Device information.", "uuid,device,label,state", "", kSource},
    {"node_bcachefs_device_bucket_size_bytes", gauge, "Bucket size in bytes.", "uuid,device", "bytes", kSource},
    {"node_bcachefs_device_buckets", gauge, "Total number of buckets.", "uuid,device", "", kSource},
    {"node_bcachefs_device_durability", gauge, "Device durability setting.", "uuid,device", "", kSource},
    {"node_bcachefs_device_io_done_bytes_total", counter, "IO bytes by operation type and data type.",
     "uuid,device,operation,data_type", "bytes", kSource},
    {"node_bcachefs_device_io_errors_total", counter, "IO errors by error type.", "uuid,device,type", "", kSource},
    {"node_bcachefs_*_total", counter, "*", "uuid", "", kSource},
};
enum Family {
  kInfo,
  kCacheSize,
  kCompressed,
  kUncompressed,
  kErrors,
  kWrites,
  kWriteSize,
  kDeviceInfo,
  kBucketSize,
  kBuckets,
  kDurability,
  kIoDone,
  kIoErrors
};

// "3.25G": powers of 1024, in whole bytes.
std::optional<double> human(std::string_view text) {
  text = trim(text);
  double factor = 1;
  constexpr std::string_view kPrefixes = "kmgtpe";
  if (!text.empty()) {
    const char last = text.back();
    const auto power = kPrefixes.find(last >= 'A' && last <= 'Z' ? static_cast<char>(last - 'A' + 'a') : last);
    if (power != kPrefixes.npos) {
      factor = std::pow(1024, static_cast<double>(power) + 1);
      text.remove_suffix(1);
    }
  }
  const auto n = parse_double(trim(text));
  return n ? std::optional(std::floor(*n * factor)) : std::nullopt;
}

// The text of a file; empty when it is not there. All but one begin with a line of words.
Result<std::string_view> read_if_there(KernelFile& file, bool may_be_blank = false) {
  auto text = file.read();
  if (!text && text.error().kind == Errc::gone) return std::string_view();
  if (text && !may_be_blank && is_blank(*text)) return malformed(file.path(), "", "lines of names and numbers");
  return text;
}

struct Counter {
  explicit Counter(const std::string& path) : file(path) {}
  KernelFile file;
  const MetricDesc* desc = nullptr;
};
// "dev-0", or one of the other files of the filesystem.
struct Device {
  explicit Device(const std::string& path)
      : label(path + "/label"),
        state(path + "/state"),
        bucket_size(path + "/bucket_size"),
        buckets(path + "/nbuckets"),
        durability(path + "/durability"),
        io_done(path + "/io_done"),
        io_errors(path + "/io_errors") {}
  Attribute label, state, bucket_size, buckets, durability;
  KernelFile io_done, io_errors;
};
struct Filesystem {
  explicit Filesystem(const std::string& path)
      : cache_size(path + "/btree_cache_size"),
        compression(path + "/compression_stats"),
        errors(path + "/errors"),
        writes(path + "/btree_write_stats"),
        counters(path + "/counters"),
        devices(path) {}
  Attribute cache_size;
  KernelFile compression, errors, writes;
  KernelItems<Counter> counters;
  KernelItems<Device> devices;
};

class Bcachefs final : public Collector {
 public:
  explicit Bcachefs(const Host& host) : filesystems_(host.sysfs("fs/bcachefs")) {}

  Result<> collect(BatchWriter& out) override {
    out.use(pool_);
    if (auto listed = filesystems_.refresh(); !listed) return absent_when_gone(listed.error());
    if (filesystems_.items().empty()) return fail(Errc::absent, filesystems_.path() + ": no filesystem");
    LeftOut left_out;
    for (auto& [uuid, fs] : filesystems_.items()) collect_filesystem(uuid, fs, left_out, out);
    return left_out.outcome();
  }

 private:
  void collect_filesystem(std::string_view uuid, Filesystem& fs, LeftOut& left_out, BatchWriter& out) {
    out.set(kMetrics[kInfo], 1, uuid);
    emit_size(fs.cache_size, kCacheSize, left_out, out, uuid);
    left_out.add(collect_compression(uuid, fs.compression, out));
    left_out.add(collect_errors(uuid, fs.errors, out));
    left_out.add(collect_counters(uuid, fs.counters, out));
    left_out.add(collect_writes(uuid, fs.writes, out));
    if (auto listed = fs.devices.refresh(); !listed) {
      if (listed.error().kind != Errc::gone) left_out.add(listed);
      return;
    }
    for (auto& [name, device] : fs.devices.items()) {
      std::string_view id = name;
      if (take_prefix(id, "dev-")) collect_device(uuid, id, device, left_out, out);
    }
  }
  // What is not there has no number.
  template <class... L>
  static void emit_size(Attribute& file, Family family, LeftOut& left_out, BatchWriter& out, const L&... labels) {
    const auto text = file.text();
    if (!text && file.unreadable()) left_out.add(*file.unreadable());
    if (!text) return;
    if (const auto bytes = human(*text)) out.set(kMetrics[family], *bytes, labels...);
    else left_out.add(malformed(file.path(), *text, "a size"));
  }

  // "type          compressed    uncompressed     average extent size", "lz4     27.5G     40.6G     31.5k"
  static Result<> collect_compression(std::string_view uuid, KernelFile& file, BatchWriter& out) {
    const auto text = read_if_there(file);
    if (!text) return fail(text.error());
    LeftOut left_out;
    std::string_view rest = *text;
    take_line(rest);
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      auto algorithm = take_word(words);
      const auto first = take_word(words), second = take_word(words);
      if (second.empty()) continue;
      const auto compressed = human(first), uncompressed = human(second);
      if (!compressed || !uncompressed) {
        left_out.add(malformed(file.path(), line, "a name and two sizes"));
        continue;
      }
      if (algorithm.ends_with(':')) algorithm.remove_suffix(1);
      out.set(kMetrics[kCompressed], *compressed, uuid, algorithm);
      out.set(kMetrics[kUncompressed], *uncompressed, uuid, algorithm);
    }
    return left_out.outcome();
  }

  // "btree_node_data_missing                         2       1877007853": how often, when last. Nothing where there
  // never was an error (bch2_fs_errors_to_text, fs/bcachefs/sb-errors.c); newer ones put a + behind a full counter.
  static Result<> collect_errors(std::string_view uuid, KernelFile& file, BatchWriter& out) {
    const auto text = read_if_there(file, true);
    if (!text) return fail(text.error());
    LeftOut left_out;
    for (std::string_view rest = *text; !rest.empty();) {
      const auto line = take_line(rest);
      std::string_view words = line;
      const auto type = take_word(words);
      auto count = take_word(words);
      if (count.empty()) continue;
      if (count.ends_with('+')) count.remove_suffix(1);
      if (const auto n = parse_u64(count)) out.set(kMetrics[kErrors], static_cast<double>(*n), uuid, type);
      else left_out.add(malformed(file.path(), line, "a name and a count"));
    }
    return left_out.outcome();
  }

  // "since mount:                   739741", "since filesystem creation:     1452242"
  Result<> collect_counters(std::string_view uuid, KernelItems<Counter>& counters, BatchWriter& out) {
    if (auto listed = counters.refresh(); !listed) return listed.error().kind == Errc::gone ? Result<>{} : listed;
    LeftOut left_out;
    for (auto& [name, counter_file] : counters.items()) {
      const auto text = counter_file.file.read();
      if (!text) {
        if (text.error().kind != Errc::gone) left_out.add(text.error());
        continue;
      }
      std::optional<double> value;
      for (std::string_view rest = *text; !rest.empty();) {
        auto line = take_line(rest);
        if (take_prefix(line, "since filesystem creation:")) value = human(line);
      }
      if (!value) {  // a number of a file of its own: the others are good
        out.problem(malformed(counter_file.file.path(), trim(*text), "'since filesystem creation: N'").value());
        continue;
      }
      if (!counter_file.desc)
        counter_file.desc = &pool_->get("node_bcachefs_" + metric_name(name) + "_total", counter,
                                        "Bcachefs counter " + name + " since filesystem creation.", "uuid");
      late_.set(out, *counter_file.desc, *value, metric_name(name) != name, uuid);
    }
    late_.finish(out);
    return left_out.outcome();
  }

  // "                   nr        size", "initial:           9562213    72k"
  static Result<> collect_writes(std::string_view uuid, KernelFile& file, BatchWriter& out) {
    const auto text = read_if_there(file);
    if (!text) return fail(text.error());
    LeftOut left_out;
    std::string_view rest = *text;
    take_line(rest);
    while (!rest.empty()) {
      const auto line = take_line(rest);
      std::string_view words = line;
      auto type = take_word(words);
      const auto count = take_word(words), size = take_word(words);
      if (size.empty()) continue;
      const auto n = parse_u64(count);
      const auto bytes = human(size);
      if (!n || !bytes) {
        left_out.add(malformed(file.path(), line, "a name, a count and a size"));
        continue;
      }
      if (type.ends_with(':')) type.remove_suffix(1);
      out.set(kMetrics[kWrites], static_cast<double>(*n), uuid, type);
      out.set(kMetrics[kWriteSize], *bytes, uuid, type);
    }
    return left_out.outcome();
  }

  void collect_device(std::string_view uuid, std::string_view id, Device& device, LeftOut& left_out, BatchWriter& out) {
    label_ = device.label.text().value_or("");
    out.set(kMetrics[kDeviceInfo], 1, uuid, id, label_, device.state.text().value_or(""));
    emit_size(device.bucket_size, kBucketSize, left_out, out, uuid, id);
    emit_size(device.buckets, kBuckets, left_out, out, uuid, id);
    emit_size(device.durability, kDurability, left_out, out, uuid, id);
    left_out.add(collect_io_done(uuid, id, device.io_done, out));
    left_out.add(collect_io_errors(uuid, id, device.io_errors, out));
  }

  // "read:", below it "sb          :       33541", then "write:"
  static Result<> collect_io_done(std::string_view uuid, std::string_view id, KernelFile& file, BatchWriter& out) {
    const auto text = read_if_there(file);
    if (!text) return fail(text.error());
    LeftOut left_out;
    std::string_view operation;
    for (std::string_view rest = *text; !rest.empty();) {
      const auto line = trim(take_line(rest));
      std::string_view value = line;
      const auto key = trim(take_until(value, ':'));
      value = trim(value);
      if (value.empty()) {
        if (key == "read" || key == "write") operation = key;
        continue;
      }
      if (operation.empty()) continue;
      if (const auto n = parse_u64(value))
        out.set(kMetrics[kIoDone], static_cast<double>(*n), uuid, id, operation, key);
      else left_out.add(malformed(file.path(), line, "a name and bytes"));
    }
    return left_out.outcome();
  }

  // "IO errors since filesystem creation", below it "  read:    11835"; then the same since a reset
  static Result<> collect_io_errors(std::string_view uuid, std::string_view id, KernelFile& file, BatchWriter& out) {
    const auto text = read_if_there(file);
    if (!text) return fail(text.error());
    LeftOut left_out;
    bool ours = false;
    for (std::string_view rest = *text; !rest.empty();) {
      const auto line = take_line(rest);
      if (line.starts_with("IO errors since ")) {
        if (ours) break;
        ours = line.starts_with("IO errors since filesystem creation");
        continue;
      }
      std::string_view value = line;
      const auto type = trim(take_until(value, ':'));
      if (!ours || trim(value).empty()) continue;
      if (const auto n = parse_u64(trim(value))) out.set(kMetrics[kIoErrors], static_cast<double>(*n), uuid, id, type);
      else left_out.add(malformed(file.path(), line, "a name and a count"));
    }
    return left_out.outcome();
  }

  KernelItems<Filesystem> filesystems_;
  DescPoolPtr pool_ = std::make_shared<DescPool>();
  CleanedLast late_;
  std::string label_;  // of the device at hand; kept for its memory
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Bcachefs>(host); }

}  // namespace

extern const CollectorInfo collector_bcachefs;
const CollectorInfo collector_bcachefs{kMetrics, {}, make};

}  // namespace vitald
