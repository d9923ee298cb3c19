// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/owner.h"

#include <algorithm>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::size_t kIdSize = 64;
constexpr std::int64_t kReadAgainNs = 5'000'000'000;

bool is_hex(std::string_view s) {
  return std::ranges::all_of(s, [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}
bool is_id(std::string_view s) { return s.size() == kIdSize && is_hex(s); }

bool take_suffix(std::string_view& s, std::string_view suffix) {
  if (!s.ends_with(suffix)) return false;
  s.remove_suffix(suffix.size());
  return true;
}

// systemd writes '-' within a name as "\x2d" (systemd-escape).
std::string unescape(std::string_view s) {
  std::string out;
  for (std::size_t i = 0; i < s.size(); ++i) {
    if (s[i] == '\\' && i + 3 < s.size() && s[i + 1] == 'x') {
      if (const auto code = parse_int<unsigned>(s.substr(i + 2, 2), 16)) {
        out += static_cast<char>(*code);
        i += 3;
        continue;
      }
    }
    out += s[i];
  }
  return out;
}

// "qemu-3-web" -> "web": libvirt's machine names are driver, domain id, domain name.
std::string_view after_number(std::string_view s) {
  take_until(s, '-');
  const auto number = take_until(s, '-');
  return parse_u64(number) ? s : std::string_view{};
}

// The container id in one component of a path, empty when there is none:
//   0123...  |  docker-0123....scope  |  cri-containerd-0123....scope  |  libpod-payload-0123...
//   kubepods-burstable-pod1234.slice:cri-containerd:0123...
// The monitors beside the containers (crio-conmon-..., libpod-conmon-...) are not in them.
std::string_view container_id(std::string_view component) {
  take_suffix(component, ".scope");
  if (component.size() < kIdSize || component.find("conmon-") != std::string_view::npos) return {};
  const auto id = component.substr(component.size() - kIdSize);
  if (!is_id(id)) return {};
  const auto before = component.substr(0, component.size() - kIdSize);
  return before.empty() || before.ends_with('-') || before.ends_with(':') ? id : std::string_view{};
}

// The uid of a pod: "pod<uid>", "kubepods-pod<uid>.slice", "kubepods-besteffort-pod<uid>.slice[:...]", in the
// systemd forms with '_' for '-'.
std::string pod_uid(std::string_view component) {
  component = component.substr(0, component.find(':'));
  const bool slice = take_suffix(component, ".slice");
  if (slice) {
    const auto at = component.rfind("-pod");
    if (at == std::string_view::npos || component.find("kubepods") == std::string_view::npos) return {};
    component.remove_prefix(at + 1);
  }
  if (!take_prefix(component, "pod") || component.size() < 32) return {};
  std::string uid(component);
  std::ranges::replace(uid, '_', '-');
  const bool good = std::ranges::all_of(uid, [](char c) { return c == '-' || is_hex({&c, 1}); });
  return good ? uid : std::string{};
}

// The name of a guest: "machine-qemu\x2d3\x2dweb.scope" (systemd), "qemu-3-web.libvirt-qemu" (libvirt by itself).
std::string guest_name(std::string_view component) {
  if (take_suffix(component, ".libvirt-qemu")) return std::string(after_number(component));
  if (take_prefix(component, "machine-qemu") && take_suffix(component, ".scope"))
    return std::string(after_number(unescape(component).insert(0, "qemu")));
  return {};
}

// Containers with a name instead of an id: "lxc.payload.web", "lxc/web", "machine-web.scope",
// "systemd-nspawn@web.service", "machine-lxc\x2d3\x2dweb.scope", "lxc-3-web.libvirt-lxc".
std::string named_container(std::string_view component, std::string_view parent) {
  if (take_prefix(component, "lxc.payload.")) return std::string(component);
  if (parent == "lxc") return std::string(component);
  if (take_suffix(component, ".libvirt-lxc")) return std::string(after_number(component));
  if (parent != "machine.slice") return {};
  if (take_prefix(component, "systemd-nspawn@") && take_suffix(component, ".service")) return unescape(component);
  if (take_prefix(component, "machine-") && take_suffix(component, ".scope")) {
    const auto name = unescape(component);
    if (name.starts_with("lxc-") && !after_number(name).empty()) return std::string(after_number(name));
    return name;
  }
  return {};
}

bool is_unit(std::string_view component) {
  constexpr std::string_view kSuffixes[] = {".service", ".scope", ".socket", ".mount", ".swap"};
  return std::ranges::any_of(kSuffixes, [&](auto suffix) { return component.ends_with(suffix); });
}

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty())
    if (const auto part = take_until(path, '/'); !part.empty() && part != "..") parts.push_back(part);
  return parts;
}

}  // namespace

