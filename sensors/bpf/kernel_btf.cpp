// SPDX-License-Identifier: Apache-2.0
#include "sensors/bpf/kernel_btf.h"

#include <bpf/btf.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <functional>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace vitald {
namespace {

constexpr std::size_t kLongestName = 4096;

// "task_struct" of "task_struct___pre514": flavours are of this program.
std::string_view essential(std::string_view name) { return name.substr(0, name.find("___")); }

class Builder {
 public:
  Builder(const btf* program, KernelBtf& kernel) : kernel_(kernel) {
    const auto add = [&](std::uint32_t name_at) {
      const std::string_view name = btf__name_by_offset(program, name_at);
      if (essential(name).empty()) return;
      may_be_wanted_[ends_of(essential(name))] = true;
      wanted_.emplace(essential(name));
    };
    for (std::uint32_t id = 1; id < btf__type_cnt(program); ++id) {
      const auto* type = btf__type_by_id(program, id);
      add(type->name_off);
      if (btf_is_composite(type))
        for (int i = 0; i < btf_vlen(type); ++i) add(btf_members(type)[i].name_off);
      if (btf_is_enum(type))
        for (int i = 0; i < btf_vlen(type); ++i) add(btf_enum(type)[i].name_off);
    }
  }

  Result<std::string> build() {
    if (auto ok = kernel_.names([this](std::uint32_t at, std::string_view name) {
          if (name.empty() || !may_be_wanted_[ends_of(name)] || !wanted_.contains(name)) return;
          new_name_.emplace(at, static_cast<std::uint32_t>(names_.size()));
          names_.append(name).push_back('\0');
        });
        !ok)
      return fail(ok.error());
    std::vector<std::uint32_t> roots;
    if (auto ok = kernel_.types([&](std::uint32_t id, const btf_type& type) {
          if (is_named(type) && new_name_.contains(type.name_off)) roots.push_back(id);
        });
        !ok)
      return fail(ok.error());
    for (const auto id : roots) new_id(id);
    for (std::size_t i = 0; i < order_.size(); ++i) write(order_[i]);  // which appends what these are made of
    btf_header header{};
    header.magic = 0xeB9F;
    header.version = 1;
    header.hdr_len = sizeof header;
    header.type_len = header.str_off = static_cast<std::uint32_t>(types_.size());
    header.str_len = static_cast<std::uint32_t>(names_.size());
    std::string out(reinterpret_cast<const char*>(&header), sizeof header);
    return out + types_ + names_;
  }

 private:
  static bool is_named(const btf_type& type) {
    switch (BTF_INFO_KIND(type.info)) {
      case BTF_KIND_INT:
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION:
      case BTF_KIND_ENUM:
      case BTF_KIND_ENUM64:
      case BTF_KIND_TYPEDEF: return true;
      default: return false;
    }
  }

  std::uint32_t name(std::uint32_t old) const {
    const auto it = new_name_.find(old);
    return it == new_name_.end() ? 0 : it->second;
  }
  std::uint32_t new_id(std::uint32_t old) {
    if (old == 0) return 0;
    const auto [it, added] = ids_.try_emplace(old, static_cast<std::uint32_t>(order_.size() + 1));
    if (added) order_.push_back(old);
    return it->second;
  }
  template <class T>
  void append(const T& value) {
    types_.append(reinterpret_cast<const char*>(&value), sizeof value);
  }

