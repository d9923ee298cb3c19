// SPDX-License-Identifier: Apache-2.0
// Software RAID: state, disks and progress of each array, from /proc/mdstat.
#include <optional>
#include <string>

#include "core/collector.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"
#include "sensors/read/kernel_tree.h"
#include "sensors/read/left_out.h"

namespace vitald {
namespace {

using enum MetricType;

constexpr MetricDesc kMetrics[] = {
    {"node_md_blocks", gauge, "Total number of blocks on device.", "device", "", "/proc/mdstat"},
    {"node_md_blocks_synced", gauge, "Number of blocks synced on device.", "device", "", "/proc/mdstat"},
    {"node_md_degraded", gauge, "Number of degraded disks on device.", "device", "", "/proc/mdstat"},
    {"node_md_disks", gauge, "Number of active/failed/spare disks of device.", "device,state", "", "/proc/mdstat"},
    {"node_md_disks_required", gauge, "Total number of disks of device.", "device", "", "/proc/mdstat"},
    {"node_md_raid_disks", gauge, "Number of raid disks on device.", "device", "", "/proc/mdstat"},
    {"node_md_state", gauge, "Indicates the state of md-device.", "device,state", "", "/proc/mdstat"},
};
enum Family { kBlocks, kSynced, kDegraded, kDisks, kRequired, kRaidDisks, kState };

// What mdstat says of one array.
struct Array {
  std::string_view name;
  std::string_view activity;
  std::int64_t failed = 0, spare = 0;
  // nullopt: it does not say
  std::optional<std::int64_t> active = 0, required = 0, blocks, synced;
};

std::size_t count(std::string_view text, std::string_view what) {
  std::size_t n = 0;
  for (auto at = text.find(what); at != text.npos; at = text.find(what, at + what.size())) ++n;
  return n;
}
bool contains(std::string_view text, std::string_view what) { return text.find(what) != text.npos; }

// "sda1[8] sdd1[3](F)": a number in brackets that follows a name.
std::size_t count_members(std::string_view words) {
  std::size_t n = 0;
  for (auto word = take_word(words); !word.empty(); word = take_word(words))
    if (const auto at = word.find('['); at != word.npos && at > 0) ++n;
  return n;
}

// "md3 : active raid6 sda1[8] sdh1[7] sdg1[6] sdf1[5] sde1[11] sdd1[3] sdc1[10] sdb1[9](S)"
// "      1639928368 blocks super 1.2 level 6, 64k chunk, algorithm 2 [8/8] [UUUUUUUU]"
// and one that lost all its disks:
// "md126 : active raid5 super 1.2 level 5, 64k chunk, algorithm 2 [4/0] [____]"
std::optional<Array> parse_array(std::string_view device, std::string_view status) {
  Array array;
  std::string_view words = device;
  array.name = take_word(words);
  if (take_word(words) != ":") return std::nullopt;
  array.activity = take_word(words);
  // "active (auto-read-only) raid1": what it is called, and its disks, may have such words in them.
  const bool inactive = array.activity == "inactive";  // then there is no level
  std::string_view level;
  if (!inactive) level = take_word(words);
  while (level.starts_with('(')) level = take_word(words);
  array.failed = static_cast<std::int64_t>(count(device, "(F)"));
  array.spare = static_cast<std::int64_t>(count(device, "(S)"));
  const auto members = count_members(words);
  // Without a member the kernel writes no blocks, and what else the second line has stands at the end of the first.
  if (members == 0) status = words;
  else array.synced = array.blocks = parse_i64(take_word(status));
  if (array.activity.empty() || (members > 0 && !array.blocks)) return std::nullopt;
  if (!inactive && (level == "raid0" || level == "linear")) {  // no redundancy: all or none
    if (members == 0) return std::nullopt;                     // it keeps those that went
    array.active = array.required = static_cast<std::int64_t>(members);
    // The one that went stays in the list, and it is not told which it is.
    if (array.activity == "broken") array.active.reset();
    return array;
  }
  if (inactive) return array;
  // The last "[8/8]" before "[UUUUUUUU]".
  for (auto at = status.rfind('['); at != status.npos && at > 0; at = status.rfind('[', at - 1)) {
    std::string_view inner = status.substr(at + 1);
    inner = take_until(inner, ']');
    const auto required = parse_i64(take_until(inner, '/'));
    const auto active = parse_i64(inner);
    if (!required || !active) continue;
    array.required = *required;
    array.active = *active;
    return array;
  }
  if (level != "faulty") return std::nullopt;
  // "1046528 blocks super 1.2 WriteTransient=0" says nothing of disks: it is one that makes errors for tests.
  array.active.reset();
  array.required.reset();
  return array;
}

// "      [=>...................]  recovery =  6.1% (14390224/144208241) finish=23.4min speed=104417K/sec"
// "        resync=DELAYED", "resync=PENDING", "resync=REMOTE" (another node of a cluster does it)
bool parse_sync(std::string_view line, Array& array) {
  if (array.activity == "broken") return true;
  if (contains(line, "recover")) array.activity = "recovering";
  else if (contains(line, "reshape")) array.activity = "reshaping";
  else if (contains(line, "check")) array.activity = "checking";
  else if (contains(line, "resync")) array.activity = "resyncing";
  else return true;
  array.synced = 0;
  if (contains(line, "PENDING") || contains(line, "DELAYED") || contains(line, "REMOTE")) return true;
  const auto at = line.find('(');
  if (at == line.npos) return array.synced.reset(), false;
  std::string_view rest = line.substr(at + 1);
  array.synced = parse_i64(take_until(rest, '/'));
  return array.synced.has_value();
}

// /sys/block/md0/md
struct Sysfs {
  explicit Sysfs(const std::string& path)
      : level(path + "/md/level"), disks(path + "/md/raid_disks"), degraded(path + "/md/degraded") {}
  Attribute level, disks, degraded;
};

class Mdadm final : public Collector {
 public:
  explicit Mdadm(const Host& host)
      : mdstat_(host.procfs("mdstat"), KernelFile::Read::records), block_(host.sysfs("block"), "md") {}

