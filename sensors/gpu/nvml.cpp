// SPDX-License-Identifier: Apache-2.0
#include "sensors/gpu/nvml.h"

#include <dlfcn.h>
#include <fmt/format.h>

#include <memory>

namespace vitald::nvml {

std::string Library::text(int result) const {
  const char* words = nvmlErrorString ? nvmlErrorString(result) : nullptr;
  return words && *words ? words : fmt::format("error {}", result);
}

Result<const Library*> open_library(const std::string& path) {
  void* handle = dlopen(path.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!handle) return fail(Errc::absent, fmt::format("{}: NVIDIA's driver is not installed", dlerror()));
  auto table = std::make_unique<Library>();
#define X(name, arguments) table->name = reinterpret_cast<decltype(table->name)>(dlsym(handle, #name));
  VITALD_NVML_FUNCTIONS(X)
#undef X
  table->nvmlErrorString = reinterpret_cast<decltype(table->nvmlErrorString)>(dlsym(handle, "nvmlErrorString"));
  if (!table->nvmlInit_v2 || !table->nvmlDeviceGetCount_v2 || !table->nvmlDeviceGetHandleByIndex_v2)
    return fail(Errc::absent, fmt::format("{}: no NVML that is known, expected one with nvmlInit_v2", path));
  return table.release();  // lives as long as the library, which is never closed
}

}  // namespace vitald::nvml
