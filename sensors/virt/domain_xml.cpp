// SPDX-License-Identifier: Apache-2.0
// Reads the few parts of a domain's XML that become labels. What is not well-formed ends with an error, never with a
// wrong answer.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "core/text/scan.h"
#include "sensors/read/xml.h"
#include "sensors/virt/guest.h"

namespace vitald::virt {
namespace {

// Which namespace an element is in. libvirt's own elements are in none; what users put into <metadata>, and drivers'
// own (<qemu:commandline>), are in others and may be called the same.
class Namespaces {
 public:
  enum class Of : std::uint8_t { libvirt, nova, others };

  void open(const XmlAttributes& attributes) {
    opened_.push_back(known_.size());
    attributes.each([&](std::string_view key, std::string_view value) {
      if (key == "xmlns") known_.push_back({"", std::string(value)});
      else if (take_prefix(key, "xmlns:")) known_.push_back({std::string(key), std::string(value)});
    });
  }
  void close() {
    known_.resize(opened_.back());
    opened_.pop_back();
  }
  // By its prefix, which means what the innermost declaration says; empty: that of the elements without one.
  [[nodiscard]] Of of(std::string_view prefix) const {
    const auto at = std::find_if(known_.rbegin(), known_.rend(), [&](const auto& k) { return k.prefix == prefix; });
    if (at == known_.rend()) return prefix.empty() ? Of::libvirt : Of::others;
    if (at->uri.empty()) return Of::libvirt;
    // The version behind it grows when nova adds something.
    return at->uri.starts_with("http://openstack.org/xmlns/libvirt/nova/") ? Of::nova : Of::others;
  }

