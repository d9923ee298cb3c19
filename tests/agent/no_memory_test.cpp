// SPDX-License-Identifier: Apache-2.0
// Every allocation fails once, one after the other: whatever was begun is lost, and what comes next is as if it had not
// been. A program of its own, since it replaces operator new.
#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <new>
#include <string>

#include "agent/http/waiting.h"
#include "agent/pipeline/guard.h"
#include "core/batch.h"
#include "core/log.h"
#include "exporters/encode/prom_text.h"

namespace {

// The n-th allocation from now on fails; 0: none.
thread_local long fails_at = 0;

void* allocate(std::size_t size) {
  if (fails_at > 0 && --fails_at == 0) throw std::bad_alloc();
  if (void* p = std::malloc(size == 0 ? 1 : size)) return p;
  throw std::bad_alloc();
}

}  // namespace

void* operator new(std::size_t size) { return allocate(size); }
void* operator new[](std::size_t size) { return allocate(size); }
// Of the sanitizer's library it would be memory that its own delete wants back.
void* operator new(std::size_t size, const std::nothrow_t&) noexcept {
  try {
    return allocate(size);
  } catch (const std::bad_alloc&) {
    return nullptr;
  }
}
void operator delete(void* p) noexcept { std::free(p); }
void operator delete[](void* p) noexcept { std::free(p); }
void operator delete(void* p, std::size_t) noexcept { std::free(p); }
void operator delete[](void* p, std::size_t) noexcept { std::free(p); }

namespace vitald {
namespace {

// Runs `work` with the first, then the second, ... allocation failing, until none is left to fail. `after` follows each
// time with all the memory it wants.
void with_each_allocation_failing(const std::function<void()>& work, const std::function<void()>& after) {
  for (long n = 1; n < 100'000; ++n) {
    bool failed = false;
    fails_at = n;
    try {
      work();
    } catch (const std::bad_alloc&) {
      failed = true;
    }
    const bool reached = fails_at == 0;
    fails_at = 0;
    SCOPED_TRACE(n);
    after();
    if (testing::Test::HasFailure()) return;
    if (!failed && !reached) return;
  }
  ADD_FAILURE() << "it never ends";
}

constexpr MetricDesc kDisk{"node_disk_read_bytes_total", MetricType::counter, "Bytes.", "device", "bytes"};
constexpr MetricDesc kLoad{"node_load1", MetricType::gauge, "Load."};

// A collector whose devices come and go: `round` says which are there.
BatchPtr run(BatchWriter& writer, unsigned round) {
  writer.begin(1'000'000'000LL * round, 1'700'000'000'000'000'000LL + round);
  for (unsigned device = 0; device < 12; ++device)
    if ((round + device) % 3 != 0) writer.set(kDisk, round * 100 + device, "sd" + std::to_string(device));
  writer.set(kLoad, round);
  return writer.finish({}, 0, 0);
}

Snapshot snapshot_of(std::vector<BatchPtr> batches) {
  Snapshot s;
  s.batches = std::move(batches);
  return s;
}

std::string text_of(const Snapshot& s) {
  PromText fresh;
  std::string text;
  fresh.encode(s, text);
  return text;
}

TEST(NoMemory, AWriterForgetsWhatItBegan) {
  BatchWriter writer("disks");
  unsigned round = 0;
  run(writer, round);
  with_each_allocation_failing([&] { run(writer, ++round); },
                               [&] {
                                 // What it began comes again: nothing new to a writer that believes it is done.
                                 BatchWriter fresh("disks");
                                 EXPECT_EQ(text_of(snapshot_of({run(writer, round)})),
                                           text_of(snapshot_of({run(fresh, round)})));
                               });
  EXPECT_GT(round, 20u);
}

TEST(NoMemory, ATextIsWholeOrNotThere) {
  BatchWriter writer("disks"), other("load");
  PromText encoder;
  std::string text;
  unsigned round = 0;
  const auto next = [&] { return snapshot_of({run(writer, ++round), run(other, 1)}); };
  const auto first = next();
  encoder.encode(first, text);
  auto changed = next();
  with_each_allocation_failing([&] { encoder.encode(changed, text); },
                               [&] {
                                 encoder.encode(changed, text);
                                 EXPECT_EQ(text, text_of(changed));
                                 changed = next();
                                 encoder.encode(changed, text);
                                 EXPECT_EQ(text, text_of(changed));
                                 changed = next();
                               });
  EXPECT_GT(round, 20u);
}

TEST(NoMemory, AVerdictOfTheGuardIsWholeOrNotThere) {
  log::configure(log::Level::error, log::Format::logfmt);  // it tells of each conflict
  BatchWriter one("one"), two("two");
  Guard guard;
  unsigned round = 0;
  const auto next = [&] { return std::vector<BatchPtr>{run(one, ++round), run(two, round + 1)}; };
  auto batches = next();
  with_each_allocation_failing(
      [&] {
        auto b = batches, unused = b;
        guard.check(b);
      },
      [&] {
        auto b = batches, want = batches;
        guard.check(b);
        Guard fresh;
        fresh.check(want);
        EXPECT_EQ(text_of(snapshot_of(b)), text_of(snapshot_of(want)));
        batches = next();
      });
  EXPECT_GT(round, 10u);
}

struct Answers final : Pending {
  explicit Answers(bool throws) : throws_(throws) {}
  std::optional<Response> poll(std::int64_t) override {
    if (throws_) throw std::bad_alloc();
    return Response{};
  }
  [[nodiscard]] std::int64_t deadline_boot_ns() const override { return 10; }
  bool throws_;
};

TEST(NoMemory, OneThatFailsCostsNoOther) {
  Answers good(false), bad(true), also_good(false);
  Waiting waiting;
  // Waiting never looks into an exchange.
  auto* exchange = reinterpret_cast<Exchange*>(&waiting);
  for (auto* pending : {&good, &bad, &also_good}) waiting.add(*exchange, *pending);
  const auto answered = waiting.answered(5, true);
  ASSERT_EQ(answered.size(), 3u);
  EXPECT_TRUE(waiting.empty());
  std::size_t failed = 0, responses = 0;
  for (const auto& row : answered) failed += row.failed, responses += row.response.has_value();
  EXPECT_EQ(failed, 1u);
  EXPECT_EQ(responses, 2u);
}

}  // namespace
}  // namespace vitald