std::string_view to_string(OwnerKind kind) {
  switch (kind) {
    case OwnerKind::unit: return "unit";
    case OwnerKind::container: return "container";
    case OwnerKind::pod: return "pod";
    case OwnerKind::guest: return "guest";
    case OwnerKind::other: return "other";
    case OwnerKind::host: return "host";
  }
  return "other";
}

std::vector<Label> owner_labels(const Owner& o) {
  std::vector<Label> labels = {{"owner_kind", to_string(o.kind)}, {"owner", o.name}};
  if (!o.namespace_.empty()) labels.push_back({"namespace", o.namespace_});
  if (!o.pod.empty()) labels.push_back({"pod", o.pod});
  if (!o.container.empty()) labels.push_back({"container", o.container});
  if (!o.guest.empty()) labels.push_back({"guest", o.guest});
  return labels;
}

Owner owner_from_path(std::string_view path) {
  const auto parts = split(path);
  Owner owner;
  if (parts.empty()) {
    owner.kind = OwnerKind::host;
    owner.name = "host";
    return owner;
  }
  // From the leaf: what is nested in a container (systemd, a cluster in docker) belongs to the innermost.
  for (std::size_t i = parts.size(); i-- > 0;) {
    const auto part = parts[i];
    if (auto guest = guest_name(part); !guest.empty()) {
      owner.kind = OwnerKind::guest;
      owner.name = owner.guest = std::move(guest);
      return owner;
    }
    if (const auto id = container_id(part); !id.empty()) {
      owner.kind = OwnerKind::container;
      owner.container_id = id;
      owner.name = id.substr(0, 12);
      owner.pod_uid = pod_uid(part);
      if (owner.pod_uid.empty() && i > 0) owner.pod_uid = pod_uid(parts[i - 1]);
      return owner;
    }
    if (auto uid = pod_uid(part); !uid.empty()) {
      owner.kind = OwnerKind::pod;
      owner.name = owner.pod_uid = std::move(uid);
      return owner;
    }
    if (auto name = named_container(part, i > 0 ? parts[i - 1] : ""); !name.empty()) {
      owner.kind = OwnerKind::container;
      owner.name = std::move(name);
      return owner;
    }
  }
  // From the root: what a service makes below itself belongs to it, also a user's own manager.
  for (const auto part : parts) {
    if (!is_unit(part)) continue;
    owner.kind = OwnerKind::unit;
    owner.name = part;
    return owner;
  }
  if (parts.back().ends_with(".slice")) {
    owner.kind = OwnerKind::unit;
    owner.name = parts.back();
    return owner;
  }
  for (const auto part : parts) owner.name.append("/").append(part);
  return owner;
}

// "<pod>_<namespace>_<container>-<64 hex digits>.log" and "<namespace>_<pod>_<uid>"; neither part can have a '_'.
void OwnerResolver::read_names() {
  pods_.clear();
  containers_.clear();
  if (const auto files = list_directory(host_.rootfs("var/log/containers"))) {
    for (std::string_view file : *files) {
      if (!take_suffix(file, ".log") || file.size() < kIdSize + 1) continue;
      const auto id = file.substr(file.size() - kIdSize);
      file.remove_suffix(kIdSize + 1);
      const auto pod = take_until(file, '_'), space = take_until(file, '_');
      if (is_id(id) && !file.empty())
        containers_[std::string(id)] = {std::string(space), std::string(pod), std::string(file)};
    }
  }
  if (const auto folders = list_directory(host_.rootfs("var/log/pods"))) {
    for (std::string_view folder : *folders) {
      const auto space = take_until(folder, '_'), pod = take_until(folder, '_');
      if (!folder.empty()) pods_[std::string(folder)] = {std::string(space), std::string(pod)};
    }
  }
}

void OwnerResolver::name(Owner& owner) const {
  if (const auto c = containers_.find(owner.container_id); c != containers_.end()) {
    owner.namespace_ = c->second.namespace_;
    owner.pod = c->second.pod;
    owner.container = c->second.container;
    owner.name = owner.namespace_ + "/" + owner.pod + "/" + owner.container;
    return;
  }
  const auto p = pods_.find(owner.pod_uid);
  if (p == pods_.end()) return;
  // A container of a known pod that has no log is its sandbox.
  owner.kind = OwnerKind::pod;
  owner.namespace_ = p->second.namespace_;
  owner.pod = p->second.pod;
  owner.name = owner.namespace_ + "/" + owner.pod;
}

Owner OwnerResolver::resolve(std::string_view path) {
  Owner owner = owner_from_path(path);
  if (owner.pod_uid.empty() && owner.container_id.empty()) return owner;
  name(owner);
  const auto now = host_.clock().boot_ns();
  if (owner.container.empty() && (read_boot_ns_ == 0 || now - read_boot_ns_ >= kReadAgainNs)) {
    read_boot_ns_ = now;
    read_names();
    owner = owner_from_path(path);
    name(owner);
  }
  return owner;
}

}  // namespace vitald
