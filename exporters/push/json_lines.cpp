// SPDX-License-Identifier: Apache-2.0
// The destination that is a file, or standard output, to which samples are appended as lines of JSON.
#include "exporters/encode/json_lines.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <climits>
#include <cstdio>

#include "core/clock.h"
#include "core/os/fd.h"
#include "exporters/deliver/http_receiver.h"
#include "exporters/push/file_push.h"
#include "exporters/push/push_table.h"

namespace vitald {
namespace {

constexpr std::size_t kMostLines = 5'000;          // of one item; those of a snapshot may be several
constexpr std::string_view kStandardOutput = "-";  // as a path
constexpr std::string_view kBefore = ".1";         // behind the path: the file before it
constexpr std::size_t kMostTorn = 1 << 20;         // of a line that a crash cut off

struct JsonLinesPush final : PushOf<JsonLinesPush> {
  std::string path;
  std::size_t max_size_mib = 100;
  bool operator==(const JsonLinesPush&) const = default;

  [[nodiscard]] bool to_output() const { return path == kStandardOutput; }
  [[nodiscard]] std::string text() const override {
    return fmt::format("json_lines '{}' ({})", name, to_output() ? "standard output" : path);
  }
  [[nodiscard]] std::unique_ptr<PushEncoder> encoder() const override;
  [[nodiscard]] std::unique_ptr<Destination> destination() const override;
  [[nodiscard]] std::string problem() const override {
    if (!to_output() && !path.starts_with('/'))
      return fmt::format("path: '{}' found, expected an absolute path, or - for standard output", path);
    return PushSettings::problem();
  }
  void check(std::vector<std::string>& problems) const override {
    if (to_output()) return;
    if (const auto found = file_reach(path); !found)
      problems.push_back(fmt::format("push.json_lines '{}': {}", name, found.error().text));
  }
  [[nodiscard]] std::vector<std::string> files() const override {
    if (to_output() || max_size_mib == 0) return {path};
    return {path, path + std::string(kBefore)};
  }
  [[nodiscard]] Result<std::string> reach(const Attempt&) const override {
    if (to_output()) return "standard output";
    return file_reach(path);
  }
};

class Encoder final : public PushEncoder {
 public:
  explicit Encoder(const JsonLinesPush& settings) : table_(table_settings(settings), settings.aggregated()) {}

  void encode(const Snapshot& snapshot, std::vector<Item>& out) override {
    table_.look(snapshot);
    lines_.encode(
        table_.series(), table_.values(), snapshot.wall_ns, kMostLines,
        [&](std::string_view lines, std::uint32_t count) { out.push_back(item_of_lines(snapshot, lines, count)); });
  }
  [[nodiscard]] SeriesLeftOut left_out() const override { return table_.series().left_out(); }
  void observe(const Snapshot& snapshot) override { table_.observe(snapshot); }

 private:
  static SeriesTable::Settings table_settings(const JsonLinesPush& settings) {
    auto out = settings.table();
    out.any_name = true;
    return out;
  }

  PushTable table_;
  JsonLines lines_;
};

// Whether it is the beginning of a line that we write: `{"name":"node_load1","labels":{`, as far as it goes.
bool begins_as_ours(std::string_view text) {
  static constexpr std::string_view kName = "{\"name\":\"", kLabels = "\",\"labels\":{";
  if (text.size() < kName.size()) return kName.starts_with(text);
  if (!text.starts_with(kName)) return false;
  text.remove_prefix(kName.size());
  std::size_t end = 0;  // of the name; a UTF-8 name may have quotes in it
  while (end < text.size() && text[end] != '"') end += text[end] == '\\' ? 2 : 1;
  const auto rest = text.substr(std::min(end, text.size()));
  return rest.starts_with(kLabels) || kLabels.starts_with(rest);
}

// Appends whole items. Who moves the file away gets a new one made with the next item, so nobody has to tell us.
class FileDestination final : public Destination {
 public:
  explicit FileDestination(const JsonLinesPush& settings)
      : path_(settings.path), most_bytes_(settings.max_size_mib << 20), counters_(settings.name) {}

