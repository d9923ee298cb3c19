// SPDX-License-Identifier: Apache-2.0
#include "sensors/owner/resolver.h"

#include <algorithm>
#include <optional>
#include <span>
#include <utility>

#include "core/os/kernel_file.h"
#include "core/os/root_path.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::size_t kIdSize = 64, kShortId = 12;
constexpr std::size_t kGuestsAsked = 4096;  // remembered
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

// "qemu-3-web": libvirt's number of the guest and what its machine name keeps of its name.
struct Machine {
  std::string number, name;
};
// A guest's cgroup: "machine-qemu\x2d3\x2dweb.scope" (systemd), "qemu-3-web.libvirt-qemu" (libvirt by itself).
std::optional<Machine> guest_machine(std::string_view component) {
  std::string machine;
  if (take_suffix(component, ".libvirt-qemu")) machine = component;
  else if (take_prefix(component, "machine-") && take_suffix(component, ".scope")) machine = unescape(component);
  std::string_view rest = machine;
  if (take_until(rest, '-') != "qemu") return std::nullopt;
  const auto number = take_until(rest, '-');
  if (!parse_u64(number) || rest.empty()) return std::nullopt;
  return Machine{std::string(number), std::string(rest)};
}

// Containers with a name instead of an id: "lxc.payload.web", "lxc/web", "machine-web.scope",
// "systemd-nspawn@web.service", "machine-lxc\x2d3\x2dweb.scope", "lxc-3-web.libvirt-lxc".
struct NamedContainer {
  std::string name;  // empty: it is none
  std::string_view manager = {};
};
NamedContainer named_container(std::string_view component, std::string_view parent) {
  if (take_prefix(component, "lxc.payload.")) return {std::string(component), "lxc"};
  if (parent == "lxc") return {std::string(component), "lxc"};
  if (take_suffix(component, ".libvirt-lxc")) return {std::string(after_number(component)), "libvirt"};
  if (parent != "machine.slice") return {};
  if (take_prefix(component, "systemd-nspawn@") && take_suffix(component, ".service"))
    return {unescape(component), "machined"};
  if (take_prefix(component, "machine-") && take_suffix(component, ".scope")) {
    const auto name = unescape(component);
    if (name.starts_with("lxc-") && !after_number(name).empty()) return {std::string(after_number(name)), "libvirt"};
    return {name, "machined"};
  }
  return {};
}

bool is_unit(std::string_view component) {
  constexpr std::string_view kSuffixes[] = {".service", ".scope", ".socket", ".mount", ".swap"};
  return std::ranges::any_of(kSuffixes, [&](auto suffix) { return component.ends_with(suffix); });
}

// A runtime that keeps its containers below itself, where systemd does not keep them.
bool is_runtime(std::string_view component) {
  constexpr std::string_view kRuntimes[] = {"containerd.service", "crio.service",      "docker.service",
                                            "k3s.service",        "k3s-agent.service", "rke2-server.service",
                                            "rke2-agent.service"};
  return std::ranges::find(kRuntimes, component) != std::end(kRuntimes);
}

// Where unrecognized folders beside containers are nobody's in common.
bool is_container_parent(std::string_view component) {
  constexpr std::string_view kParents[] = {"docker", "kubepods", "libpod_parent", "lxc", "machine"};
  return std::ranges::find(kParents, component) != std::end(kParents);
}

bool all_digits(std::string_view s) {
  return !s.empty() && std::ranges::all_of(s, [](char c) { return c >= '0' && c <= '9'; });
}

// Units that are numbered by who makes them, and of which a host sees thousands in its life, are one owner:
// "session-12.scope" of a login, "run-r<32 hex digits>.scope", "run-u12.service", "run-p12-i34.scope", "run-12.scope"
// of systemd-run. One that a person has named is not.
std::string folded(std::string_view unit) {
  const auto dot = unit.rfind('.');
  auto number = unit.substr(0, dot);
  const auto suffix = unit.substr(dot);
  if (suffix == ".scope" && take_prefix(number, "session-")) {
    if (number.starts_with('c')) number.remove_prefix(1);  // without a number of the audit subsystem's
    return std::string(all_digits(number) ? "session-*.scope" : unit);
  }
  if ((suffix != ".scope" && suffix != ".service") || !take_prefix(number, "run-")) return std::string(unit);
  const auto of_process = [](std::string_view s) {
    return take_prefix(s, "p") && all_digits(take_until(s, '-')) && take_prefix(s, "i") && all_digits(s);
  };
  const bool numbered = all_digits(number) ||
                        (number.size() == 33 && number.front() == 'r' && is_hex(number.substr(1))) ||
                        (number.starts_with('u') && all_digits(number.substr(1))) || of_process(number);
  return numbered ? "run-*" + std::string(suffix) : std::string(unit);
}

