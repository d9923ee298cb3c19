// SPDX-License-Identifier: Apache-2.0
// Which machine this is, whatever it is called: the id that systemd gives an installation once.
#pragma once

#include <string>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {

// 32 hexadecimal digits; empty where there is none.
inline std::string machine_id() {
  for (const auto* path : {"/etc/machine-id", "/var/lib/dbus/machine-id"}) {
    const auto text = read_text_file(path, 4096);
    if (!text) continue;
    const auto id = trim(*text);
    if (id.size() == 32 && id.find_first_not_of("0123456789abcdef") == id.npos) return std::string(id);
  }
  return {};
}

// The same as a UUID: 8-4-4-4-12.
inline std::string machine_uuid() {
  auto id = machine_id();
  if (id.empty()) return id;
  for (const std::size_t at : {8u, 13u, 18u, 23u}) id.insert(at, 1, '-');
  return id;
}

}  // namespace vitald
