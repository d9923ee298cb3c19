// SPDX-License-Identifier: Apache-2.0
// Cgroups while their iterator fails: files serve, it is loaded again later each time, and the log has one line.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <initializer_list>
#include <memory>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "sensors/bpf/cgroup_source.h"

namespace vitald {
namespace {

using testing::HasSubstr;

constexpr std::int64_t kSecond = 1'000'000'000;

// What the kernel does in this test.
struct Kernel {
  int loads = 0;
  Result<> load, want, read;
  std::vector<std::string> wanted;
};

class FakeIterator final : public CgroupIterator {
 public:
  explicit FakeIterator(Kernel& kernel) : kernel_(kernel) {}
  Result<> want(std::span<const std::string> paths) override {
    kernel_.wanted.assign(paths.begin(), paths.end());
    return kernel_.want;
  }
  Result<> read(LeftOut&) override { return kernel_.read; }
  bool get(std::size_t which, cgroup::Values&, LeftOut&) override { return which < kernel_.wanted.size(); }
  [[nodiscard]] bool knows_memory_stat() const override { return true; }

 private:
  Kernel& kernel_;
};

CgroupSource::Load loader(Kernel& kernel) {
  return [&kernel]() -> Result<std::unique_ptr<CgroupIterator>> {
    ++kernel.loads;
    kernel.wanted.clear();
    if (!kernel.load) return fail(kernel.load.error());
    return std::make_unique<FakeIterator>(kernel);
  };
}

const Result<> kShort = fail(Errc::io, "iterator over cgroups: Too many open files (EMFILE)");

class CgroupSourceTest : public testing::Test {
 protected:
  // Whether the iterator serves in a cycle so many seconds later.
  bool after(std::int64_t seconds, CgroupSource& source) {
    clock_.advance_ns(seconds * kSecond);
    source.read(left_out_);
    cgroup::Values values;
    return source.get(0, values, left_out_);
  }
  Kernel kernel_;
  FakeClock clock_;
  LeftOut left_out_;
};

TEST_F(CgroupSourceTest, OneReadThatFailsIsNotForEver) {
  CgroupSource source(loader(kernel_), clock_);
  source.want({"/a", "/b"});
  EXPECT_TRUE(after(0, source));
  kernel_.read = kShort;
  testing::internal::CaptureStderr();
  EXPECT_FALSE(after(1, source));
  EXPECT_THAT(source.status(), HasSubstr("by files: iterator over cgroups: Too many open files"));
  EXPECT_THAT(source.status(), HasSubstr("tried again"));
  kernel_.read = {};
  source.want({"/c"});  // what is wanted meanwhile is wanted of the next one
  EXPECT_FALSE(after(14, source));
  EXPECT_EQ(kernel_.loads, 1);
  EXPECT_TRUE(after(1, source));
  EXPECT_EQ(kernel_.wanted, std::vector<std::string>{"/c"});
  EXPECT_EQ(source.status(), "by a BPF iterator");
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_THAT(log, HasSubstr("they are read file by file"));
  EXPECT_THAT(log, HasSubstr("by the BPF iterator again"));
}

TEST_F(CgroupSourceTest, LaterEachTimeAndSaidOnce) {
  CgroupSource source(loader(kernel_), clock_);
  source.want({"/a"});
  kernel_.read = kShort;
  testing::internal::CaptureStderr();
  std::vector<std::int64_t> tried;
  for (std::int64_t s = 0; s < 3600; ++s) {
    const int before = kernel_.loads;
    EXPECT_FALSE(after(1, source));
    if (kernel_.loads > before) tried.push_back(s);
  }
  EXPECT_EQ(tried, (std::vector<std::int64_t>{15, 45, 105, 225, 465, 945, 1905, 2865}));
  const auto log = testing::internal::GetCapturedStderr();
  EXPECT_EQ(log.find("file by file"), log.rfind("file by file"));
  // One that served for long is loaded again soon.
  kernel_.read = {};
  EXPECT_TRUE(after(960, source));
  EXPECT_TRUE(after(3600, source));
  kernel_.read = kShort;
  EXPECT_FALSE(after(1, source));
  kernel_.read = {};
  EXPECT_TRUE(after(15, source));
}

TEST_F(CgroupSourceTest, WhatTheKernelHasNotIsNotAskedAgain) {
  struct Case {
    const char* name;
    Result<> load;
    bool again;
  };
  for (const auto& c : std::initializer_list<Case>{{"absent", fail(Errc::absent, "no iterator"), false},
                                                   {"denied", fail(Errc::denied, "CAP_BPF"), false},
                                                   {"no memory", fail(Errc::io, "ENOMEM"), true}}) {
    SCOPED_TRACE(c.name);
    kernel_ = {};
    kernel_.load = c.load;
    CgroupSource source(loader(kernel_), clock_);
    source.want({"/a"});
    EXPECT_FALSE(after(3600, source));
    EXPECT_EQ(kernel_.loads, c.again ? 2 : 1);
  }
}

TEST_F(CgroupSourceTest, WhatCannotBeWantedIsReadByFiles) {
  CgroupSource source(loader(kernel_), clock_);
  kernel_.want = kShort;
  source.want({"/a"});
  EXPECT_FALSE(after(0, source));
  EXPECT_FALSE(after(15, source));
  kernel_.want = {};
  EXPECT_TRUE(after(30, source));
}

}  // namespace
}  // namespace vitald