// "web &amp; db" -> "web & db". A guest's name has no control characters.
std::string xml_text(std::string_view s) {
  constexpr std::pair<std::string_view, char> kEntities[] = {
      {"&amp;", '&'}, {"&lt;", '<'}, {"&gt;", '>'}, {"&quot;", '"'}, {"&apos;", '\''}};
  std::string out;
  while (!s.empty()) {
    const auto* entity = std::ranges::find_if(kEntities, [&](const auto& e) { return s.starts_with(e.first); });
    out += entity == std::end(kEntities) ? s.front() : entity->second;
    s.remove_prefix(entity == std::end(kEntities) ? 1 : entity->first.size());
  }
  return out;
}

std::vector<std::string_view> split(std::string_view path) {
  std::vector<std::string_view> parts;
  while (!path.empty())
    if (const auto part = take_until(path, '/'); !part.empty() && part != "..") parts.push_back(part);
  return parts;
}

}  // namespace

std::vector<Label> owner_labels(const Owner& o) {
  std::vector<Label> labels = {{"owner_kind", to_string(o.kind)}, {"owner", o.name}};
  if (!o.namespace_.empty()) labels.push_back({"namespace", o.namespace_});
  if (!o.pod.empty()) labels.push_back({"pod", o.pod});
  if (!o.container.empty()) labels.push_back({"container", o.container});
  if (!o.guest.empty()) labels.push_back({"guest", o.guest});
  return labels;
}

namespace {

Owner decide(std::string_view path, OwnerPlace& place) {
  const auto parts = split(path);
  Owner owner;
  if (parts.empty()) {
    owner.kind = OwnerKind::host;
    owner.name = "host";
    return owner;
  }
  std::string_view unit;
  for (std::size_t i = 0; i < parts.size(); ++i) {
    const auto part = parts[i];
    owner.within = unit;
    if (auto machine = guest_machine(part); machine && unit.empty()) {
      owner.kind = OwnerKind::guest;
      owner.name = owner.guest = std::move(machine->name);
      owner.guest_id = std::move(machine->number);
      place.owned = i + 1;
      return owner;
    }
    if (auto uid = pod_uid(part); !uid.empty() && container_id(part).empty() && unit.empty()) {
      owner.pod_uid = std::move(uid);
      const auto id = i + 1 < parts.size() ? container_id(parts[i + 1]) : std::string_view{};
      owner.kind = id.empty() ? OwnerKind::pod : OwnerKind::container;
      owner.container_id = id;
      owner.name = id.empty() ? owner.pod_uid : std::string(id.substr(0, kShortId));
      (id.empty() ? place.responsible : place.owned) = id.empty() ? i + 1 : i + 2;
      return owner;
    }
    if (const auto id = container_id(part); !id.empty()) {
      owner.kind = OwnerKind::container;
      owner.container_id = id;
      owner.name = id.substr(0, kShortId);
      if (unit.empty()) owner.pod_uid = pod_uid(part);
      place.owned = i + 1;
      return owner;
    }
    if (auto named = named_container(part, i > 0 ? parts[i - 1] : ""); !named.name.empty()) {
      owner.kind = OwnerKind::container;
      owner.name = std::move(named.name);
      owner.manager = named.manager;
      place.owned = i + 1;
      return owner;
    }
    // What a service makes below itself belongs to it, also a user's own manager; but a runtime's containers are the
    // host's. In v1 hierarchies that systemd leaves alone pam_cgfs gives every user a folder, "/user/alice/0".
    const bool users = i == 1 && parts.front() == "user";
    if (unit.empty() && (users || (is_unit(part) && !is_runtime(part)))) {
      unit = users ? first_names(path, 2) : part;
      place.responsible = i + 1;
    }
  }
  owner.within.clear();
  if (const auto first = std::ranges::find_if(parts, is_unit); first != parts.end()) {
    owner.kind = OwnerKind::unit;
    owner.name = folded(*first);
    if (!is_runtime(*first)) place.responsible = static_cast<std::size_t>(first - parts.begin()) + 1;
    return owner;
  }
  if (parts.back().ends_with(".slice")) {
    owner.kind = OwnerKind::unit;
    owner.name = parts.back();
    return owner;
  }
  for (const auto part : parts) owner.name.append("/").append(part);
  place.responsible = is_container_parent(parts.front()) || parts.front() == "user" ? 2 : 1;
  if (place.responsible >= parts.size()) place.responsible = 0;
  return owner;
}

// How much an owner's kind says.
std::uint8_t rank_of(const Owner& o) {
  switch (o.kind) {
    case OwnerKind::host: return 0;
    case OwnerKind::unit: return o.name.ends_with(".slice") ? 1 : 3;
    case OwnerKind::other: return 2;
    case OwnerKind::pod: return 4;
    case OwnerKind::container:
    case OwnerKind::guest: return 5;
  }
  return 0;
}

}  // namespace

