// SPDX-License-Identifier: Apache-2.0
// Memory that is mapped as it is looked at, of a file in memory in place of a BPF map.
#include "sensors/bpf/mapped_pages.h"

#include <gtest/gtest.h>
#include <sys/mman.h>
#include <unistd.h>

#include <cstdint>
#include <cstring>
#include <utility>
#include <vector>

#include "core/os/fd.h"

namespace vitald {
namespace {

Fd file_of(const std::vector<std::uint64_t>& numbers) {
  Fd fd(memfd_create("map", MFD_CLOEXEC));
  const auto bytes = numbers.size() * sizeof(std::uint64_t);
  EXPECT_EQ(write(fd.get(), numbers.data(), bytes), static_cast<ssize_t>(bytes));
  return fd;
}

TEST(MappedPages, HasWhatTheMapHasAndNoMoreMemoryThanIsLookedAt) {
  const auto page = static_cast<std::size_t>(sysconf(_SC_PAGESIZE));
  struct Case {
    const char* name;
    std::size_t bytes, row_bytes;
    std::vector<std::size_t> rows;  // that are looked at
    std::size_t mapped_pages;       // then
  };
  const Case cases[] = {
      {"less than a page", 512, 64, {0, 7}, 1},
      {"nothing is looked at", 40 * page, 64, {}, 1},
      {"the first rows of two CPUs", 40 * page, 64, {0, 1, 2, 20 * page / 64}, 2},
      {"a row that lies on two pages", 40 * page, 576, {page / 576}, 2},
      {"the last one", 3 * page + 64, 64, {3 * page / 64}, 2},
      {"pieces of several pages", 1000 * page, 64, {0, 3 * page / 64, 999 * page / 64}, 8},
      {"all", 8 * page, page, {0, 1, 2, 3, 4, 5, 6, 7}, 8},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    std::vector<std::uint64_t> numbers(c.bytes / sizeof(std::uint64_t));
    for (std::size_t i = 0; i < numbers.size(); ++i) numbers[i] = i * 3 + 1;
    const auto fd = file_of(numbers);
    auto made = MappedPages::of(fd.get(), c.bytes, "rows");
    ASSERT_TRUE(made) << made.error().text;
    const MappedPages pages(std::move(*made));
    for (const auto row : c.rows) {
      const auto at = row * c.row_bytes;
      EXPECT_EQ(std::memcmp(pages.at(at, c.row_bytes), reinterpret_cast<const char*>(numbers.data()) + at, c.row_bytes),
                0)
          << row;
    }
    EXPECT_EQ(pages.mapped_bytes() / page, c.mapped_pages);
    // It is the map's own memory, not a copy.
    for (const auto row : c.rows) {
      const std::uint64_t now = 77;
      std::memcpy(pages.at(row * c.row_bytes, sizeof now), &now, sizeof now);
      std::uint64_t there = 0;
      EXPECT_EQ(pread(fd.get(), &there, sizeof there, static_cast<off_t>(row * c.row_bytes)),
                static_cast<ssize_t>(sizeof there));
      EXPECT_EQ(there, now);
    }
  }
}

TEST(MappedPages, SaysWhichMapCannotBeMapped) {
  for (const std::size_t bytes : {64U, 1U << 20}) {
    const auto pages = MappedPages::of(-1, bytes, "rows");
    ASSERT_FALSE(pages);
    EXPECT_EQ(pages.error().text.substr(0, 20), "mmap of BPF map rows");
  }
}

}  // namespace
}  // namespace vitald
