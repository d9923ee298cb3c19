// SPDX-License-Identifier: Apache-2.0
// Files that always have the newest numbers: written beside, then renamed, so that nobody reads half of one.
#pragma once

#include <memory>
#include <string>

#include "exporters/push/push.h"

namespace vitald {

struct FileSettings {
  std::string path;
  bool remove_at_end = false;
  bool operator==(const FileSettings&) const = default;
};

std::unique_ptr<Destination> file_destination(const std::string& name, const FileSettings& settings);
// Whether it can be written there: in words, or why not.
Result<std::string> file_reach(const std::string& path);

template <class S>
constexpr auto file_fields() {
  return std::to_array<Field<S>>({
      {.key = "path",
       .at = &S::path,
       .help = "The file. It is replaced as a whole, so its folder must be there and let us write.",
       .required = "the file by its absolute path",
       .absolute = true},
      {.key = "remove_at_end", .at = &S::remove_at_end, .help = "Whether the file goes when vitald ends."},
  });
}

}  // namespace vitald