Owner owner_from_path(std::string_view path) {
  OwnerPlace place;
  return decide(path, place);
}

Owner owner_from_paths(std::string_view v2, std::string_view v1, OwnerPlace* place) {
  OwnerPlace on_v2, on_v1;
  on_v1.v1 = true;
  auto by_v2 = decide(v2, on_v2), by_v1 = v1.empty() ? Owner{} : decide(v1, on_v1);
  on_v2.rank = rank_of(by_v2);
  on_v1.rank = v1.empty() ? 0 : rank_of(by_v1);
  const bool v1_says_more = on_v1.rank > on_v2.rank;
  if (place != nullptr) *place = v1_says_more ? on_v1 : on_v2;
  return v1_says_more ? by_v1 : by_v2;
}

std::string_view first_names(std::string_view path, std::size_t names) {
  std::size_t at = 0;
  for (; names > 0 && at < path.size(); --names) at = std::min(path.find('/', at + 1), path.size());
  return path.substr(0, at);
}

namespace {

std::string on_host(const Host& host, std::string_view path) { return path_below_root(host.roots().root, path); }

// "<pod>_<namespace>_<container>-<64 hex digits>.log" and "<namespace>_<pod>_<uid>"; neither part can have a '_'.
void read_kubelet(const Host& host, OwnerNames& names) {
  if (const auto files = list_directory(on_host(host, "/var/log/containers"))) {
    for (std::string_view file : *files) {
      if (!take_suffix(file, ".log") || file.size() < kIdSize + 1) continue;
      const auto id = file.substr(file.size() - kIdSize);
      file.remove_suffix(kIdSize + 1);
      const auto pod = take_until(file, '_'), space = take_until(file, '_');
      if (is_id(id) && !file.empty())
        names.containers[std::string(id)] = {std::string(space), std::string(pod), std::string(file)};
    }
  }
  if (const auto folders = list_directory(on_host(host, "/var/log/pods"))) {
    for (std::string_view folder : *folders) {
      const auto space = take_until(folder, '_'), pod = take_until(folder, '_');
      if (!folder.empty()) names.pods[std::string(folder)] = {std::string(space), std::string(pod)};
    }
  }
}

// Whether a machine's name may be that of this guest: it keeps letters, digits, '-' and '.' of the guest's, and 64
// characters in all.
bool may_be_called(std::string_view machine, std::string_view guest) {
  for (const char c : guest)
    if (!machine.empty() && c == machine.front()) machine.remove_prefix(1);
  return machine.empty();
}

// What libvirt keeps of each guest that runs, NAME.xml: "<domstatus state='running' ... pid='4211'>", within it
// "<domain type='kvm' id='3'>" and "<name>web &amp; db</name>". Root's only.
std::optional<Machine> running_domain(std::string_view status) {
  const auto domain = status.find("<domain ");
  if (domain == std::string_view::npos) return std::nullopt;
  status.remove_prefix(domain);
  auto tag = status.substr(0, status.find('>'));
  const auto id = tag.find(" id='"), name = status.find("<name>");
  if (id == std::string_view::npos || name == std::string_view::npos) return std::nullopt;
  tag.remove_prefix(id + 5);
  status.remove_prefix(name + 6);
  return Machine{std::string(take_until(tag, '\'')), xml_text(status.substr(0, status.find('<')))};
}

// Files of guests that cannot be meant are not opened: there may be hundreds.
void read_libvirt(const Host& host, std::span<const Owner> guests, OwnerNames& names) {
  const auto folder = on_host(host, "/run/libvirt/qemu");
  const auto files = list_directory(folder);
  if (!files) return;
  auto& running = names.running.emplace();
  for (std::string_view file : *files) {
    const auto path = folder + "/" + std::string(file);
    if (!take_suffix(file, ".xml")) continue;
    running.emplace(file);
    if (std::ranges::none_of(guests, [&](const Owner& g) { return may_be_called(g.name, file); })) continue;
    const auto text = read_kernel_file(path, KernelFile::Read::records);
    if (!text) continue;
    if (auto found = running_domain(*text)) names.guests[found->number] = std::move(found->name);
  }
}

}  // namespace

