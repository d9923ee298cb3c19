// SPDX-License-Identifier: Apache-2.0
// The types of the running kernel, /sys/kernel/btf/vmlinux, read piece by piece. libbpf reads all 6 MB of it at once,
// twice over, and once for each object: 13 MB and 25 ms each time. Here nothing is kept but where each type lies.
#pragma once

#include <linux/btf.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/os/fd.h"
#include "core/result.h"

struct btf;

namespace vitald {

class KernelBtf {
 public:
  static Result<KernelBtf> open(const std::string& path = "/sys/kernel/btf/vmlinux");

  // visit(offset, text) for every name there is; types and members name it by its offset.
  template <class Visit>
  Result<> names(Visit&& visit) {
    for (std::uint32_t at = 0; at < name_bytes_;) {
      const auto text = name(at);
      if (!text) return bad("a name without an end");
      visit(at, *text);
      at += static_cast<std::uint32_t>(text->size()) + 1;
    }
    return {};
  }
  // visit(id, type) for every type, in the order of their numbers. What belongs to the type follows it.
  template <class Visit>
  Result<> types(Visit&& visit) {
    at_.assign(1, 0);  // 0 is void
    for (std::uint32_t at = 0; at < type_bytes_;) {
      const auto* type = at_offset(window_, at);
      if (!type) return bad("a type that is cut off, or of a kind that is not known");
      at_.push_back(at);
      at += static_cast<std::uint32_t>(sizeof *type + extra(*type));
      visit(static_cast<std::uint32_t>(at_.size() - 1), *type);
    }
    return {};
  }
  // After types(). Null for void and what is not there. Valid until the next call.
  const btf_type* type(std::uint32_t id) { return id == 0 || id >= at_.size() ? nullptr : at_offset(single_, at_[id]); }

  // How much follows a type of this kind; SIZE_MAX for one that is not known.
  static std::size_t extra(const btf_type& type);

 private:
  // What was read last.
  struct Window {
    std::size_t piece;
    std::vector<char> bytes = {};
    std::uint64_t begin = 0;
    std::size_t filled = 0;
  };
  KernelBtf(Fd fd, std::string path, const btf_header& header);
  const char* bytes(Window& window, std::uint64_t at, std::size_t count);
  const btf_type* at_offset(Window& window, std::uint32_t at);
  std::optional<std::string_view> name(std::uint32_t at);
  [[nodiscard]] tl::unexpected<Error> bad(std::string_view what) const;

  Fd fd_;
  std::string path_;
  std::uint64_t types_begin_, names_begin_;
  std::uint32_t type_bytes_, name_bytes_;
  Window window_{64 * 1024}, single_{1024};  // of what is read one after the other; of single types
  std::vector<std::uint32_t> at_;            // by id
};

// The enumerators of an enum, with their values; none when there is no enum of that name.
Result<std::vector<std::pair<std::string, std::int64_t>>> enum_values(KernelBtf& kernel, std::string_view name);

// BTF that has of the kernel's types what the relocations of a program can ask for: the types that it names, of them
// the members that it names, and where these lie.
Result<std::string> types_for(const btf* program, KernelBtf& kernel);

}  // namespace vitald