 private:
  struct Known {
    std::string prefix, uri;
  };
  std::vector<Known> known_;
  std::vector<std::size_t> opened_;  // how many were known before each open element
};

// Calls open(path, attributes) and, where an element has a text, text(path, text).
// A path is "/domain/devices/disk"; a name of OpenStack's nova has "nova:" before it, whatever prefix it is written
// with, and one of anybody else ":". Prefixes are resolved here: libvirt keeps metadata whose prefix nobody declared,
// which ends a parser that knows of namespaces.
template <class Open, class Text>
Result<> walk(std::string_view xml, Open&& open, Text&& text) {
  std::string path;
  std::vector<std::size_t> lengths;  // of the path outside each open element
  Namespaces namespaces;
  return walk_xml(xml, {.open =
                            [&](std::string_view name, const XmlAttributes& attributes) {
                              namespaces.open(attributes);
                              const auto prefix =
                                  name.find(':') == std::string_view::npos ? std::string_view() : take_until(name, ':');
                              const auto of = namespaces.of(prefix);
                              lengths.push_back(path.size());
                              path += of == Namespaces::Of::nova ? "/nova:" : of == Namespaces::Of::others ? "/:" : "/";
                              path += name;
                              open(path, attributes);
                            },
                        .close =
                            [&](std::string_view, std::string_view content) {
                              if (!content.empty()) text(path, content);
                              path.resize(lengths.back());
                              lengths.pop_back();
                              namespaces.close();
                            }});
}

// libvirt always writes KiB; other units are read for the sake of hand-written XML: "k" and "KiB" are 1024, "KB" is
// 1000 (virScaleInteger). One that is not known makes no number.
double to_bytes(double n, std::string_view unit) {
  if (unit.empty()) unit = "KiB";
  if (unit == "b" || unit == "byte" || unit == "bytes") return n;
  constexpr std::string_view kPrefixes = "kmgtpe";
  const auto power = kPrefixes.find(static_cast<char>(unit.front() | 0x20));
  const auto rest = unit.substr(1);
  const bool binary = rest.empty() || rest == "iB", decimal = rest == "B";
  if (power == kPrefixes.npos || (!binary && !decimal)) return kNone;
  return n * std::pow(binary ? 1024 : 1000, static_cast<double>(power) + 1);
}

// <total_bytes_sec>10485760</total_bytes_sec>
void set_limit(DiskInfo& disk, std::string_view element, std::string_view content) {
  for (std::size_t i = 0; i < std::size(kLimits); ++i) {
    const auto value = kLimits[i].element == element ? parse_double(content) : std::nullopt;
    if (!value) continue;
    disk.limits.resize(std::size(kLimits));
    disk.limits[i] = *value;
  }
}

}  // namespace

Result<GuestInfo> parse_domain_xml(std::string_view xml) {
  GuestInfo g;
  std::string memory_unit;
  const auto open = [&](std::string_view path, const XmlAttributes& a) {
    if (!take_prefix(path, "/domain")) return;
    if (path == "/devices/disk") {
      auto& d = g.disks.emplace_back();
      d.type = a["type"];
      d.device = a["device"];
    } else if (path == "/devices/interface") {
      g.nics.emplace_back().type = a["type"];
    } else if (take_prefix(path, "/devices/disk/")) {
      auto& d = g.disks.back();
      if (path == "target") {
        d.target = a["dev"];
        d.bus = a["bus"];
      } else if (path == "alias") {
        d.alias = a["name"];
      } else if (path == "driver") {
        d.driver_name = a["name"];
        d.driver_type = a["type"];
        d.cache = a["cache"];
        d.discard = a["discard"];
      } else if (path == "source") {
        // <source file=...>, dev= (block, vhostvdpa), name= (network), dir=, path= (vhostuser), pool= and volume=
        for (const auto* key : {"file", "dev", "name", "dir", "path"})
          if (d.source.empty()) d.source = a[key];
        if (d.source.empty() && !a["volume"].empty()) d.source = fmt::format("{}/{}", a["pool"], a["volume"]);
        d.protocol = a["protocol"];
      } else if (path == "source/address" && d.source.empty()) {
        // <address domain='0x0000' bus='0x3e' slot='0x00' function='0x0'/>: the PCI device of a disk of type nvme
        const auto hex = [&a](const char* key) {
          auto text = a[key];
          take_prefix(text, "0x");
          return parse_int<std::uint32_t>(text, 16).value_or(0);
        };
        d.source = fmt::format("{:04x}:{:02x}:{:02x}.{:x}", hex("domain"), hex("bus"), hex("slot"), hex("function"));
      }
    } else if (take_prefix(path, "/devices/interface/")) {
      auto& n = g.nics.back();
      if (path == "target") n.target = a["dev"];
      else if (path == "alias") n.alias = a["name"];
      else if (path == "mac") n.mac = a["address"];
      else if (path == "model") n.model = a["type"];
      else if (path == "mtu") n.mtu = a["size"];
      else if (path == "source") n.bridge = a["bridge"];
      else if (path == "virtualport/parameters") n.virtual_interface = a["interfaceid"];
    } else if (path == "/os/type") {
      g.arch = a["arch"];
      g.machine = a["machine"];
    } else if (path == "/memory") {
      memory_unit = a["unit"];
    } else if (path == "/vcpu") {
      g.vcpus = parse_double(a["current"]).value_or(kNone);
    } else if (take_prefix(path, "/metadata/nova:instance/")) {
      if (path == "nova:flavor") {
        g.flavor = a["name"];
      } else if (path == "nova:owner/nova:user") {
        g.user_uuid = a["uuid"];
      } else if (path == "nova:owner/nova:project") {
        g.project_uuid = a["uuid"];
      } else if (path == "nova:root") {
        g.root_type = a["type"];
        g.root_uuid = a["uuid"];
      }
    }
  };
  const auto text = [&](std::string_view path, std::string_view content) {
    if (!take_prefix(path, "/domain")) return;
    if (path == "/memory") g.memory_bytes = to_bytes(parse_double(content).value_or(kNone), memory_unit);
    else if (path == "/vcpu") g.most_vcpus = parse_double(content).value_or(kNone);
    else if (path == "/os/type") g.os_type = content;
    else if (take_prefix(path, "/devices/disk/iotune/")) set_limit(g.disks.back(), path, content);
    else if (path == "/devices/disk/serial") g.disks.back().serial = content;
    else if (path == "/metadata/nova:instance/nova:name") g.nova_name = content;
    else if (path == "/metadata/nova:instance/nova:owner/nova:user") g.user = content;
    else if (path == "/metadata/nova:instance/nova:owner/nova:project") g.project = content;
  };
  if (const auto read = walk(xml, open, text); !read)
    return fail(Errc::malformed, fmt::format("libvirt: a domain's XML: {}", read.error().text));
  if (std::isnan(g.vcpus)) g.vcpus = g.most_vcpus;  // <vcpu current='2'>8</vcpu>
  return g;
}

}  // namespace vitald::virt
