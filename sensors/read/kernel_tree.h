// SPDX-License-Identifier: Apache-2.0
// Folders and attributes below /sys (and the like of /proc/fs): what is there is asked every time, what was
// opened stays open, and nothing is allocated while nothing changes.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "core/batch.h"
#include "core/clock.h"
#include "core/os/fd.h"
#include "core/os/kernel_file.h"
#include "core/result.h"
#include "core/text/scan.h"

namespace vitald {

// "/proc/net/x: '12 34 ab': four numbers expected".
inline tl::unexpected<Error> malformed(std::string_view path, std::string_view found, std::string_view expected) {
  std::string text(path);
  text.append(": '").append(found).append("': ").append(expected).append(" expected");
  return fail(Errc::malformed, std::move(text));
}

// What the kernel never leaves empty: such a file is somebody else's (a container's, a mount that is not complete).
inline bool is_blank(std::string_view text) { return trim(text).empty(); }

// For a file whose absence means that this machine has nothing to collect: gone becomes absent.
inline tl::unexpected<Error> absent_when_gone(Error error) {
  if (error.kind == Errc::gone) error.kind = Errc::absent;
  return fail(std::move(error));
}

// Whether devices may have come or gone below a folder since it was last looked at. On the running system the kernel
// announces each (uevents, lib/kobject_uevent.c), which costs one recv() for all folders together.
class DeviceWatch {
 public:
  explicit DeviceWatch(const std::string& folder);
  DeviceWatch(const std::string& folder, const Clock& clock);

  // True on first use, after any announcement, and after five seconds whatever was announced: what a driver adds to
  // a device that exists is not, and no network namespace of an unprivileged container hears any. Always true for
  // other folders than those of devices and of modules in /sys, and where the kernel cannot be listened to.
  bool changed();

 private:
  const Clock& clock_;
  bool announced_;
  std::uint64_t seen_ = 0;
  std::int64_t seen_ns_ = 0;
};

// A folder that is listed again and again: kept open, the names made anew only when they changed. One of devices is
// listed when DeviceWatch says so.
class KernelDir {
 public:
  explicit KernelDir(std::string path) : path_(std::move(path)), watch_(path_) {}

  // True when the names are others than last time, or one of them is another folder or link. Errors: gone (there is no
  // such folder; names() is empty), denied, io.
  Result<bool> refresh();
  [[nodiscard]] std::span<const std::string> names() const { return names_; }  // sorted bytewise
  // Of each name. A device that was plugged out and in is another one, though it is called the same.
  [[nodiscard]] std::span<const std::uint64_t> inodes() const { return inodes_; }
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string file(std::string_view name) const;

 private:
  Result<bool> list();
  std::string path_;
  DeviceWatch watch_;
  std::optional<Error> error_;  // of the last listing
  Fd fd_;
  MountsSince mounts_;
  std::string listing_;  // the names as the kernel gave them, each with its inode's number before it and a NUL behind
  std::vector<std::string> names_;
  std::vector<std::uint64_t> inodes_;
};

// The items of a folder, each with what its collector keeps for it (`T(const std::string& path)`). With a prefix
// only those whose name has it: among a thousand disks there may be no md array.
template <class T>
class KernelItems {
 public:
  explicit KernelItems(std::string path, std::string_view prefix = {}) : dir_(std::move(path)), prefix_(prefix) {}

  // Items that stay keep their open files.
  Result<> refresh() {
    const auto changed = dir_.refresh();
    changed_ = changed.value_or(true);
    if (!changed) {
      items_.clear();
      inodes_.clear();
      return fail(changed.error());
    }
    if (!*changed) return {};
    std::vector<Item> now;
    std::vector<std::uint64_t> inodes;
    auto old = items_.begin();  // both are sorted
    for (std::size_t i = 0; i < dir_.names().size(); ++i) {
      const auto& name = dir_.names()[i];
      const auto inode = dir_.inodes()[i];
      if (!name.starts_with(prefix_)) continue;
      while (old != items_.end() && old->name < name) ++old;
      const bool same =
          old != items_.end() && old->name == name && inodes_[static_cast<std::size_t>(old - items_.begin())] == inode;
      if (same) now.push_back(std::move(*old++));
      else now.push_back({name, T(dir_.file(name))});
      inodes.push_back(inode);
    }
    items_ = std::move(now);
    inodes_ = std::move(inodes);
    return {};
  }
  // Whether an item came or went in the last refresh().
  [[nodiscard]] bool changed() const { return changed_; }

