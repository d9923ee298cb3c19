// SPDX-License-Identifier: Apache-2.0
#include "sensors/virt/library.h"

#include <dlfcn.h>
#include <fmt/format.h>

namespace vitald::virt {
namespace {

// libvirt prints errors on standard error unless it is told not to; ours go into the batch.
void silent(void*, virErrorPtr) {}

Result<const Library*> load() {
  static Library table;
  void* handle = dlopen("libvirt.so.0", RTLD_NOW | RTLD_LOCAL);
  if (!handle)
    return fail(Errc::absent, fmt::format("{}; install libvirt's client library (Debian: libvirt0)", dlerror()));
#define X(name)                                                           \
  table.name = reinterpret_cast<decltype(&::name)>(dlsym(handle, #name)); \
  if (!table.name) return fail(Errc::absent, fmt::format("libvirt.so.0 has no {}; 4.5 or newer is needed", #name));
  VITALD_LIBVIRT_FUNCTIONS(X)
#undef X
  table.virSetErrorFunc(nullptr, silent);
  if (table.virEventRegisterDefaultImpl() != 0) return fail(Errc::io, "libvirt: " + last_error(table));
  return &table;
}

}  // namespace

Result<const Library*> library() {
  static const auto loaded = load();
  return loaded;
}

std::string last_error(const Library& lib) {
  const char* text = lib.virGetLastErrorMessage();
  return text ? text : "unknown error";
}

}  // namespace vitald::virt