  void write(std::uint32_t id) {
    const auto* found = kernel_.type(id);
    const auto kind = found ? BTF_INFO_KIND(found->info) : 0;
    btf_type head = found ? *found : btf_type{};
    head.name_off = name(head.name_off);
    switch (kind) {
      case BTF_KIND_STRUCT:
      case BTF_KIND_UNION: {
        std::vector<btf_member> members(btf_members(found), btf_members(found) + btf_vlen(found));
        // Those without a name are looked into, too.
        std::erase_if(members, [this](const btf_member& m) { return m.name_off != 0 && name(m.name_off) == 0; });
        head.info = (head.info & ~0xffffU) | static_cast<std::uint32_t>(members.size());
        append(head);
        for (auto m : members) {
          m.name_off = name(m.name_off);
          m.type = new_id(m.type);
          append(m);
        }
        return;
      }
      case BTF_KIND_ENUM: return write_values(head, btf_enum(found), btf_vlen(found));
      case BTF_KIND_ENUM64: return write_values(head, reinterpret_cast<const Value64*>(found + 1), btf_vlen(found));
      case BTF_KIND_ARRAY: {
        auto array = *btf_array(found);
        array.type = new_id(array.type);
        array.index_type = new_id(array.index_type);
        append(head);
        return append(array);
      }
      case BTF_KIND_INT:
        append(head);
        types_.append(reinterpret_cast<const char*>(found + 1), sizeof(std::uint32_t));
        return;
      case BTF_KIND_FLOAT:
      case BTF_KIND_FWD: return append(head);
      case BTF_KIND_TYPEDEF:
      case BTF_KIND_VOLATILE:
      case BTF_KIND_CONST:
      case BTF_KIND_RESTRICT:
      case BTF_KIND_TYPE_TAG: head.type = new_id(head.type); return append(head);
      default:  // a pointer: to what, no relocation asks; functions only stand behind one
        head = {};
        head.info = BTF_KIND_PTR << 24;
        return append(head);
    }
  }

  struct Value64 {
    std::uint32_t name_off, low, high;
  };
  template <class Value>
  void write_values(btf_type head, const Value* values, std::size_t count) {
    std::vector<Value> kept(values, values + count);
    std::erase_if(kept, [this](const Value& v) { return name(v.name_off) == 0; });
    head.info = (head.info & ~0xffffU) | static_cast<std::uint32_t>(kept.size());
    append(head);
    for (auto value : kept) {
      value.name_off = name(value.name_off);
      append(value);
    }
  }

  KernelBtf& kernel_;
  // First and last character: rules out most of 100,000 names without a hash.
  static std::size_t ends_of(std::string_view name) {
    return static_cast<std::size_t>(static_cast<unsigned char>(name.front()) << 8 |
                                    static_cast<unsigned char>(name.back()));
  }

  struct Hash : std::hash<std::string_view> {
    using is_transparent = void;
  };
  std::unordered_set<std::string, Hash, std::equal_to<>> wanted_;
  std::vector<bool> may_be_wanted_ = std::vector<bool>(65536);
  std::unordered_map<std::uint32_t, std::uint32_t> new_name_, ids_;  // by the kernel's
  std::vector<std::uint32_t> order_;                                 // the kernel's ids, in the order of ours
  std::string types_, names_ = std::string(1, '\0');
};

}  // namespace

Result<KernelBtf> KernelBtf::open(const std::string& path) {
  Fd fd(::open(path.c_str(), O_RDONLY | O_CLOEXEC));
  if (!fd) return fail(from_errno(path, errno));
  btf_header header{};
  if (const auto n = pread(fd.get(), &header, sizeof header, 0); n != static_cast<ssize_t>(sizeof header))
    return fail(n < 0 ? from_errno(path, errno) : Error{Errc::malformed, 0, path + ": no header of BTF"});
  if (header.magic != 0xeB9F || header.version != 1)
    return fail(Errc::malformed, fmt::format("{}: BTF of version {}: 1 expected", path, header.version));
  return KernelBtf(std::move(fd), path, header);
}

KernelBtf::KernelBtf(Fd fd, std::string path, const btf_header& header)
    : fd_(std::move(fd)),
      path_(std::move(path)),
      types_begin_(std::uint64_t{header.hdr_len} + header.type_off),
      names_begin_(std::uint64_t{header.hdr_len} + header.str_off),
      type_bytes_(header.type_len),
      name_bytes_(header.str_len) {}