  Result<Sent> send(std::span<const Item> items, const Attempt&) override {
    const auto& item = items.front();
    if (auto opened = open_file(item.body.size()); !opened) return fail(opened.error());
    if (auto written = write_all(file_.get(), item.body, path_); !written) {
      // Half of it is no line that anybody could read.
      if (ftruncate(file_.get(), static_cast<off_t>(size_)) != 0) file_.reset();
      return fail(written.error());
    }
    size_ += item.body.size();
    counters_.sent(item.records);
    counters_.sent_bytes.Increment(static_cast<double>(item.body.size()));
    return Sent{1, 0, 0};
  }

 private:
  Result<> open_file(std::size_t more) {
    struct stat there {
    }, ours{};
    if (file_ && (stat(path_.c_str(), &there) != 0 || fstat(file_.get(), &ours) != 0 || there.st_ino != ours.st_ino ||
                  there.st_dev != ours.st_dev))
      file_.reset();
    if (file_) size_ = static_cast<std::size_t>(ours.st_size);  // somebody may have emptied it
    if (!file_) {
      if (auto opened = open_anew(); !opened) return opened;
    }
    if (most_bytes_ == 0 || size_ == 0 || size_ + more <= most_bytes_) return {};
    const auto old = path_ + std::string(kBefore);
    if (std::rename(path_.c_str(), old.c_str()) != 0) return fail(from_errno(old, errno));
    return open_anew();
  }

  Result<> open_anew() {
    file_.reset(open(path_.c_str(), O_RDWR | O_CREAT | O_APPEND | O_NONBLOCK | O_CLOEXEC | O_NOFOLLOW, 0644));
    if (!file_) return fail(from_errno(path_, errno));
    struct stat status {};
    if (fstat(file_.get(), &status) != 0) return fail(from_errno(path_, errno));
    if (!S_ISREG(status.st_mode)) {
      file_.reset();
      return fail(Errc::io, path_ + ": not a regular file");
    }
    size_ = static_cast<std::size_t>(status.st_size);
    return cut_torn_line();
  }

  // That of a run which was killed while it wrote: the item comes again where it was kept. What is not ours is left as
  // it is.
  Result<> cut_torn_line() {
    const auto first = size_ > kMostTorn ? size_ - kMostTorn : 0;
    std::string end(size_ - first, '\0');
    const auto n = pread(file_.get(), end.data(), end.size(), static_cast<off_t>(first));
    if (n < 0) return fail(from_errno(path_, errno));
    end.resize(static_cast<std::size_t>(n));
    if (end.empty() || end.back() == '\n') return {};
    const auto last = end.rfind('\n');
    if (last == end.npos && first > 0) {
      file_.reset();
      return fail(Errc::malformed, path_ + ": its last line is longer than any of ours; move the file away");
    }
    const auto keep = last == end.npos ? 0 : first + last + 1;
    if (!begins_as_ours(std::string_view(end).substr(keep - first))) {
      file_.reset();
      return fail(Errc::malformed, path_ +
                                       ": its last line has no end and is none of ours, so nothing is appended; end "
                                       "the line, move the file away, or name another path");
    }
    if (ftruncate(file_.get(), static_cast<off_t>(keep)) != 0) return fail(from_errno(path_, errno));
    size_ = keep;
    return {};
  }

  const std::string path_;
  const std::size_t most_bytes_;  // 0: no bound
  const PushCounters counters_;
  Fd file_;
  std::size_t size_ = 0;
};

// Standard output that blocks nobody. Others have it, too, so it is not made non-blocking: of a pipe no more is written
// at a time than one that can be written to takes; a terminal (which promises one byte) is opened once more; a socket
// can be asked not to wait.
class Output {
 public:
  Output() {
    struct stat is {};
    if (fstat(STDOUT_FILENO, &is) == 0 && S_ISSOCK(is.st_mode)) kind_ = Kind::socket;
    if (isatty(STDOUT_FILENO) == 0) return;
    kind_ = Kind::terminal;
    own_.reset(open("/proc/self/fd/1", O_WRONLY | O_NONBLOCK | O_NOCTTY | O_CLOEXEC));
  }
  [[nodiscard]] int fd() const { return own_ ? own_.get() : STDOUT_FILENO; }
  // After POLLOUT. As write(2): it may be less.
  [[nodiscard]] ssize_t write(std::string_view text) const {
    if (kind_ == Kind::socket) return send(fd(), text.data(), text.size(), MSG_DONTWAIT | MSG_NOSIGNAL);
    const std::size_t most = own_ ? text.size() : kind_ == Kind::terminal ? 1 : PIPE_BUF;
    return ::write(fd(), text.data(), std::min(text.size(), most));
  }

