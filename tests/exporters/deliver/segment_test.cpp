// SPDX-License-Identifier: Apache-2.0
#include "exporters/deliver/segment.h"

#include <gtest/gtest.h>

#include <functional>

#include "exporters/deliver/backoff.h"

namespace vitald {
namespace {

Item item(std::uint64_t id, std::string body) {
  return {id, "key " + std::to_string(id), std::move(body), 1'700'000'000'000 + static_cast<std::int64_t>(id), 1};
}

// Ids of what is found, and how many bytes belong to nothing.
struct Read {
  std::vector<std::uint64_t> ids;
  std::uint64_t done;
  bool damaged, ours;
  bool operator==(const Read&) const = default;
};
std::ostream& operator<<(std::ostream& out, const Read& r) {
  for (const auto id : r.ids) out << id << ' ';
  return out << "done " << r.done << (r.damaged ? " damaged" : "") << (r.ours ? "" : " not ours");
}

TEST(Segment, ReadsBackAndSurvivesDamage) {
  std::string good(kSegmentHead);
  append_item_record(good, item(1, "one"));
  const auto second = good.size();
  append_item_record(good, item(2, std::string("two\xfeREC\0", 9)));  // looks like the next record
  const auto third = good.size();
  append_done_record(good, 1);
  append_item_record(good, item(3, ""));
  struct Case {
    const char* name;
    std::function<void(std::string&)> change;
    Read want;
  };
  const Case cases[] = {
      {"as written", [](auto&) {}, {{1, 2, 3}, 1, false, true}},
      {"empty", [](auto& s) { s.clear(); }, {{}, 0, false, false}},
      {"the head only", [](auto& s) { s.resize(kSegmentHead.size()); }, {{}, 0, false, true}},
      {"torn in the last record", [](auto& s) { s.pop_back(); }, {{1, 2}, 1, true, true}},
      {"torn in its frame", [](auto& s) { s.resize(s.size() - 40); }, {{1, 2}, 1, true, true}},
      {"torn after the first", [&](auto& s) { s.resize(second + 5); }, {{1}, 0, true, true}},
      {"a bit of a body", [&](auto& s) { s[second - 1] ^= 1; }, {{2, 3}, 1, true, true}},
      {"a length", [&](auto& s) { s[second + 4] ^= 1; }, {{1, 3}, 1, true, true}},
      {"a length that is enormous",
       [&](auto& s) { s.replace(second + 4, 4, "\xff\xff\xff\xff"); },
       {{1, 3}, 1, true, true}},
      {"a checksum", [&](auto& s) { s[second + 9] ^= 0x40; }, {{1, 3}, 1, true, true}},
      {"zeros at the end, as after a power cut", [](auto& s) { s.append(4096, '\0'); }, {{1, 2, 3}, 1, true, true}},
      {"a hole", [&](auto& s) { s.replace(second, third - second, third - second, '\0'); }, {{1, 3}, 1, true, true}},
      {"another head", [](auto& s) { s[0] = 'X'; }, {{1, 2, 3}, 1, true, false}},
      {"text", [](auto& s) { s = "groups:\n- name: x\n"; }, {{}, 0, true, false}},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    auto bytes = good;
    c.change(bytes);
    const auto content = read_segment(bytes);
    Read got{{}, content.done, content.damaged_bytes > 0, content.ours};
    for (const auto& i : content.items) got.ids.push_back(i.id);
    EXPECT_EQ(got, c.want);
  }
  const auto content = read_segment(good);
  EXPECT_EQ(content.items[1], item(2, std::string("two\xfeREC\0", 9)));
}

// A file full of what looks like records is read in a bounded time.
TEST(Segment, MarksEverywhere) {
  std::string bytes(kSegmentHead);
  for (int i = 0; i < 100'000; ++i) bytes += std::string("\xfeREC\0\0\x0f\0CRC!", 12);  // 960 KiB each
  const auto content = read_segment(bytes);
  EXPECT_TRUE(content.items.empty());
  EXPECT_EQ(content.damaged_bytes, bytes.size() - kSegmentHead.size());
}

TEST(Backoff, Waits) {
  Backoff backoff(1'000, 10'000, 7);
  for (const std::int64_t most : {1'000, 2'000, 4'000, 8'000, 10'000, 10'000}) {
    const auto wait = backoff.next();
    EXPECT_GE(wait, most / 2);
    EXPECT_LE(wait, most);
  }
  // A receiver's wish counts, also when it is longer than ours ever gets; but not for a day.
  const auto wish = backoff.next(50'000);
  EXPECT_GE(wish, 50'000);
  EXPECT_LE(wish, 55'000);
  EXPECT_LE(backoff.next(24 * Backoff::kMostWish), Backoff::kMostWish * 11 / 10);
  backoff.reset();
  EXPECT_LE(backoff.next(), 1'000);
  Backoff other(1'000'000, 10'000'000, 8), third(1'000'000, 10'000'000, 9);
  EXPECT_NE(other.next(), third.next());
}

}  // namespace
}  // namespace vitald
