// SPDX-License-Identifier: Apache-2.0
// The destination that is a folder for each guest that asks, with the guest's own energy as powercap would show it:
// shared into the guest (virtiofs, 9p), whatever reads powercap there tells what the guest uses of this host.
#include <dirent.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <sys/stat.h>
#include <unistd.h>

#include <array>
#include <cerrno>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <filesystem>
#include <iterator>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/layout_map.h"
#include "core/os/fd.h"
#include "core/text/scan.h"
#include "exporters/push/push.h"

namespace vitald {
namespace {

// A zone of powercap that a guest has, and the family that it is the guest's part of.
struct Zone {
  const char* folder;
  const char* name;
  std::string_view family;
};
constexpr Zone kZones[] = {{"intel-rapl:0", "package-0", "vitald_owner_energy_joules_total"},
                           {"intel-rapl:0:0", "dram", "vitald_owner_dram_energy_joules_total"}};
constexpr std::size_t kZoneCount = std::size(kZones);
// What a reader takes for the counter's end, so far away that it is not reached: 2^53 - 1, exact in any language.
constexpr std::uint64_t kRangeUj = (std::uint64_t{1} << 53) - 1;
constexpr mode_t kFileMode = 0640, kFolderMode = 0750;  // its group's: QEMU's or virtiofsd's

using Joules = std::array<std::optional<double>, kZoneCount>;

std::string_view label(const Sample& s, std::string_view name) {
  for (const auto& l : Layout::labels(s))
    if (l.name == name) return l.value;
  return {};
}

// A name that is a folder's as well. libvirt has '/' in none.
bool is_folder_name(std::string_view name) {
  return !name.empty() && name != "." && name != ".." && name.size() <= 255 &&
         name.find_first_of(std::string_view("/\n\0", 3)) == std::string_view::npos;
}

// A line for each guest: microjoules of each zone, or "-", and its name.
class GuestEnergyEncoder final : public PushEncoder {
 public:
  void encode(const Snapshot& snapshot, std::vector<Item>& out) override {
    std::map<std::string_view, Joules> guests;
    for (const auto& batch : snapshot.batches)
      for (const auto& place : places_.of(batch->layout, find)) {
        auto& joules = guests[place.guest][place.zone];
        joules = joules.value_or(0) + batch->values[place.value];
      }
    Item item;
    item.key = "guests' energy";
    item.wall_ms = snapshot.wall_ns / 1'000'000;
    item.records = static_cast<std::uint32_t>(guests.size());
    for (const auto& [name, zones] : guests) {
      for (const auto& joules : zones)
        if (joules) fmt::format_to(std::back_inserter(item.body), "{} ", std::llround(*joules * 1e6));
        else item.body += "- ";
      item.body.append(name).append("\n");
    }
    places_.forget_unused();
    if (!guests.empty()) out.push_back(std::move(item));
  }

