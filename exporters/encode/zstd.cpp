// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/zstd.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <cstddef>
#include <type_traits>

namespace vitald {
namespace {

constexpr int kLevel = 1;

// zstd.h; sizes are error codes where isError says so.
struct Library {
  void* (*create)() = nullptr;
  std::size_t (*free)(void*) = nullptr;
  std::size_t (*compress)(void*, void*, std::size_t, const void*, std::size_t, int) = nullptr;
  std::size_t (*bound)(std::size_t) = nullptr;
  unsigned (*is_error)(std::size_t) = nullptr;
  const char* (*error_name)(std::size_t) = nullptr;
  std::string problem;
};

Library open_library() {
  Library l;
  void* handle = dlopen("libzstd.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    l.problem = "no libzstd on this machine: install libzstd1";
    return l;
  }
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (!function && l.problem.empty()) l.problem = fmt::format("libzstd.so.1 has no {}", name);
  };
  find(l.create, "ZSTD_createCCtx");
  find(l.free, "ZSTD_freeCCtx");
  find(l.compress, "ZSTD_compressCCtx");
  find(l.bound, "ZSTD_compressBound");
  find(l.is_error, "ZSTD_isError");
  find(l.error_name, "ZSTD_getErrorName");
  return l;
}

const Library& library() {
  static const Library opened = open_library();
  return opened;
}

}  // namespace

Result<> zstd_usable() {
  if (!library().problem.empty()) return fail(Errc::absent, library().problem);
  return {};
}

struct Zstd::State {
  void* context = nullptr;
  // Where it is packed. A string would have to be zeroed to that size each time.
  std::unique_ptr<char[]> room;
  std::size_t room_bytes = 0;

  State() = default;
  State(const State&) = delete;
  State& operator=(const State&) = delete;
  ~State() {
    if (context) library().free(context);
  }
};

Zstd::Zstd() : state_(std::make_unique<State>()) {}
Zstd::~Zstd() = default;
Zstd::Zstd(Zstd&&) noexcept = default;
Zstd& Zstd::operator=(Zstd&&) noexcept = default;

Result<> Zstd::compress(std::string_view text, std::string& out) {
  if (auto usable = zstd_usable(); !usable) return usable;
  const auto& l = library();
  auto& s = *state_;
  if (!s.context) s.context = l.create();
  if (!s.context) return fail(Errc::io, "ZSTD_createCCtx: no memory");
  if (const auto most = l.bound(text.size()); s.room_bytes < most) {
    s.room = std::make_unique_for_overwrite<char[]>(most);
    s.room_bytes = most;
  }
  const auto size = l.compress(s.context, s.room.get(), s.room_bytes, text.data(), text.size(), kLevel);
  if (l.is_error(size) != 0)
    return fail(Errc::io, fmt::format("ZSTD_compressCCtx of {} bytes: {}", text.size(), l.error_name(size)));
  out.assign(s.room.get(), size);
  return {};
}

}  // namespace vitald
