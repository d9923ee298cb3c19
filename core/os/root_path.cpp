// SPDX-License-Identifier: Apache-2.0
#include "core/os/root_path.h"

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr int kMostLinks = 40;  // MAXSYMLINKS, include/linux/namei.h

}  // namespace

std::string path_below_root(const std::string& root, std::string_view path) {
  if (root == "/" || root.empty()) return path.starts_with('/') ? std::string(path) : "/" + std::string(path);
  std::string at = root;
  std::string rest(path);
  int links = 0;
  while (!rest.empty()) {
    std::string_view left = rest;
    const std::string name(take_until(left, '/'));
    std::string after(left);
    if (name == "..") {
      if (at.size() > root.size()) at.resize(at.rfind('/'));
    } else if (!name.empty() && name != ".") {
      const auto length = at.size();
      at.append("/").append(name);
      if (const auto target = read_link(at); !target.empty()) {
        if (++links > kMostLinks) return at + (after.empty() ? "" : "/" + after);
        at.resize(target.front() == '/' ? root.size() : length);
        after = after.empty() ? target : target + "/" + after;
      }
    }
    rest = std::move(after);
  }
  return at;
}

bool is_below(std::string_view path, std::string_view folder) {
  return path.starts_with(folder) && (folder == "/" || path.size() == folder.size() || path[folder.size()] == '/');
}

std::string path_on_host(std::string_view root, std::string_view path) {
  if (root == "/" || !is_below(path, root)) return std::string(path);
  path.remove_prefix(root.size());
  return std::string(path.empty() ? "/" : path);
}

}  // namespace vitald
