// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/vm_lines.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <span>

#include "core/text/number.h"
#include "exporters/encode/guest_table.h"
#include "exporters/encode/influx_line.h"

namespace vitald {
namespace {

void append_tag(std::string& out, std::string_view key, std::string_view value) {
  std::string text;
  append_influx_name(text, value, false);
  if (text.empty()) return;  // no tag is empty
  out += ',';
  append_influx_name(out, key, false);
  out += '=';
  out += text;
}

// One line; it is taken back when it has no field.
class Line {
 public:
  Line(std::string& out, std::string_view measurement, std::string_view tags) : out_(out), begin_(out.size()) {
    out_ += measurement;
    out_ += tags;
    fields_ = out_.size();
  }
  void field(const GuestField& field, const std::optional<double>& value) {
    if (!value || !std::isfinite(*value)) return;
    if (field.whole) {
      // Beyond this no double is a 64-bit integer, and the server refuses the line.
      if (std::fabs(*value) >= 9.2e18) return;
      name(field.name);
      fmt::format_to(std::back_inserter(out_), "{}i", std::llround(*value));
      return;
    }
    name(field.name);
    char text[kMaxNumberText];
    out_.append(text, write_number(text, *value));
  }
  template <std::size_t N>
  void fields(const std::array<GuestField, N>& fields, const std::array<std::optional<double>, N>& values) {
    for (std::size_t i = 0; i < N; ++i) field(fields[i], values[i]);
  }
  void word(std::string_view key, std::string_view value) {
    name(key);
    append_influx_string(out_, value);
  }
  // How many lines it is: 1 or 0.
  std::uint32_t end(std::int64_t wall_ns) {
    if (out_.size() == fields_) {
      out_.resize(begin_);
      return 0;
    }
    fmt::format_to(std::back_inserter(out_), " {}\n", wall_ns);
    return 1;
  }

 private:
  void name(std::string_view key) {
    out_ += out_.size() == fields_ ? ' ' : ',';
    out_ += key;
    out_ += '=';
  }
  std::string& out_;
  std::size_t begin_, fields_ = 0;
};

}  // namespace

VmLines::VmLines(Settings settings) {
  const auto has = [&](std::string_view name) { return std::ranges::count(settings.measurements, name) > 0; };
  metrics_ = has("vm_metrics");
  features_ = has("vm_features");
  devices_ = has("vm_devices");
  totals_ = has("vm_totals");
  for (const auto& [key, value] : settings.tags) append_tag(tags_, key, value);
}

std::uint32_t VmLines::encode(const Snapshot& snapshot, std::string& out) {
  if (!metrics_ && !features_ && !devices_ && !totals_) return 0;
  const auto table = guests_of(snapshot);
  if (!table.up || table.boot_ns == last_boot_ns_) return 0;
  last_boot_ns_ = table.boot_ns;
  // Old numbers under a new time would be a guest that did nothing.
  const bool read = table.read_boot_ns != last_read_boot_ns_;
  last_read_boot_ns_ = table.read_boot_ns;
  std::uint32_t count = 0;
  for (const auto& guest : table.guests) {
    if (!guest.id) continue;  // without its number it would be another series
    std::string tags;
    append_tag(tags, "VMID", fmt::to_string(*guest.id));
    append_tag(tags, "name", guest.name);
    append_tag(tags, "uuid", guest.uuid);
    if (metrics_ && read) {
      Line line(out, "vm_metrics", tags + tags_);
      if (guest.state) line.word("state", guest_state_word(*guest.state));
      line.fields(kGuestFields, guest.fields);
      count += line.end(table.read_wall_ns);
    }
    if (features_ && read) {
      Line line(out, "vm_features", tags + tags_);
      line.fields(kFeatureFields, guest.features);
      count += line.end(table.read_wall_ns);
    }
    if (devices_) {
      for (const auto& device : guest.devices) {
        if (device.disk && !read) continue;
        auto device_tags = tags;
        append_tag(device_tags, "device", device.name);
        append_tag(device_tags, "kind", device.disk ? "disk" : "interface");
        Line line(out, "vm_devices", device_tags + tags_);
        line.fields(device.disk ? kDiskFields : kInterfaceFields, device.fields);
        count += line.end(device.disk ? table.read_wall_ns : table.wall_ns);
      }
    }
    if (totals_ && read) {
      Line line(out, "vm_totals", tags + tags_);
      line.fields(kTotalFields, guest.totals);
      count += line.end(table.read_wall_ns);
    }
  }
  return count;
}

}  // namespace vitald