OwnerResolver::Wanted OwnerResolver::wanted(std::int64_t now_ns) {
  const bool anew = std::ranges::any_of(wanted_.guests, [&](const Owner& g) { return !asked_.contains(g.guest_id); });
  if (wanted_.nothing() || (!anew && read_ns_ != 0 && now_ns - read_ns_ < kReadAgainNs)) return {};
  read_ns_ = now_ns;
  if (asked_.size() > kGuestsAsked) asked_.clear();
  for (const auto& g : wanted_.guests) asked_.insert(g.guest_id);
  return std::exchange(wanted_, {});
}

OwnerNames OwnerResolver::read(const Host& host, const Wanted& wanted) {
  OwnerNames names;
  if (wanted.kubelet) read_kubelet(host, names);
  if (!wanted.guests.empty()) read_libvirt(host, wanted.guests, names);
  return names;
}

void OwnerResolver::take(OwnerNames names, const Wanted& wanted) {
  if (wanted.kubelet) {
    names_.pods = std::move(names.pods);
    names_.containers = std::move(names.containers);
  }
  if (names.running)
    std::erase_if(names_.guests, [&](const auto& guest) { return !names.running->contains(guest.second); });
  for (auto& [number, name] : names.guests) names_.guests[number] = std::move(name);
}

bool OwnerResolver::name(Owner& owner, bool settled) {
  if (!owner.within.empty()) return true;
  if (!owner.guest_id.empty()) return name_guest(owner);
  if (owner.pod_uid.empty() && owner.container_id.empty()) return true;
  return name_in_pod(owner, settled);
}

bool OwnerResolver::name_in_pod(Owner& owner, bool settled) {
  if (const auto c = names_.containers.find(owner.container_id); c != names_.containers.end()) {
    owner.namespace_ = c->second.namespace_;
    owner.pod = c->second.pod;
    owner.container = c->second.container;
    owner.name = owner.namespace_ + "/" + owner.pod + "/" + owner.container;
    return true;
  }
  const auto p = names_.pods.find(owner.pod_uid);
  const bool known = p != names_.pods.end() && owner.container_id.empty();
  if (!known) wanted_.kubelet = true;
  if (p == names_.pods.end() || (!owner.container_id.empty() && !settled)) return false;
  owner.kind = OwnerKind::pod;
  owner.namespace_ = p->second.namespace_;
  owner.pod = p->second.pod;
  owner.name = owner.namespace_ + "/" + owner.pod;
  return true;
}

// The number alone is not enough: libvirt counts anew after a start without guests.
bool OwnerResolver::name_guest(Owner& owner) {
  const auto it = names_.guests.find(owner.guest_id);
  if (it == names_.guests.end() || !may_be_called(owner.name, it->second)) {
    wanted_.guests.push_back(owner);
    return false;
  }
  owner.name = owner.guest = it->second;
  return true;
}

}  // namespace vitald
