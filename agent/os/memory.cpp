// SPDX-License-Identifier: Apache-2.0
#include "agent/os/memory.h"

#include <malloc.h>
#include <sys/mman.h>

#include <cstdint>
#include <new>
#include <string>
#include <string_view>

#include "core/os/kernel_file.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::size_t kMostBytes = 4 << 20;  // some 700 bytes a mapping

// What nothing ever wrote to: pages of a file, not writable now, none of them a copy (relocations before RELRO, a
// debugger's breakpoint). The page cache has every byte. From /proc/self/smaps:
//   "7f12a000-7f12c000 r--p 00000000 fe:00 1234  /usr/lib/x86_64-linux-gnu/libc.so.6"
//   "Anonymous:             0 kB"
void drop_constant_pages() {
  // Into memory of its own: what KernelFile reads with stays as large as this is.
  const auto text = read_text_file("/proc/self/smaps", kMostBytes);
  if (!text) return;
  std::uintptr_t begin = 0, end = 0;
  bool constant = false;
  std::string_view rest = *text;
  while (!rest.empty()) {
    auto line = take_line(rest);
    if (take_prefix(line, "Anonymous:")) {
      if (constant && trim(line) == "0 kB")
        madvise(reinterpret_cast<void*>(begin), end - begin, MADV_DONTNEED);  // advice: refused is fine
      continue;
    }
    const auto range = line.substr(0, line.find(' '));
    const auto dash = range.find('-');
    if (dash == std::string_view::npos) continue;
    const auto first = parse_int<std::uintptr_t>(range.substr(0, dash), 16);
    const auto last = parse_int<std::uintptr_t>(range.substr(dash + 1), 16);
    if (!first || !last) continue;
    begin = *first, end = *last;
    take_word(line);
    const auto access = take_word(line);
    constant = access.find('w') == std::string_view::npos && line.find(" /") != std::string_view::npos;
  }
}

}  // namespace

void give_back_free_memory() { malloc_trim(0); }

void give_back_startup_memory() {
  give_back_free_memory();
  try {
    drop_constant_pages();
  } catch (const std::bad_alloc&) {  // there is none to give back
  }
}

}  // namespace vitald