  struct Item {
    std::string name;
    T value;
  };
  [[nodiscard]] std::span<Item> items() { return items_; }
  [[nodiscard]] const std::string& path() const { return dir_.path(); }

 private:
  KernelDir dir_;
  std::string_view prefix_;
  std::vector<Item> items_;
  std::vector<std::uint64_t> inodes_;  // beside items_
  bool changed_ = false;
};

// An attribute that its device may lack. One that is not there is asked for again after a minute (a driver that came
// later brings it); one that cannot be read now (EINVAL of a link that is down, EACCES) each time.
class Attribute {
 public:
  explicit Attribute(std::string path) : file_(std::move(path)) {}

  // Without the white space around it. Valid until the next read on this thread.
  std::optional<std::string_view> text();
  // Decimal, or hexadecimal after 0x.
  std::optional<std::uint64_t> u64();
  std::optional<std::int64_t> i64();
  // u64() or i64(), whichever it is.
  std::optional<double> number();
  // Why the last of these gave nothing, where the file is there: it cannot be read (EINVAL, EACCES). Null: there is no
  // such file, or it could be read.
  [[nodiscard]] const Error* unreadable() const { return error_ ? &*error_ : nullptr; }
  // The same where somebody should know: not of a device that has no such thing, or not now (EINVAL, ENODATA), but of
  // what may not be read, and of a text that should have been a number.
  [[nodiscard]] std::optional<Error> no_number() const;
  [[nodiscard]] const std::string& path() const { return file_.path(); }

 private:
  KernelFile file_;
  std::int64_t missing_until_ns_ = 0;
  std::optional<Error> error_;
  std::optional<std::string> bad_;  // the last text, when a number was wanted and it was none
};

// The number; where somebody should know that there is none, also a problem.
inline std::optional<double> number_of(Attribute& file, BatchWriter& out) {
  const auto n = file.number();
  if (!n)
    if (auto why = file.no_number()) out.problem(std::move(*why));
  return n;
}

// One number of a device and the family it becomes.
struct AttributeRow {
  std::string_view file;  // below the device's folder
  MetricDesc desc;
  double factor = 1;  // base units per unit of the file
};

// The numbers of one device, in the order of the rows. What the device lacks, or says to be none ("N/A (no PMA)"), is
// not emitted; what cannot be read or is no number is a problem too.
class AttributeTable {
 public:
  AttributeTable(const std::string& folder, std::span<const AttributeRow> rows) : rows_(rows) {
    files_.reserve(rows.size());
    for (const auto& row : rows) files_.emplace_back(folder + "/" + std::string(row.file));
  }
  template <class... Labels>
  void emit(BatchWriter& out, const Labels&... labels) {
    for (std::size_t i = 0; i < files_.size(); ++i) {
      const auto n = number_of(files_[i], out);
      // No counter is below 0: -1 is some drivers' word for one that the device lacks (infiniband's VL15_dropped).
      if (n && (*n >= 0 || rows_[i].desc.type != MetricType::counter))
        out.set(rows_[i].desc, *n * rows_[i].factor, labels...);
    }
  }

 private:
  std::span<const AttributeRow> rows_;
  std::vector<Attribute> files_;
};

// The families of tables whose rows have a `desc` beside other things, and of plain tables, one after the
// other: for CollectorInfo, which wants the families alone.
template <class... Row, std::size_t... N>
constexpr auto families_of(const Row (&... tables)[N]) {
  std::array<MetricDesc, (N + ...)> families{};
  std::size_t at = 0;
  const auto add = [&](const auto& table) {
    for (const auto& row : table) {
      if constexpr (requires { row.desc; }) families[at++] = row.desc;
      else families[at++] = row;
    }
  };
  (add(tables), ...);
  return families;
}

}  // namespace vitald