  Result<> collect(BatchWriter& out) override {
    const auto text = mdstat_.read();
    if (!text) return absent_when_gone(text.error());
    // Unraid has a driver of its own there, which writes "sbName=/boot/config/super.dat" and hundreds of such.
    if (text->starts_with("sbName="))
      return fail(Errc::absent, mdstat_.path() + ": of another driver than the kernel's own (Unraid's)");
    LeftOut left_out;
    left_out.add(collect_mdstat(*text, out));
    left_out.add(collect_sysfs(out));
    return left_out.outcome();
  }

 private:
  Result<> collect_mdstat(std::string_view rest, BatchWriter& out) {
    if (is_blank(rest)) return malformed(mdstat_.path(), "", "a line of personalities");
    LeftOut left_out;
    while (!rest.empty()) {
      const auto line = take_line(rest);
      if (trim(line).empty() || line.front() == ' ' || line.starts_with("Personalities") || line.starts_with("unused"))
        continue;
      // An array whose second line is missing is followed by the next one.
      const auto status = rest.starts_with(' ') ? take_line(rest) : std::string_view();
      auto array = parse_array(line, status);
      if (!array) {
        left_out.add(malformed(mdstat_.path(), line, "an array and below it its blocks"));
        continue;
      }
      // Below: a bitmap, what it does now, an empty line.
      std::string_view below = rest;
      for (auto next = take_line(below); next.starts_with(' '); next = take_line(below))
        if (!contains(next, "bitmap") && !parse_sync(next, *array))
          left_out.add(malformed(mdstat_.path(), next, "(done/all) blocks"));
      emit(*array, out);
    }
    return left_out.outcome();
  }

  static void emit(const Array& a, BatchWriter& out) {
    if (a.required) out.set(kMetrics[kRequired], static_cast<double>(*a.required), a.name);
    if (a.active) out.set(kMetrics[kDisks], static_cast<double>(*a.active), a.name, "active");
    out.set(kMetrics[kDisks], static_cast<double>(a.failed), a.name, "failed");
    out.set(kMetrics[kDisks], static_cast<double>(a.spare), a.name, "spare");
    constexpr std::string_view kStates[][2] = {{"active", "active"},
                                               {"inactive", "inactive"},
                                               {"recovering", "recovering"},
                                               {"resync", "resyncing"},
                                               {"check", "checking"}};
    for (const auto& [label, activity] : kStates) out.set(kMetrics[kState], a.activity == activity, a.name, label);
    // Only then, since node_exporter has no such states. Broken (Linux 5.4): more disks went than the level can lose.
    for (const std::string_view state : {"reshaping", "broken"})
      if (a.activity == state) out.set(kMetrics[kState], 1, a.name, state);
    if (a.blocks) out.set(kMetrics[kBlocks], static_cast<double>(*a.blocks), a.name);
    if (a.synced) out.set(kMetrics[kSynced], static_cast<double>(*a.synced), a.name);
  }

  Result<> collect_sysfs(BatchWriter& out) {
    if (auto listed = block_.refresh(); !listed && listed.error().kind != Errc::gone) return listed;
    LeftOut left_out;
    for (auto& [device, array] : block_.items()) {
      const auto text = array.level.text();
      if (!text) continue;
      const std::string level(*text);
      // "4", or "5 (4)" while it is reshaped; what has no level of md's own (container, imsm, ddf) has none.
      if (!level.empty() && level != "container" && level != "imsm" && level != "ddf") {
        const auto disks = array.disks.text();
        std::string_view number = disks.value_or("");
        if (const auto n = take_u64(number)) out.set(kMetrics[kRaidDisks], static_cast<double>(*n), device);
        else if (disks) left_out.add(malformed(array.disks.path(), *disks, "a number"));
      }
      // Only levels with redundancy have the file; the others cannot be degraded and have 0 in node_exporter.
      const auto degraded = array.degraded.text();
      const auto n = degraded ? parse_u64(*degraded) : std::optional<std::uint64_t>(0);
      if (n && (degraded || !array.degraded.unreadable()))
        out.set(kMetrics[kDegraded], static_cast<double>(*n), device);
      else left_out.add(malformed(array.degraded.path(), degraded.value_or("unreadable"), "a number"));
    }
    return left_out.outcome();
  }

  KernelFile mdstat_;
  KernelItems<Sysfs> block_;
};

Result<std::unique_ptr<Collector>> make(const Host& host, const Options&) { return std::make_unique<Mdadm>(host); }

}  // namespace

extern const CollectorInfo collector_mdadm;
const CollectorInfo collector_mdadm{kMetrics, {}, make};

}  // namespace vitald
