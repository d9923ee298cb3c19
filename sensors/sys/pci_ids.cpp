// SPDX-License-Identifier: Apache-2.0
#include "sensors/sys/pci_ids.h"

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

// One entry: its name and the text of the entries below it.
struct Entry {
  std::string_view name, below;
};

// "1022  Advanced Micro Devices, Inc. [AMD]" at `depth` tabs; below it the lines with more tabs.
std::string_view depth_tabs(std::size_t depth) { return std::string_view("\t\t").substr(0, depth); }

Entry find(std::string_view text, std::size_t depth, std::string_view key) {
  const auto tabs = depth_tabs(depth);
  while (!text.empty()) {
    auto line = take_line(text);
    if (!line.starts_with(tabs)) continue;
    line.remove_prefix(tabs.size());
    if (!line.starts_with(key) || line.substr(key.size(), 2) != "  ") continue;
    std::string_view rest = text;
    while (!rest.empty()) {
      std::string_view after = rest;
      const auto next = take_line(after);
      const bool deeper = next.size() > depth && next.substr(0, depth + 1).find_first_not_of('\t') == next.npos;
      if (!deeper && !next.empty() && next.front() != '#') break;
      rest = after;
    }
    return {trim(line.substr(key.size())), text.substr(0, text.size() - rest.size())};
  }
  return {};
}

std::string_view digits(std::string_view id) {
  take_prefix(id, "0x");
  return id;
}

std::string name_or(std::string_view name, std::string_view id) { return std::string(name.empty() ? id : name); }

}  // namespace

Result<> PciIds::load(const std::string& path) {
  if (loaded_) return {};
  loaded_ = true;
  auto text = read_kernel_file(path.empty() ? "/usr/share/misc/pci.ids" : path);
  if (!text && path.empty()) text = read_kernel_file("/usr/share/hwdata/pci.ids");
  if (text) text_ = *text;
  else if (text.error().kind != Errc::gone) return fail(text.error());
  return {};
}

void PciIds::append_names(std::string_view device_class, std::string_view vendor, std::string_view device,
                          std::string_view sub_vendor, std::string_view sub_device,
                          std::vector<std::string>& out) const {
  const auto v = digits(vendor), d = digits(device), sv = digits(sub_vendor), sd = digits(sub_device);
  const Entry of_vendor = find(text_, 0, v);
  const Entry of_device = find(of_vendor.below, 1, d);
  out.push_back(name_or(of_vendor.name, v));
  out.push_back(name_or(of_device.name, d));
  out.push_back(name_or(find(text_, 0, sv).name, sv));
  out.push_back(name_or(find(of_device.below, 2, std::string(sv) + " " + std::string(sd)).name, sd));

  // "C 01  Mass storage controller", below it subclasses, below those programming interfaces: the most
  // exact name there is.
  const auto c = digits(device_class);
  const auto part = [&](std::size_t at) { return c.size() >= at + 2 ? c.substr(at, 2) : std::string_view("?"); };
  const Entry base = find(text_, 0, "C " + std::string(part(0)));
  const Entry sub = find(base.below, 1, part(2));
  const Entry interface = find(sub.below, 2, part(4));
  for (const auto& name : {interface.name, sub.name, base.name})
    if (!name.empty()) {
      out.emplace_back(name);
      return;
    }
  out.push_back("Unknown class (" + std::string(c) + ")");
}

}  // namespace vitald
