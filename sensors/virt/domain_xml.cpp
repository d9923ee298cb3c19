// SPDX-License-Identifier: Apache-2.0
// Reads the few parts of a domain's XML that become labels. libvirt writes it, so it is well-formed; what is
// not ends with an error, never with a wrong answer.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <string>
#include <vector>

#include "core/text/scan.h"
#include "sensors/virt/guest.h"

namespace vitald::virt {
namespace {

void append_utf8(std::string& out, std::uint32_t c) {
  if (c < 0x80) {
    out += static_cast<char>(c);
  } else if (c < 0x800) {
    out += static_cast<char>(0xc0 | (c >> 6));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else if (c < 0x10000) {
    out += static_cast<char>(0xe0 | (c >> 12));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  } else {
    out += static_cast<char>(0xf0 | (c >> 18));
    out += static_cast<char>(0x80 | ((c >> 12) & 0x3f));
    out += static_cast<char>(0x80 | ((c >> 6) & 0x3f));
    out += static_cast<char>(0x80 | (c & 0x3f));
  }
}

// "a &amp; &#x41;" -> "a & A". What is no reference stays as it is.
std::string unescape(std::string_view text) {
  struct Entity {
    std::string_view name;
    char c;
  };
  static constexpr Entity kEntities[] = {{"amp;", '&'}, {"lt;", '<'}, {"gt;", '>'}, {"quot;", '"'}, {"apos;", '\''}};
  std::string out;
  while (!text.empty()) {
    const auto at = text.find('&');
    out += text.substr(0, at);
    if (at == std::string_view::npos) break;
    text.remove_prefix(at + 1);
    bool known = false;
    for (const auto& e : kEntities)
      if (!known && take_prefix(text, e.name)) out += e.c, known = true;
    if (!known && take_prefix(text, "#")) {
      const bool hex = take_prefix(text, "x");
      const auto number = take_until(text, ';');
      append_utf8(out, parse_int<std::uint32_t>(number, hex ? 16 : 10).value_or(0xfffd));
      known = true;
    }
    if (!known) out += '&';
  }
  return out;
}

// <name a="b" c='d'>: the value of one attribute, or nothing.
class Attributes {
 public:
  explicit Attributes(std::string_view text) : text_(text) {}
  [[nodiscard]] std::string operator[](std::string_view name) const {
    std::string found;
    each([&](std::string_view key, std::string_view value) {
      if (key != name) return true;
      found = unescape(value);
      return false;
    });
    return found;
  }
  // Until `found(key, value as it is written)` is false.
  template <class Found>
  void each(Found&& found) const {
    auto rest = text_;
    while (!(rest = trim(rest)).empty()) {
      const auto key = trim(take_until(rest, '='));
      rest = trim(rest);
      if (rest.empty()) break;
      const char quote = rest.front();
      rest.remove_prefix(1);
      if (!found(key, take_until(rest, quote))) break;
    }
  }

 private:
  std::string_view text_;
};

// Where a tag that starts at rest[0] == '<' ends; '>' within quotes does not count.
std::size_t tag_end(std::string_view rest) {
  char quote = 0;
  for (std::size_t i = 1; i < rest.size(); ++i) {
    const char c = rest[i];
    if (quote != 0) {
      if (c == quote) quote = 0;
    } else if (c == '"' || c == '\'') {
      quote = c;
    } else if (c == '>') {
      return i;
    }
  }
  return std::string_view::npos;
}

bool skip_to(std::string_view& rest, std::string_view end) {
  const auto at = rest.find(end);
  if (at == std::string_view::npos) return false;
  rest.remove_prefix(at + end.size());
  return true;
}

// Which namespace an element is in. libvirt's own elements are in none; what users put into <metadata>, and drivers'
// own (<qemu:commandline>), are in others and may be called the same.
class Namespaces {
 public:
  enum class Of : std::uint8_t { libvirt, nova, others };

  void open(const Attributes& attributes) {
    opened_.push_back(known_.size());
    attributes.each([&](std::string_view key, std::string_view value) {
      if (key == "xmlns") known_.push_back({"", unescape(value)});
      else if (take_prefix(key, "xmlns:")) known_.push_back({std::string(key), unescape(value)});
      return true;
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

// Calls open(path, attributes), text(path, text) and nothing at the end of an element.
// A path is "/domain/devices/disk"; a name of OpenStack's nova has "nova:" before it, whatever prefix it is written
// with, and one of anybody else ":".
template <class Open, class Text>
bool walk(std::string_view rest, Open&& open, Text&& text) {
  std::string path;
  Namespaces namespaces;
  while (!rest.empty()) {
    if (rest.front() != '<') {
      const auto between = rest.substr(0, rest.find('<'));
      rest.remove_prefix(between.size());
      if (const auto content = trim(between); !content.empty()) text(path, unescape(content));
      continue;
    }
    if (rest.starts_with("<!--")) {
      if (!skip_to(rest, "-->")) return false;
      continue;
    }
    if (take_prefix(rest, "<![CDATA[")) {
      const auto at = rest.find("]]>");
      if (at == std::string_view::npos) return false;
      text(path, std::string(rest.substr(0, at)));
      rest.remove_prefix(at + 3);
      continue;
    }
    const auto end = tag_end(rest);
    if (end == std::string_view::npos) return false;
    auto tag = rest.substr(1, end - 1);
    rest.remove_prefix(end + 1);
    if (tag.empty()) return false;
    if (tag.front() == '?' || tag.front() == '!') continue;
    if (tag.front() == '/') {
      if (path.empty()) return false;
      path.resize(path.rfind('/'));
      namespaces.close();
      continue;
    }
    const bool closed = tag.back() == '/';
    if (closed) tag.remove_suffix(1);
    auto name = take_word(tag);
    const auto prefix = name.find(':') == std::string_view::npos ? std::string_view() : take_until(name, ':');
    if (name.find('/') != std::string_view::npos) return false;  // no name of XML; the path would lie
    const Attributes attributes(tag);
    namespaces.open(attributes);
    const auto of = namespaces.of(prefix);
    const auto length = path.size();
    path += of == Namespaces::Of::nova ? "/nova:" : of == Namespaces::Of::others ? "/:" : "/";
    path += name;
    open(path, attributes);
    if (!closed) continue;
    path.resize(length);
    namespaces.close();
  }
  return path.empty();
}

// libvirt always writes KiB; other units are read for the sake of hand-written XML.
double to_bytes(double n, std::string_view unit) {
  if (unit == "b" || unit == "bytes") return n;
  if (unit == "MiB" || unit == "M") return n * 1024 * 1024;
  if (unit == "GiB" || unit == "G") return n * 1024 * 1024 * 1024;
  return n * 1024;
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
  const auto open = [&](std::string_view path, const Attributes& a) {
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
          const auto value = a[key];
          std::string_view text = value;
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
  const auto text = [&](std::string_view path, std::string content) {
    if (!take_prefix(path, "/domain")) return;
    if (path == "/memory") g.memory_bytes = to_bytes(parse_double(content).value_or(kNone), memory_unit);
    else if (path == "/vcpu") g.most_vcpus = parse_double(content).value_or(kNone);
    else if (path == "/os/type") g.os_type = std::move(content);
    else if (take_prefix(path, "/devices/disk/iotune/")) set_limit(g.disks.back(), path, content);
    else if (path == "/devices/disk/serial") g.disks.back().serial = std::move(content);
    else if (path == "/metadata/nova:instance/nova:name") g.nova_name = std::move(content);
    else if (path == "/metadata/nova:instance/nova:owner/nova:user") g.user = std::move(content);
    else if (path == "/metadata/nova:instance/nova:owner/nova:project") g.project = std::move(content);
  };
  if (!walk(xml, open, text)) return fail(Errc::malformed, "libvirt: a domain's XML ends within an element");
  if (std::isnan(g.vcpus)) g.vcpus = g.most_vcpus;  // <vcpu current='2'>8</vcpu>
  return g;
}

}  // namespace vitald::virt
