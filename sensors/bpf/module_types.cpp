// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/module_types.h"

#include <bpf/btf.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <optional>
#include <set>
#include <unordered_map>
#include <utility>
#include <vector>

#include "sensors/bpf/kernel_btf.h"

namespace vitald {
namespace {

// Two files as one: the types of the module are numbered behind the kernel's, and so are its names.
class Types {
 public:
  Types(KernelBtf kernel, std::optional<KernelBtf> module) : kernel_(std::move(kernel)), module_(std::move(module)) {}

  Result<> read(std::span<const MemberPath> paths) {
    for (const auto& path : paths) wanted_.insert(path.begin(), path.end());
    if (auto ok = read_names(kernel_, 0); !ok) return ok;
    if (auto ok = read_types(kernel_, 0); !ok) return ok;
    if (!module_) return {};
    if (auto ok = read_names(*module_, name_bytes_); !ok) return ok;
    return read_types(*module_, types_ - 1);
  }
  std::optional<std::uint32_t> offset(const MemberPath& path) {
    for (const auto& [root, name] : roots_) {
      if (name != path.front()) continue;
      std::uint32_t at = root, bit = 0;
      bool whole = true;
      for (std::size_t i = 1; i < path.size() && whole; ++i) {
        const auto found = member(composite(at), path[i]);
        whole = found.has_value();
        if (found) bit += found->bit, at = found->type;
      }
      if (whole && bit % 8 == 0) return bit / 8;
    }
    return std::nullopt;
  }

 private:
  struct Member {
    std::uint32_t bit = 0, type = 0;
  };

  // Behind typedefs and qualifiers the struct's or union's number; 0: it is none.
  std::uint32_t composite(std::uint32_t id) {
    for (int steps = 0; steps < 16; ++steps) {
      const auto* t = type(id);
      if (!t) return 0;
      if (btf_is_composite(t)) return id;
      if (!btf_is_mod(t) && !btf_is_typedef(t)) return 0;
      id = t->type;
    }
    return 0;
  }
  std::optional<Member> member(std::uint32_t id, std::string_view name, int depth = 0) {
    const auto* t = type(id);
    if (!t || !btf_is_composite(t) || depth > 4) return std::nullopt;
    // Copied: what is looked into takes its place.
    const std::vector<btf_member> members(btf_members(t), btf_members(t) + btf_vlen(t));
    const bool has_bits = btf_kflag(t);
    const auto bit_of = [&](const btf_member& m) { return has_bits ? BTF_MEMBER_BIT_OFFSET(m.offset) : m.offset; };
    for (const auto& m : members)
      if (const auto it = names_.find(m.name_off); m.name_off != 0 && it != names_.end() && it->second == name)
        return Member{bit_of(m), m.type};
    for (const auto& m : members)
      if (m.name_off == 0)
        if (const auto in = member(composite(m.type), name, depth + 1)) return Member{bit_of(m) + in->bit, in->type};
    return std::nullopt;
  }

  Result<> read_names(KernelBtf& from, std::uint32_t before) {
    return from.names([&](std::uint32_t at, std::string_view text) {
      if (before == 0) name_bytes_ = at + static_cast<std::uint32_t>(text.size()) + 1;
      if (wanted_.contains(text)) names_.emplace(before + at, text);
    });
  }
  Result<> read_types(KernelBtf& from, std::uint32_t before) {
    return from.types([&](std::uint32_t id, const btf_type& type) {
      if (before == 0) types_ = id + 1;
      if (!btf_is_composite(&type)) return;
      if (const auto it = names_.find(type.name_off); it != names_.end()) roots_.emplace_back(before + id, it->second);
    });
  }
  const btf_type* type(std::uint32_t id) {
    if (id < types_) return kernel_.type(id);
    return module_ ? module_->type(id - types_ + 1) : nullptr;
  }

  KernelBtf kernel_;
  std::optional<KernelBtf> module_;
  std::uint32_t name_bytes_ = 0, types_ = 1;              // of the kernel's own
  std::unordered_map<std::uint32_t, std::string> names_;  // that are wanted, by where they lie
  std::set<std::string_view> wanted_;
  std::vector<std::pair<std::uint32_t, std::string>> roots_;  // structs and unions that are called so
};

}  // namespace

Result<std::vector<std::optional<std::uint32_t>>> member_offsets(std::string_view module,
                                                                 std::span<const MemberPath> paths,
                                                                 const std::string& folder) {
  auto kernel = KernelBtf::open(folder + "/vmlinux");
  if (!kernel) return fail(kernel.error());
  std::optional<KernelBtf> of_module;
  if (const auto file = fmt::format("{}/{}", folder, module); access(file.c_str(), F_OK) == 0) {
    auto opened = KernelBtf::open(file);
    if (!opened) return fail(opened.error());
    of_module = std::move(*opened);
  }
  Types types(std::move(*kernel), std::move(of_module));
  if (auto ok = types.read(paths); !ok) return fail(ok.error());
  std::vector<std::optional<std::uint32_t>> found;
  for (const auto& path : paths) found.push_back(types.offset(path));
  return found;
}

}  // namespace vitald
