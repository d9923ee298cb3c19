// SPDX-License-Identifier: Apache-2.0
#include "sensors/hwmon/chips.h"

#include <sys/stat.h>

#include <cstdlib>
#include <map>
#include <memory>
#include <utility>

#include "core/os/fd.h"
#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

std::string resolve(const std::string& path) {
  const std::unique_ptr<char, Call<&free>> real(realpath(path.c_str(), nullptr));
  return real ? real.get() : "";
}

std::string_view base_name(std::string_view path) { return path.substr(path.rfind('/') + 1); }

std::string read_name(const std::string& directory) {
  const auto text = read_kernel_file(directory + "/name");
  return text ? std::string(*text) : std::string();
}

// The path of the device is stable where hwmonN is not: .../platform/coretemp.0 -> platform_coretemp_0.
std::string device_name(const std::string& directory) {
  const auto path = resolve(directory + "/device");
  if (path.empty()) return {};
  const auto name = clean_metric_name(base_name(path));
  const auto bus = clean_metric_name(base_name(std::string_view(path).substr(0, path.rfind('/'))));
  return bus.empty() || name.empty() ? name : bus + "_" + name;
}

}  // namespace

std::string clean_metric_name(std::string_view name) {
  std::string out;
  for (std::size_t i = 0; i < name.size(); ++i) {
    const char c = name[i];
    if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == ':') {
      out += c;
    } else if (c >= 'A' && c <= 'Z') {
      out += static_cast<char>(c - 'A' + 'a');
    } else {
      out += '_';
      // One for a character, not for each of its bytes.
      if (static_cast<unsigned char>(c) >= 0xc0)
        while (i + 1 < name.size() && (static_cast<unsigned char>(name[i + 1]) & 0xc0) == 0x80) ++i;
    }
  }
  while (!out.empty() && out.back() == '_') out.pop_back();
  const auto first = out.find_first_not_of('_');
  return first == std::string::npos ? std::string() : out.substr(first);
}

// ^(?P<type>[^0-9]+)(?P<id>[0-9]*)?(_(?P<property>.+))?$
SensorFile split_sensor_file(std::string_view name) {
  SensorFile out;
  const auto digits = name.find_first_of("0123456789");
  if (digits == 0 || name.empty()) return out;
  if (digits == std::string_view::npos) {
    out.type = name;
    out.valid = true;
    return out;
  }
  const auto end = name.find_first_not_of("0123456789", digits);
  if (end == std::string_view::npos || (name[end] == '_' && end + 1 < name.size())) {
    const auto number = parse_int<int>(name.substr(digits, end == std::string_view::npos ? end : end - digits));
    if (!number) return out;
    out.type = name.substr(0, digits);
    out.number = *number;
    if (end != std::string_view::npos) out.property = name.substr(end + 1);
  } else {
    // in_5v: the number belongs to the property.
    const auto bar = name.substr(0, digits).rfind('_');
    if (bar == std::string_view::npos || bar == 0) return out;
    out.type = name.substr(0, bar);
    out.property = name.substr(bar + 1);
  }
  out.valid = true;
  return out;
}

Result<std::vector<HwmonChip>> list_hwmon_chips(const std::string& class_directory) {
  const auto entries = list_directory(class_directory);
  if (!entries) return fail(entries.error());
  struct Found {
    HwmonChip chip;
    std::string name;  // of the name file, trimmed
  };
  std::vector<Found> found;
  std::map<std::string, int> of_base;
  std::map<std::pair<std::string, std::string>, int> of_name;
  for (const auto& entry : *entries) {
    Found f;
    f.chip.directory = class_directory + "/" + entry;
    struct stat st {};
    if (stat(f.chip.directory.c_str(), &st) != 0 || !S_ISDIR(st.st_mode)) continue;
    const auto name = read_name(f.chip.directory);
    f.name = trim(name);
    f.chip.chip_name = clean_metric_name(name);
    f.chip.target = read_link(f.chip.directory);
    f.chip.chip = device_name(f.chip.directory);
    if (f.chip.chip.empty()) f.chip.chip = f.chip.chip_name;
    if (f.chip.chip.empty()) f.chip.chip = clean_metric_name(base_name(resolve(f.chip.directory)));
    if (f.chip.chip.empty()) continue;
    ++of_base[f.chip.chip];
    ++of_name[{f.chip.chip, f.name}];
    found.push_back(std::move(f));
  }
  // Several chips of one device (fans and sensors of an asus-nb-wmi) are told apart by their name files, or
  // by hwmonN where those are equal too. All of them, so the second one that appears renames the first.
  std::vector<HwmonChip> chips;
  for (auto& f : found) {
    if (of_base[f.chip.chip] > 1) {
      auto suffix = clean_metric_name(f.name);
      if (suffix.empty() || of_name[{f.chip.chip, f.name}] > 1) suffix = clean_metric_name(base_name(f.chip.directory));
      f.chip.chip += "_" + suffix;
    }
    chips.push_back(std::move(f.chip));
  }
  return chips;
}

}  // namespace vitald
