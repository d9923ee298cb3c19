// SPDX-License-Identifier: Apache-2.0
#include "agent/os/state.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstdlib>

#include "core/instruments.h"
#include "core/log.h"

namespace vitald {
namespace {

constexpr std::string_view kDefault = "the default";

struct Wanted {
  std::string path;
  std::string_view from;  // who said so: for messages
  bool by_flag = false;
};

Wanted wanted(const Options& options) {
  if (options.given("state.directory"))
    return {std::string(options.text("state.directory")), "--state.directory", true};
  if (const char* folders = std::getenv("STATE_DIRECTORY"); folders && *folders) {
    const std::string_view all(folders);  // systemd joins several by colons
    return {std::string(all.substr(0, all.find(':'))), "$STATE_DIRECTORY"};
  }
  return {std::string(options.text("state.directory")), kDefault};
}

bool disk_is_at_fault(int err) { return err == ENOSPC || err == EDQUOT || err == EROFS || err == EIO; }

// What keeps us from it: a problem, or a text that begins with "nothing is kept".
std::string refused(const Wanted& w, const Error& error, std::vector<std::string>& problems) {
  if (w.by_flag && !disk_is_at_fault(error.err))
    problems.push_back(
        fmt::format("{}: {}; give a folder of vitald's own that it can make or write, or an empty value to keep "
                    "nothing",
                    w.from, error.text));
  return fmt::format("nothing is kept over a restart: {} ({})", error.text, w.from);
}

constexpr std::string_view kEmpty = "nothing is kept over a restart: --state.directory is empty";

}  // namespace

StateFolder open_state(const Options& options, std::vector<std::string>& problems) {
  auto& usable =
      instruments().gauge("vitald_state_directory_usable",
                          "1 when --state.directory keeps what must survive a restart, 0 when nothing is kept.");
  usable.Set(0);
  const auto w = wanted(options);
  if (w.path.empty()) return {nullptr, std::string(kEmpty)};
  auto dir = StateDir::open(w.path);
  if (!dir) {
    const auto before = problems.size();
    auto text = refused(w, dir.error(), problems);
    // The default that is not there is for the report only: whoever runs this without root knows.
    if (problems.size() == before && (w.from != kDefault || dir.error().err == EWOULDBLOCK)) log::warn(text);
    return {nullptr, std::move(text)};
  }
  usable.Set(1);
  return {std::move(*dir), w.path};
}

StateCheck check_state(const Options& options, std::vector<std::string>& problems) {
  const auto w = wanted(options);
  if (w.path.empty()) return {false, false, std::string(kEmpty)};
  if (const auto may = StateDir::check(w.path); !may)
    return {false, w.from != kDefault, refused(w, may.error(), problems)};
  return {true, true, w.path};
}

}  // namespace vitald
