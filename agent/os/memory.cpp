// SPDX-License-Identifier: Apache-2.0
#include "agent/os/memory.h"

#include <link.h>
#include <malloc.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <algorithm>
#include <cstdint>
#include <new>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/log.h"
#include "core/os/kernel_file.h"
#include "core/result.h"
#include "core/text/scan.h"

namespace vitald {
namespace {

constexpr std::size_t kMostBytes = 4 << 20;  // some 700 bytes a mapping

// Programs and libraries whose segments are where they stay. While the loader maps another one, all of its place is the
// file's first segment for a moment, not writable and without a copy; what lies over it next is written to, and would
// be lost (seen: a receiver's thread that loaded libcurl while this ran). glibc lists an object once it is mapped.
struct Loaded {
  std::vector<std::pair<std::uintptr_t, std::uintptr_t>> places;
  unsigned long long unloaded = 0;  // so many were until now
};

Loaded loaded_objects() {
  Loaded loaded;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        auto& found = *static_cast<Loaded*>(data);
        const auto page_mask = static_cast<std::uintptr_t>(getpagesize()) - 1;
        found.unloaded = info->dlpi_subs;
        for (int i = 0; i < info->dlpi_phnum; ++i)
          if (const auto& segment = info->dlpi_phdr[i]; segment.p_type == PT_LOAD)
            found.places.emplace_back((info->dlpi_addr + segment.p_vaddr) & ~page_mask,
                                      info->dlpi_addr + segment.p_vaddr + segment.p_memsz);
        return 0;
      },
      &loaded);
  return loaded;
}

bool some_were_unloaded(const Loaded& since) {
  unsigned long long now = 0;
  dl_iterate_phdr(
      [](dl_phdr_info* info, std::size_t, void* data) {
        *static_cast<unsigned long long*>(data) = info->dlpi_subs;
        return 1;
      },
      &now);
  return now != since.unloaded;
}

// A mapping as /proc/self/smaps tells of it.
struct Mapping {
  std::uintptr_t begin = 0, end = 0;
  bool constant = false;                             // of a file, and not writable now
  bool never_written = false, none_in_swap = false;  // both have to be said
};

// What nothing ever wrote to: pages of a file, not writable now, none of them a copy (relocations before RELRO, a
// debugger's breakpoint), in memory or in swap, where it is not "Anonymous" any more. The page cache has every byte.
//   "7f12a000-7f12c000 r--p 00000000 fe:00 1234  /usr/lib/x86_64-linux-gnu/libc.so.6"
//   "Anonymous:             0 kB"
//   "Swap:                  0 kB"
void drop_constant_pages() {
  const auto loaded = loaded_objects();
  // Into memory of its own: what KernelFile reads with stays as large as this is.
  const auto text = read_text_file("/proc/self/smaps", kMostBytes);
  if (!text) return;
  const auto drop = [&](const Mapping& m) {
    if (!m.constant || !m.never_written || !m.none_in_swap) return;
    const bool stays = std::ranges::any_of(
        loaded.places, [&](const auto& place) { return place.first <= m.begin && m.begin < place.second; });
    if (!stays || some_were_unloaded(loaded)) return;  // something else may be mapped there by now
    madvise(reinterpret_cast<void*>(m.begin), m.end - m.begin, MADV_DONTNEED);  // advice: refused is fine
  };
  Mapping mapping;
  std::string_view rest = *text;
  while (!rest.empty()) {
    auto line = take_line(rest);
    if (take_prefix(line, "Anonymous:")) {
      mapping.never_written = trim(line) == "0 kB";
      continue;
    }
    if (take_prefix(line, "Swap:")) {
      mapping.none_in_swap = trim(line) == "0 kB";
      continue;
    }
    const auto range = line.substr(0, line.find(' '));
    const auto dash = range.find('-');
    if (dash == std::string_view::npos) continue;
    const auto first = parse_int<std::uintptr_t>(range.substr(0, dash), 16);
    const auto last = parse_int<std::uintptr_t>(range.substr(dash + 1), 16);
    if (!first || !last) continue;
    drop(mapping);
    mapping = {*first, *last};
    take_word(line);
    const auto access = take_word(line);
    mapping.constant = access.find('w') == std::string_view::npos && line.find(" /") != std::string_view::npos;
  }
  drop(mapping);
}

}  // namespace

void give_threads_stacks() {
  constexpr std::size_t kStackBytes = 8 << 20;
  pthread_attr_t attributes;
  if (const int error = pthread_attr_init(&attributes); error != 0) {
    log::warn("threads get small stacks", {{"err", from_errno("pthread_attr_init", error).text}});
    return;
  }
  int error = pthread_attr_setstacksize(&attributes, kStackBytes);
  if (error == 0) error = pthread_setattr_default_np(&attributes);
  pthread_attr_destroy(&attributes);
  if (error != 0)
    log::warn("threads get small stacks", {{"err", from_errno("pthread_setattr_default_np", error).text}});
}

void give_back_free_memory() { malloc_trim(0); }

void give_back_startup_memory() {
  give_back_free_memory();
  try {
    drop_constant_pages();
  } catch (const std::bad_alloc&) {  // there is none to give back
  }
}

}  // namespace vitald
