// SPDX-License-Identifier: Apache-2.0
#include "core/result.h"

#include <fmt/format.h>

#include <cerrno>
#include <cstring>

namespace vitald {

std::string_view to_string(Errc kind) {
  switch (kind) {
    case Errc::absent: return "absent";
    case Errc::gone: return "gone";
    case Errc::denied: return "denied";
    case Errc::malformed: return "malformed";
    case Errc::timeout: return "timeout";
    case Errc::io: return "io";
  }
  return "io";
}

namespace {
Errc kind_of(int err) {
  switch (err) {
    case ENOENT:
    case ESRCH:
    case ENODEV:
    case ENXIO:
    case ENOTDIR: return Errc::gone;
    case EPERM:
    case EACCES: return Errc::denied;
    case EOPNOTSUPP:
    case ENOSYS: return Errc::absent;
    case ETIMEDOUT: return Errc::timeout;
    default: return Errc::io;
  }
}
}  // namespace

Error from_errno(std::string_view what, int err) {
  const char* name = strerrorname_np(err);
  const char* words = strerrordesc_np(err);
  return {kind_of(err), err, fmt::format("{}: {} ({})", what, words ? words : "unknown error", name ? name : "errno")};
}

}  // namespace vitald