std::size_t KernelBtf::extra(const btf_type& type) {
  const std::size_t n = BTF_INFO_VLEN(type.info);
  switch (BTF_INFO_KIND(type.info)) {
    case BTF_KIND_PTR:
    case BTF_KIND_FWD:
    case BTF_KIND_TYPEDEF:
    case BTF_KIND_VOLATILE:
    case BTF_KIND_CONST:
    case BTF_KIND_RESTRICT:
    case BTF_KIND_FUNC:
    case BTF_KIND_FLOAT:
    case BTF_KIND_TYPE_TAG: return 0;
    case BTF_KIND_INT: return sizeof(std::uint32_t);
    case BTF_KIND_ARRAY: return sizeof(struct btf_array);
    case BTF_KIND_STRUCT:
    case BTF_KIND_UNION: return n * sizeof(btf_member);
    case BTF_KIND_ENUM: return n * sizeof(struct btf_enum);
    case BTF_KIND_ENUM64: return n * 3 * sizeof(std::uint32_t);
    case BTF_KIND_FUNC_PROTO: return n * sizeof(btf_param);
    case BTF_KIND_VAR: return sizeof(struct btf_var);
    case BTF_KIND_DATASEC: return n * sizeof(btf_var_secinfo);
    case BTF_KIND_DECL_TAG: return sizeof(struct btf_decl_tag);
    default: return SIZE_MAX;
  }
}

// `count` bytes of the file, and what follows as far as it fits. A file of sysfs gives a page at a time.
const char* KernelBtf::bytes(Window& window, std::uint64_t at, std::size_t count) {
  if (at >= window.begin && at + count <= window.begin + window.filled)
    return window.bytes.data() + (at - window.begin);
  window.begin = at;
  window.filled = 0;
  window.bytes.resize(std::max(window.piece, count));
  while (window.filled < window.bytes.size()) {
    const auto n = pread(fd_.get(), window.bytes.data() + window.filled, window.bytes.size() - window.filled,
                         static_cast<off_t>(at + window.filled));
    if (n < 0 && errno == EINTR) continue;
    if (n <= 0) break;
    window.filled += static_cast<std::size_t>(n);
  }
  return window.filled >= count ? window.bytes.data() : nullptr;
}

const btf_type* KernelBtf::at_offset(Window& window, std::uint32_t at) {
  const auto begin = types_begin_ + at;
  const auto* head = reinterpret_cast<const btf_type*>(bytes(window, begin, sizeof(btf_type)));
  if (!head) return nullptr;
  const auto more = extra(*head);
  if (more == SIZE_MAX || at + sizeof *head + more > type_bytes_) return nullptr;
  return reinterpret_cast<const btf_type*>(bytes(window, begin, sizeof *head + more));
}

std::optional<std::string_view> KernelBtf::name(std::uint32_t at) {
  const auto most = std::min<std::size_t>(kLongestName, name_bytes_ - at);
  const auto* text = bytes(window_, names_begin_ + at, most);
  const auto* end = text ? static_cast<const char*>(std::memchr(text, '\0', most)) : nullptr;
  if (!end) return std::nullopt;
  return std::string_view(text, static_cast<std::size_t>(end - text));
}

tl::unexpected<Error> KernelBtf::bad(std::string_view what) const {
  return fail(Errc::malformed, fmt::format("{}: {}", path_, what));
}

Result<std::vector<std::pair<std::string, std::int64_t>>> enum_values(KernelBtf& kernel, std::string_view name) {
  std::uint32_t name_at = 0;
  if (auto ok = kernel.names([&](std::uint32_t at, std::string_view text) {
        if (text == name) name_at = at;
      });
      !ok)
    return fail(ok.error());
  std::unordered_map<std::uint32_t, std::int64_t> values;  // by where the enumerator's name lies
  if (auto ok = kernel.types([&](std::uint32_t, const btf_type& type) {
        if (name_at == 0 || type.name_off != name_at || !btf_is_enum(&type)) return;
        for (int i = 0; i < btf_vlen(&type); ++i) values[btf_enum(&type)[i].name_off] = btf_enum(&type)[i].val;
      });
      !ok)
    return fail(ok.error());
  std::vector<std::pair<std::string, std::int64_t>> found;
  if (auto ok = kernel.names([&](std::uint32_t at, std::string_view text) {
        if (const auto it = values.find(at); it != values.end()) found.emplace_back(text, it->second);
      });
      !ok)
    return fail(ok.error());
  return found;
}

Result<std::string> types_for(const btf* program, KernelBtf& kernel) { return Builder(program, kernel).build(); }

}  // namespace vitald
