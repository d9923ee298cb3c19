// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/journal.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <charconv>
#include <filesystem>
#include <optional>

#include "core/log.h"
#include "exporters/deliver/segment.h"

namespace vitald {
namespace {

constexpr std::string_view kEnding = ".queue";
constexpr std::size_t kMostFile = Journal::kSegmentBytes + kMostRecord + (1 << 20);
constexpr std::size_t kMostDamaged = 4;  // files that are kept for a person to look at
// A file whose items are all done with is emptied only when it is worth the work.
constexpr std::size_t kSmall = 64 << 10;

// A name as that of a folder: what could mean something to a file system becomes %XX.
std::string folder_name(std::string_view name) {
  std::string out;
  for (const char c : name) {
    if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || c == '-' || c == '_') out += c;
    else out += fmt::format("%{:02x}", static_cast<unsigned char>(c));
  }
  if (out.size() <= 100) return out;
  std::uint64_t hash = 0xcbf29ce484222325;  // FNV-1a: the same in every build
  for (const char c : name) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001b3;
  return fmt::format("{}-{:016x}", out.substr(0, 80), hash);
}

std::string segment_name(std::uint64_t first_id) { return fmt::format("{:016x}{}", first_id, kEnding); }

std::optional<std::uint64_t> first_id_of(std::string_view name) {
  if (name.size() != 16 + kEnding.size() || !name.ends_with(kEnding)) return std::nullopt;
  std::uint64_t id{};
  const auto [end, error] = std::from_chars(name.data(), name.data() + 16, id, 16);
  if (error != std::errc() || end != name.data() + 16) return std::nullopt;
  return id;
}

}  // namespace

Journal::Journal(std::shared_ptr<const StateDir> state, std::string name, std::string_view in, std::size_t most_bytes)
    : state_(std::move(state)),
      segment_bytes_(std::min(kSegmentBytes, most_bytes / kLeastSegments)),
      name_(std::move(name)),
      folder_(fmt::format("{}/{}", in, folder_name(name_))) {}

Result<std::string> Journal::bytes_of(const std::string& name) const {
  auto text = state_->read(folder_ + "/" + name, kMostFile);
  if (!text) return fail(std::move(text.error()));
  return std::move(*text).value_or("");
}

