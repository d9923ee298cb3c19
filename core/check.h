// SPDX-License-Identifier: Apache-2.0
// For our own mistakes, never for input: what must hold whatever the machine and its users do. On in release builds as
// well: a number that is silently wrong is worse than an agent that its supervisor starts again and whose last line
// says where to look.
#pragma once

namespace vitald {

[[noreturn]] void check_failed(const char* what, const char* file, int line) noexcept;

inline void check(bool holds, const char* what, const char* file = __builtin_FILE(), int line = __builtin_LINE()) {
  if (!holds) [[unlikely]]
    check_failed(what, file, line);
}

}  // namespace vitald
