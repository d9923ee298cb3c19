// SPDX-License-Identifier: Apache-2.0
#include "agent/os/memory.h"

#include <dlfcn.h>
#include <gtest/gtest.h>
#include <pthread.h>
#include <sys/mman.h>
#include <unistd.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <cstring>
#include <string>
#include <string_view>
#include <thread>

#include "core/os/kernel_file.h"

namespace vitald {
namespace {

TEST(Stacks, DoNotFollowTheLimit) {
  pthread_attr_t small;
  ASSERT_EQ(pthread_attr_init(&small), 0);
  ASSERT_EQ(pthread_attr_setstacksize(&small, 2 << 20), 0);
  ASSERT_EQ(pthread_setattr_default_np(&small), 0);  // as where there is no limit
  pthread_attr_destroy(&small);
  give_threads_stacks();
  std::size_t bytes = 0;
  std::thread([&bytes] {
    pthread_attr_t own;
    ASSERT_EQ(pthread_getattr_np(pthread_self(), &own), 0);
    pthread_attr_getstacksize(&own, &bytes);
    pthread_attr_destroy(&own);
  }).join();
  EXPECT_GE(bytes, 8U << 20);
}

// Pages of a file that were written to before they were made read-only: relocations, a debugger's breakpoint.
TEST(StartupMemory, WhatWasWrittenStays) {
  char name[] = "/tmp/vitald-test-XXXXXX";
  const int fd = mkstemp(name);
  ASSERT_GE(fd, 0);
  const std::string text(8192, 'f');
  ASSERT_EQ(write(fd, text.data(), text.size()), 8192);
  auto* page = static_cast<char*>(mmap(nullptr, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 0));
  ASSERT_NE(page, MAP_FAILED);
  std::memcpy(page, "ours", 4);
  ASSERT_EQ(mprotect(page, 8192, PROT_READ), 0);
  auto* constant = static_cast<char*>(mmap(nullptr, 8192, PROT_READ, MAP_PRIVATE, fd, 0));
  ASSERT_NE(constant, MAP_FAILED);
  ASSERT_EQ(constant[4096], 'f');

  give_back_startup_memory();
  EXPECT_EQ(std::string_view(page, 5), "oursf");
  EXPECT_EQ(constant[0], 'f');

  munmap(page, 8192);
  munmap(constant, 8192);
  close(fd);
  unlink(name);
}

// Relocations of a library that went to swap: smaps does not call them anonymous there.
TEST(StartupMemory, WhatIsInSwapStays) {
  bool any = false;
  if (const auto text = read_text_file("/proc/swaps", 1 << 16)) any = text->find('/') != std::string::npos;
  if (!any) GTEST_SKIP() << "no swap here";
  // The constants of this program that were relocated: a table of pointers.
  static const char* const volatile kTable[] = {"a", "b"};
  const auto page = static_cast<std::uintptr_t>(getpagesize());
  const auto from = reinterpret_cast<std::uintptr_t>(&kTable) & ~(page - 1);
  const std::string_view before = kTable[1];
  if (madvise(reinterpret_cast<void*>(from), page, MADV_PAGEOUT) != 0) GTEST_SKIP() << "MADV_PAGEOUT is refused";
  give_back_startup_memory();
  EXPECT_EQ(static_cast<const void*>(kTable[1]), static_cast<const void*>(before.data()));
}

// A library that another thread loads meanwhile: for a moment its place is the file's, and constant.
TEST(StartupMemory, WhatIsBeingLoadedIsLeftAlone) {
  std::atomic<bool> ends = false;
  std::thread gives_back([&] {
    while (!ends) give_back_startup_memory();
  });
  int loads = 0;
  const auto until = std::chrono::steady_clock::now() + std::chrono::milliseconds(1500);
  while (std::chrono::steady_clock::now() < until)
    if (void* library = dlopen("libcurl-gnutls.so.4", RTLD_NOW | RTLD_LOCAL)) {
      EXPECT_NE(dlsym(library, "curl_easy_init"), nullptr);
      dlclose(library);
      ++loads;
    } else {
      break;
    }
  ends = true;
  gives_back.join();
  if (loads == 0) GTEST_SKIP() << "libcurl-gnutls.so.4 is not here";
}

}  // namespace
}  // namespace vitald