 private:
  enum class Kind : std::uint8_t { other, socket, terminal } kind_ = Kind::other;
  Fd own_;
};

class OutputDestination final : public Destination {
 public:
  explicit OutputDestination(const std::string& name) : counters_(name) {}

  Result<Sent> send(std::span<const Item> items, const Attempt& attempt) override {
    const auto& item = items.front();
    if (item.id != item_) item_ = item.id, written_ = 0, end_line_ = in_line_;
    while (end_line_ || written_ < item.body.size()) {
      pollfd waits[] = {{output_.fd(), POLLOUT, 0}, {attempt.stop_fd, POLLIN, 0}};
      const auto left_ms = (attempt.deadline_boot_ns - SystemClock::read(CLOCK_BOOTTIME)) / 1'000'000;
      if (left_ms <= 0) return fail(Errc::io, "standard output: nobody reads it");
      if (poll(waits, 2, static_cast<int>(std::min<std::int64_t>(left_ms, 60'000))) < 0 && errno != EINTR)
        return fail(from_errno("poll", errno));
      if (waits[1].revents != 0) return Sent{};
      if (waits[0].revents == 0) continue;
      const auto rest = end_line_ ? std::string_view("\n") : std::string_view(item.body).substr(written_);
      const auto n = output_.write(rest);
      if (n < 0 && errno != EINTR && errno != EAGAIN) return fail(from_errno("standard output", errno));
      if (n <= 0) continue;
      in_line_ = rest[static_cast<std::size_t>(n) - 1] != '\n';
      if (end_line_) end_line_ = false;
      else written_ += static_cast<std::size_t>(n);
    }
    counters_.sent(item.records);
    counters_.sent_bytes.Increment(static_cast<double>(item.body.size()));
    return Sent{1, 0, 0};
  }

 private:
  const PushCounters counters_;
  const Output output_;
  std::uint64_t item_ = 0;
  std::size_t written_ = 0;  // of that item
  bool in_line_ = false;     // the last byte that was written ended no line
  bool end_line_ = false;    // the item before was dropped within a line, which has to end first
};

std::unique_ptr<PushEncoder> JsonLinesPush::encoder() const { return std::make_unique<Encoder>(*this); }
std::unique_ptr<Destination> JsonLinesPush::destination() const {
  if (to_output()) return std::make_unique<OutputDestination>(name);
  return std::make_unique<FileDestination>(*this);
}

constexpr auto kOwnFields = std::to_array<Field<JsonLinesPush>>({
    {.key = "path",
     .at = &JsonLinesPush::path,
     .help = "The file that lines are appended to, or `-`: standard output. Who moves it away (logrotate) need tell "
             "nobody: a new one is made.",
     .required = "the file by its absolute path, or -"},
    {.key = "max_size",
     .at = &JsonLinesPush::max_size_mib,
     .help = "MiB; a file that would be larger becomes `PATH.1`, in place of the one before. 0: it grows, and somebody "
             "else moves it away.",
     .least = 0,
     .most = 1 << 20},
});
constexpr auto kFields = joined(push_fields<JsonLinesPush>(), joined(kOwnFields, push_queue_fields<JsonLinesPush>()));

}  // namespace

extern const PushKind json_lines_push;
constinit const PushKind json_lines_push = push_kind<JsonLinesPush, kFields>(
    "json_lines",
    "a file, or standard output, to which each sample is appended as a line: `{\"name\", \"labels\", \"value\", "
    "\"timestamp\"}`");

}  // namespace vitald
