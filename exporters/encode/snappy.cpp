// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/snappy.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace vitald {
namespace {

// snappy-c.h; 0 is success.
struct Library {
  int (*compress)(const char*, std::size_t, char*, std::size_t*) = nullptr;
  int (*uncompress)(const char*, std::size_t, char*, std::size_t*) = nullptr;
  int (*uncompressed_length)(const char*, std::size_t, std::size_t*) = nullptr;
  std::size_t (*max_compressed_length)(std::size_t) = nullptr;
  std::string problem;
};

Library open_library() {
  Library l;
  void* handle = dlopen("libsnappy.so.1", RTLD_NOW | RTLD_LOCAL);
  if (!handle) {
    l.problem = "no libsnappy on this machine: install libsnappy1v5";
    return l;
  }
  const auto find = [&](auto& function, const char* name) {
    function = reinterpret_cast<std::remove_reference_t<decltype(function)>>(dlsym(handle, name));
    if (!function && l.problem.empty()) l.problem = fmt::format("libsnappy.so.1 has no {}", name);
  };
  find(l.compress, "snappy_compress");
  find(l.uncompress, "snappy_uncompress");
  find(l.uncompressed_length, "snappy_uncompressed_length");
  find(l.max_compressed_length, "snappy_max_compressed_length");
  return l;
}

const Library& library() {
  static const Library opened = open_library();
  return opened;
}

}  // namespace

Result<> snappy_usable() {
  if (!library().problem.empty()) return fail(Errc::absent, library().problem);
  return {};
}

Result<> snappy_compress(std::string_view bytes, std::string& out) {
  if (auto usable = snappy_usable(); !usable) return usable;
  auto size = library().max_compressed_length(bytes.size());
  out.resize(size);
  if (library().compress(bytes.data(), bytes.size(), out.data(), &size) != 0)
    return fail(Errc::io, "libsnappy could not compress");
  out.resize(size);
  return {};
}

Result<> snappy_uncompress(std::string_view block, std::string& out, std::size_t most_bytes) {
  if (auto usable = snappy_usable(); !usable) return usable;
  std::size_t size = 0;
  if (library().uncompressed_length(block.data(), block.size(), &size) != 0)
    return fail(Errc::malformed, "no snappy block");
  if (size > most_bytes) return fail(Errc::malformed, fmt::format("a snappy block of {} bytes", size));
  out.resize(size);
  if (library().uncompress(block.data(), block.size(), out.data(), &size) != 0 || size != out.size())
    return fail(Errc::malformed, "a damaged snappy block");
  return {};
}

}  // namespace vitald
