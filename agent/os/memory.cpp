// SPDX-License-Identifier: Apache-2.0
#include "agent/os/memory.h"

#include <link.h>
#include <malloc.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>

namespace vitald {
namespace {

// Only segments that are mapped without PF_W: nothing ever wrote to them, so the page cache has every byte.
// RELRO lies in a writable segment (it is made read-only after relocation) and must keep its pages.
int drop_constant_segments(dl_phdr_info* object, std::size_t, void*) {
  const auto page = static_cast<std::uintptr_t>(sysconf(_SC_PAGESIZE));
  for (int i = 0; i < object->dlpi_phnum; ++i) {
    const auto& segment = object->dlpi_phdr[i];
    if (segment.p_type != PT_LOAD || (segment.p_flags & PF_W) != 0) continue;
    const auto begin = (object->dlpi_addr + segment.p_vaddr) & ~(page - 1);
    const auto end = (object->dlpi_addr + segment.p_vaddr + segment.p_memsz + page - 1) & ~(page - 1);
    madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // advice: refused is fine
  }
  return 0;
}

}  // namespace

void give_back_startup_memory() {
  malloc_trim(0);
  dl_iterate_phdr(drop_constant_segments, nullptr);
}

}  // namespace vitald