Result<Journal::Found> Journal::open() {
  if (auto made = state_->folder(folder_); !made) return fail(std::move(made.error()));
  const auto lock_path = path() + "/lock";
  lock_.reset(::open(lock_path.c_str(), O_RDWR | O_CREAT | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!lock_) return fail(from_errno(lock_path, errno));
  // The state folder is ours alone; this is for a queue of the same name that a reload could not end in time.
  if (flock(lock_.get(), LOCK_EX | LOCK_NB) != 0)
    return fail(from_errno(fmt::format("{}: still in use by the queue before the reload", lock_path), errno));

  segments_.clear();
  Found found;
  std::vector<std::string> foreign, damaged;
  std::error_code error;
  for (const auto& entry : std::filesystem::directory_iterator(path(), error)) {
    const auto file = entry.path().filename().string();
    if (file == "lock") continue;
    if (file.ends_with(".damaged")) damaged.push_back(file);
    else if (const auto id = first_id_of(file)) segments_[*id].name = file;
    else if (!file.ends_with(".new")) foreign.push_back(file);
  }
  if (error) return fail(from_errno(path(), error.value()));
  if (!foreign.empty())
    log::warn("files in the queue's folder are not ours and are left alone",
              {{"destination", name_}, {"folder", path()}, {"files", fmt::format("{}", fmt::join(foreign, " "))}});

  std::map<std::uint64_t, std::vector<std::pair<std::uint64_t, std::int64_t>>> ids;  // with wall_ms
  for (auto at = segments_.begin(); at != segments_.end();) {
    auto& segment = at->second;
    last_id_ = std::max(last_id_, at->first);  // its name is taken, whatever is in it
    const auto bytes = bytes_of(segment.name);
    if (!bytes) {  // no file of ours at all, or too large for one, or the disk is broken: nothing to do about it here
      log::warn("a file of the queue cannot be read and is left alone",
                {{"destination", name_}, {"err", bytes.error().text}});
      at = segments_.erase(at);
      continue;
    }
    segment.bytes = bytes->size();
    auto content = read_segment(*bytes);
    if (content.damaged_bytes > 0 || !content.ours) {
      found.damaged_bytes += content.damaged_bytes;
      set_aside(segment, *bytes, content.items);
      damaged.push_back(segment.name + ".damaged");
    }
    segment.items = content.items.size();
    for (const auto& item : content.items) {
      segment.last_id = std::max(segment.last_id, item.id);
      ids[at->first].emplace_back(item.id, item.wall_ms);
    }
    found.done = std::max(found.done, content.done);
    last_id_ = std::max({last_id_, segment.last_id, content.done});
    ++at;
  }
  found.last_id = last_id_;
  std::ranges::sort(damaged);
  for (std::size_t i = 0; i + kMostDamaged < damaged.size(); ++i)
    unlink(fmt::format("{}/{}", path(), damaged[i]).c_str());

  for (const auto& [first, of_segment] : ids)
    for (const auto& [id, wall_ms] : of_segment) {
      if (id <= found.done) continue;
      if (found.items++ == 0) found.oldest_wall_ms = wall_ms;
    }
  done(found.done);
  return found;
}

// The bytes as they are under another name, and what is good in them in their place.
void Journal::set_aside(Segment& segment, const std::string& bytes, const std::vector<Item>& good) {
  const auto from = fmt::format("{}/{}", path(), segment.name);
  const auto to = from + ".damaged";
  unlink(to.c_str());
  if (link(from.c_str(), to.c_str()) != 0)
    log::warn("a damaged file of the queue cannot be set aside", {{"err", from_errno(to, errno).text}});
  std::string fresh(kSegmentHead);
  for (const auto& item : good) append_item_record(fresh, item);
  // On a full disk the damaged one stays: its good items are found in it as well.
  if (const auto written = state_->write(folder_ + "/" + segment.name, fresh)) segment.bytes = fresh.size();
  log::warn("a file of the queue is damaged: what is good in it is kept", {{"destination", name_},
                                                                           {"file", to},
                                                                           {"bytes", fmt::format("{}", bytes.size())},
                                                                           {"items", fmt::format("{}", good.size())}});
}

Result<> Journal::begin_segment(std::uint64_t first_id) {
  const auto name = segment_name(first_id);
  const auto file = fmt::format("{}/{}", path(), name);
  Fd fresh(::open(file.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_NOFOLLOW | O_CLOEXEC, 0600));
  if (!fresh) return fail(from_errno(file, errno));
  auto begun = write_all(fresh.get(), kSegmentHead, file);
  if (begun) begun = sync_folder(path());
  if (!begun) {
    unlink(file.c_str());
    return begun;
  }
  current_ = std::move(fresh);
  segments_[first_id] = {name, 0, 0, kSegmentHead.size()};
  return {};
}

// Half a record is as bad as none for whoever reads on behind it, so it is cut off again.
Result<> Journal::append_bytes(std::string_view bytes, bool sync) {
  auto& segment = segments_.rbegin()->second;
  const auto file = fmt::format("{}/{}", path(), segment.name);
  auto written = write_all(current_.get(), bytes, file);
  if (written && sync && fdatasync(current_.get()) != 0) written = fail(from_errno(file, errno));
  if (written) {
    segment.bytes += bytes.size();
    return {};
  }
  if (ftruncate(current_.get(), static_cast<off_t>(segment.bytes)) != 0) current_.reset();  // the next begins anew
  return written;
}

Result<> Journal::append(std::span<const ItemPtr> items, bool sync) {
  auto done = append_once(items, sync);
  // Only what must not be lost may have the reserve.
  if (!done && sync && StateDir::is_full(done.error()) && state_->make_room()) done = append_once(items, sync);
  return done;
}

Result<> Journal::append_once(std::span<const ItemPtr> items, bool sync) {
  if (items.empty()) return {};
  const auto first = items.front()->id;
  last_id_ = std::max(last_id_, items.back()->id);
  // Older than what is there (saved at the end while newer ones were on disk before): a file of its own.
  const bool fits = current_ && !segments_.empty() && segments_.rbegin()->second.bytes < segment_bytes_ &&
                    first > segments_.rbegin()->second.last_id && first >= segments_.rbegin()->first;
  std::string bytes;
  for (const auto& item : items) append_item_record(bytes, *item);
  if (!fits) {
    if (!segments_.empty() && first < segments_.rbegin()->first) {
      std::string whole(kSegmentHead);
      whole += bytes;
      if (auto written = state_->write(fmt::format("{}/{}", folder_, segment_name(first)), whole); !written)
        return written;
      segments_[first] = {segment_name(first), items.back()->id, items.size(), whole.size()};
      return {};
    }
    current_.reset();
    if (auto begun = begin_segment(first); !begun) return begun;
  }
  if (auto written = append_bytes(bytes, sync); !written) return written;
  auto& segment = segments_.rbegin()->second;
  segment.last_id = items.back()->id;
  segment.items += items.size();
  return {};
}

void Journal::done(std::uint64_t id) {
  if (id > done_) {
    done_ = id;
    // A mark is needed where a file has both: what is done with and what is not.
    if (std::ranges::any_of(segments_, [this](const auto& s) { return s.first <= done_ && s.second.last_id > 0; }))
      mark();
  }
  for (auto at = segments_.begin(); at != segments_.end();) {
    const bool open = current_ && std::next(at) == segments_.end();
    if (at->second.last_id > done_ || (open && at->second.bytes < kSmall)) {
      ++at;
      continue;
    }
    if (open) current_.reset();
    remove(at->second);
    at = segments_.erase(at);
  }
}

// Without it, as on a full disk, the items come once more after a restart.
void Journal::mark() {
  if (!current_ && !begin_segment(last_id_ + 1)) return;
  std::string record;
  append_done_record(record, done_);
  if (const auto written = append_bytes(record, false); !written)
    log::debug("the journal cannot be marked", {{"destination", name_}, {"err", written.error().text}});
}

void Journal::remove_all() {
  current_.reset();
  for (const auto& [first, segment] : segments_) remove(segment);
  segments_.clear();
}

Result<std::vector<ItemPtr>> Journal::load(std::uint64_t after) const {
  std::vector<ItemPtr> out;
  for (const auto& [first, segment] : segments_) {
    if (segment.last_id <= after) continue;
    const auto bytes = bytes_of(segment.name);
    if (!bytes) return fail(bytes.error());
    for (auto& item : read_segment(*bytes).items)
      if (item.id > after) out.push_back(std::make_shared<const Item>(std::move(item)));
    std::ranges::stable_sort(out, {}, [](const ItemPtr& item) { return item->id; });
    if (!out.empty()) break;
  }
  return out;
}

std::uint64_t Journal::oldest_segment_ends() const { return segments_.empty() ? 0 : segments_.begin()->second.last_id; }

std::size_t Journal::bytes() const {
  std::size_t sum = 0;
  for (const auto& [first, segment] : segments_) sum += segment.bytes;
  return sum;
}

void Journal::remove(const Segment& segment) const {
  const auto file = fmt::format("{}/{}", path(), segment.name);
  if (unlink(file.c_str()) != 0 && errno != ENOENT)
    log::warn("a file of the queue cannot be removed", {{"err", from_errno(file, errno).text}});
}

std::vector<LeftBehind> left_behind(const StateDir& state, std::span<const std::string> names, std::int64_t now_wall_ms,
                                    std::int64_t keep_ms, std::string_view in) {
  std::vector<LeftBehind> out;
  std::error_code error;  // no folder, or none that can be read: nothing that could be said of it
  for (const auto& folder : std::filesystem::directory_iterator(state.at(std::string(in)), error)) {
    const auto name = folder.path().filename().string();
    if (!folder.is_directory(error) || std::ranges::find(names, name, folder_name) != names.end()) continue;
    LeftBehind left{folder.path().string(), 0, false};
    const Fd lock(::open((left.path + "/lock").c_str(), O_RDWR | O_NOFOLLOW | O_CLOEXEC));
    if (!lock || flock(lock.get(), LOCK_EX | LOCK_NB) != 0) continue;
    std::uint64_t done = 0;
    bool foreign = false;
    std::vector<std::pair<std::uint64_t, std::int64_t>> items;  // id, time
    std::vector<std::string> ours;
    for (const auto& file : std::filesystem::directory_iterator(folder.path(), error)) {
      const auto base = file.path().filename().string();
      const bool segment = first_id_of(base).has_value();
      if (segment || base == "lock" || base.ends_with(".damaged") || base.ends_with(".new")) ours.push_back(base);
      else foreign = true;
      if (!segment) continue;
      const auto bytes = state.read(fmt::format("{}/{}/{}", in, name, base), kMostFile);
      if (!bytes || !*bytes) continue;
      const auto content = read_segment(**bytes);
      done = std::max(done, content.done);
      for (const auto& item : content.items) items.emplace_back(item.id, item.wall_ms);
    }
    std::int64_t newest_ms = 0;
    for (const auto& [id, wall_ms] : items)
      if (id > done) ++left.items, newest_ms = std::max(newest_ms, wall_ms);
    if (!foreign && (left.items == 0 || now_wall_ms - newest_ms > keep_ms)) {
      for (const auto& file : ours) unlink(fmt::format("{}/{}", left.path, file).c_str());
      left.removed = rmdir(left.path.c_str()) == 0;
    }
    out.push_back(std::move(left));
  }
  return out;
}

}  // namespace vitald