 private:
  struct Place {
    std::uint32_t value;
    std::size_t zone;
    std::string guest;
  };
  static std::vector<Place> find(const Layout& layout) {
    std::vector<Place> places;
    for (const auto& s : layout.samples())
      for (std::size_t z = 0; z < kZoneCount; ++z) {
        if (s.family->name != kZones[z].family || label(s, "mode") != "active") continue;
        if (const auto guest = label(s, "guest"); is_folder_name(guest))
          places.push_back({s.value, z, std::string(guest)});
      }
    return places;
  }
  LayoutMap<std::vector<Place>> places_;
};

Error os_error(const std::string& what) { return from_errno(what, errno); }

// The guest may be able to write to its folder: nothing below it is followed where it is a link, and what is written is
// new and takes the place of what was there. It is made in `home`, the guest's folder, which passes its group on.
Result<> write_file(const Fd& home, const Fd& folder, const std::string& shown, const char* name, std::string_view text,
                    gid_t group) {
  const auto temporary = fmt::format(".{}.new", name);
  if (unlinkat(home.get(), temporary.c_str(), 0) != 0 && errno != ENOENT)
    return fail(os_error(shown + "/" + temporary));
  const Fd file(openat(home.get(), temporary.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, kFileMode));
  if (!file) return fail(os_error(shown + "/" + temporary));
  const auto drop = [&](Error error) -> Result<> {
    unlinkat(home.get(), temporary.c_str(), 0);
    return fail(std::move(error));
  };
  struct stat status {};
  if (fstat(file.get(), &status) != 0) return drop(os_error(shown));
  if (status.st_gid != group && fchown(file.get(), static_cast<uid_t>(-1), group) != 0)
    return drop(
        os_error(fmt::format("{}: giving it the group of the guest's folder ({}); let the folder pass it on "
                             "(chmod g+s)",
                             shown, group)));
  // The umask may say otherwise.
  if (fchmod(file.get(), kFileMode) != 0)
    return drop(os_error(fmt::format("{}/{}: letting its group read it", shown, name)));
  if (auto written = write_all(file.get(), text, shown); !written) return drop(written.error());
  if (renameat(home.get(), temporary.c_str(), folder.get(), name) != 0) return drop(os_error(shown + "/" + name));
  return {};
}

Result<Fd> folder_in(const Fd& parent, const std::string& shown, const char* name, gid_t group) {
  const bool made = mkdirat(parent.get(), name, kFolderMode) == 0;
  if (!made && errno != EEXIST) return fail(os_error(shown + "/" + name));
  Fd folder(openat(parent.get(), name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
  if (!folder) return fail(os_error(shown + "/" + name));
  struct stat status {};
  if (fstat(folder.get(), &status) != 0) return fail(os_error(shown + "/" + name));
  if (made && status.st_gid != group && fchown(folder.get(), static_cast<uid_t>(-1), group) != 0)
    return fail(
        os_error(fmt::format("{}/{}: giving it the group of the guest's folder ({}); let the folder pass it on "
                             "(chmod g+s)",
                             shown, name, group)));
  // The umask may have said otherwise, also when an earlier run made it. The bit that passes the group on is not asked
  // for: RestrictSUIDSGID= of our unit refuses that.
  constexpr mode_t kOfGroup = kFolderMode & S_IRWXG;
  if ((status.st_mode & kOfGroup) != kOfGroup && fchmod(folder.get(), kFolderMode) != 0)
    return fail(os_error(fmt::format("{}/{}: letting its group read it", shown, name)));
  return folder;
}

std::optional<std::uint64_t> number_in(const Fd& folder, const char* name) {
  const Fd file(openat(folder.get(), name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC));
  char text[32];
  const auto size = file ? read(file.get(), text, sizeof text) : -1;
  if (size <= 0) return std::nullopt;
  return parse_u64(trim(std::string_view(text, static_cast<std::size_t>(size))));
}

class GuestEnergyDestination final : public Destination {
 public:
  GuestEnergyDestination(const std::string& name, std::string path) : path_(std::move(path)), counters_(name) {}

  Result<Sent> send(std::span<const Item> items, const Attempt&) override {
    const Fd folder(open(path_.c_str(), O_RDONLY | O_DIRECTORY | O_CLOEXEC));
    if (!folder) return fail(os_error(path_));
    Sent sent{items.size(), 0, 0};
    std::string_view lines = items.back().body;  // the newest is what counts
    std::uint64_t written = 0;
    while (!lines.empty()) {
      const auto line = take_line(lines);
      if (const auto done = guest(folder, line); !done) sent.problem = done.error().text;  // costs that guest
      else written += *done ? 1 : 0;
    }
    counters_.sent(written);
    return sent;
  }

 private:
  struct Counter {
    std::uint64_t shown = 0;                 // what the guest reads
    std::optional<std::uint64_t> last = {};  // what was counted for it then
  };

  // Whether it has asked.
  Result<bool> guest(const Fd& folder, std::string_view line) {
    std::array<std::optional<std::uint64_t>, kZoneCount> counted;
    for (auto& zone : counted) {
      zone = parse_u64(take_until(line, ' '));
      if (line.starts_with(' ')) line.remove_prefix(1);
    }
    const std::string name(line), shown = path_ + "/" + name;
    const Fd mine(openat(folder.get(), name.c_str(), O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC));
    if (!mine && errno == ENOENT) return false;
    if (!mine) return fail(os_error(shown));
    struct stat status {};
    if (fstat(mine.get(), &status) != 0) return fail(os_error(shown));
    for (std::size_t z = 0; z < kZoneCount; ++z) {
      if (!counted[z]) continue;
      auto zone = folder_in(mine, shown, kZones[z].folder, status.st_gid);
      if (!zone) return fail(zone.error());
      const auto at = fmt::format("{}/{}", shown, kZones[z].folder);
      auto& counter = counters_of_[name][z];
      const bool named = faccessat(zone->get(), "name", F_OK, AT_SYMLINK_NOFOLLOW) == 0 &&
                         faccessat(zone->get(), "max_energy_range_uj", F_OK, AT_SYMLINK_NOFOLLOW) == 0;
      if (!counter.last) {
        // It goes on where it was: with what an earlier run of ours showed, or from now on.
        const auto before = number_in(*zone, "energy_uj");
        counter.shown = before && *before <= kRangeUj ? *before : 0;
      } else {
        // The guest was started anew where it went back: then it counts from 0.
        counter.shown += *counted[z] >= *counter.last ? *counted[z] - *counter.last : *counted[z];
      }
      // Also where the folder was made anew meanwhile.
      if (!counter.last || !named)
        for (const auto& [file, text] : {std::pair("name", fmt::format("{}\n", kZones[z].name)),
                                         std::pair("max_energy_range_uj", fmt::format("{}\n", kRangeUj))})
          if (auto done = write_file(mine, *zone, at, file, text, status.st_gid); !done) return fail(done.error());
      counter.last = counted[z];
      if (auto done = write_file(mine, *zone, at, "energy_uj", fmt::format("{}\n", counter.shown), status.st_gid);
          !done)
        return fail(done.error());
    }
    if (auto done = link_class(mine, shown, status.st_gid); !done) return fail(done.error());
    return true;
  }

  // "class/powercap" beside the zones: the folder is also what a guest's programs take in place of /sys.
  static Result<> link_class(const Fd& mine, const std::string& shown, gid_t group) {
    const auto folder = folder_in(mine, shown, "class", group);
    if (!folder) return fail(folder.error());
    if (symlinkat("..", folder->get(), "powercap") != 0 && errno != EEXIST)
      return fail(os_error(shown + "/class/powercap"));
    return {};
  }

  const std::string path_;
  const PushCounters counters_;
  std::map<std::string, std::array<Counter, kZoneCount>> counters_of_;
};

struct GuestEnergyPush final : PushOf<GuestEnergyPush> {
  std::string path;
  bool operator==(const GuestEnergyPush&) const = default;

  GuestEnergyPush() { interval_ns = 5'000'000'000; }

  [[nodiscard]] std::string text() const override { return fmt::format("guest_energy '{}' ({})", name, path); }
  [[nodiscard]] std::unique_ptr<PushEncoder> encoder() const override { return std::make_unique<GuestEnergyEncoder>(); }
  [[nodiscard]] std::unique_ptr<Destination> destination() const override {
    return std::make_unique<GuestEnergyDestination>(name, path);
  }
  void check(std::vector<std::string>& problems) const override {
    if (const auto found = reach({}); !found)
      problems.push_back(fmt::format("push.guest_energy '{}': {}", name, found.error().text));
  }
  // Which guests ask.
  [[nodiscard]] Result<std::string> reach(const Attempt&) const override {
    std::error_code error;
    std::vector<std::string> guests;
    for (auto at = std::filesystem::directory_iterator(path, error);
         !error && at != std::filesystem::directory_iterator(); at.increment(error)) {
      struct stat status {};
      const auto folder = at->path().string();
      if (lstat(folder.c_str(), &status) != 0 || !S_ISDIR(status.st_mode)) continue;
      if (faccessat(AT_FDCWD, folder.c_str(), W_OK | X_OK, AT_EACCESS) != 0)
        return fail(from_errno(folder + ": no file can be made there", errno));
      if ((status.st_mode & S_IRWXO) != 0)
        return fail(Errc::denied, fmt::format("{}: everybody may look into it; chmod o-rwx", folder));
      guests.push_back(at->path().filename().string());
    }
    if (error) return fail(from_errno(path, error.value()));
    if (guests.empty())
      return fmt::format("{} has no folder of a guest; one that is to have its energy needs one by its name", path);
    return fmt::format("{} has the folders of {} that ask", path, guests.size());
  }
  [[nodiscard]] std::vector<std::string> files() const override { return {path}; }
  [[nodiscard]] bool newest_only() const override { return true; }
};

constexpr auto kFields = std::to_array<Field<GuestEnergyPush>>({
    {.key = "name",
     .at = &GuestEnergyPush::name,
     .help = "The destination in logs and metrics.",
     .required = "one: it is the destination in logs and metrics"},
    {.key = "interval",
     .at = &GuestEnergyPush::interval_ns,
     .help = "How often the guests' counters go on.",
     .least = 100'000'000,
     .most = 86'400'000'000'000},
    {.key = "path",
     .at = &GuestEnergyPush::path,
     .help = "The folder with a folder for each guest that is to have its energy, by the guest's name: "
             "`/var/lib/libvirt/scaphandre` as Scaphandre has it. Guests without one have nothing.",
     .required = "the folder by its absolute path",
     .absolute = true},
});

}  // namespace

extern const PushKind guest_energy_push;
constinit const PushKind guest_energy_push = push_kind<GuestEnergyPush, kFields>(
    "guest_energy",
    "a folder in which guests find their own energy as powercap shows it ([power.md](power.md#for-a-guest))");

}  // namespace vitald
