// SPDX-License-Identifier: Apache-2.0
#include "exporters/encode/gzip.h"

#include <gtest/gtest.h>
#include <zlib.h>

#include <random>

namespace vitald {
namespace {

// By zlib, so that isa-l is not its own witness. Fails the test when anything follows the member.
std::string gunzip(const std::string& packed) {
  z_stream z{};
  EXPECT_EQ(inflateInit2(&z, 15 + 16), Z_OK);
  z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(packed.data()));
  z.avail_in = static_cast<uInt>(packed.size());
  std::string text;
  int rc = Z_OK;
  while (rc == Z_OK) {
    char piece[65536];
    z.next_out = reinterpret_cast<Bytef*>(piece);
    z.avail_out = sizeof piece;
    rc = inflate(&z, Z_NO_FLUSH);
    text.append(piece, sizeof piece - z.avail_out);
  }
  EXPECT_EQ(rc, Z_STREAM_END);
  EXPECT_EQ(z.avail_in, 0u);
  inflateEnd(&z);
  return text;
}

TEST(Gzip, ReadsBackWithZlib) {
  std::string lines;
  for (int i = 0; i < 2000; ++i) lines += "node_cpu_seconds_total{cpu=\"" + std::to_string(i % 64) + "\"} 12.5\n";
  std::mt19937 random(1);
  std::string noise(300'000, '\0');
  for (char& c : noise) c = static_cast<char>(random());
  const struct {
    const char* name;
    std::string text;
  } cases[] = {
      {"empty", ""},
      {"one byte", "x"},
      {"exposition", lines},
      {"cannot shrink", noise},
      {"a megabyte of one byte", std::string(1 << 20, 'a')},
  };
  Gzip gzip;  // one object for all: nothing may be left over from the member before
  std::string packed;
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    const auto done = gzip.compress(c.text, packed);
    ASSERT_TRUE(done) << done.error().text;
    EXPECT_TRUE(gunzip(packed) == c.text);
  }
}

TEST(Gzip, ShrinksExposition) {
  std::string text, packed;
  for (int i = 0; i < 700; ++i)
    text +=
        "node_network_receive_bytes_total{device=\"eth" + std::to_string(i) + "\"} " + std::to_string(i * 7919) + "\n";
  ASSERT_TRUE(Gzip().compress(text, packed));
  EXPECT_LT(packed.size() * 4, text.size());
}

TEST(Gzip, AndBack) {
  Gzip gzip;
  std::string packed, back = "what was there";
  for (const std::size_t size : {0UL, 1UL, 1000UL, 1'000'000UL, 3UL}) {
    std::string text;
    for (std::size_t i = 0; i < size; ++i) text += static_cast<char>('a' + i * i % 23);
    ASSERT_TRUE(gzip.compress(text, packed));
    const auto done = vitald::gunzip(packed, back, 1'000'000);
    ASSERT_TRUE(done) << done.error().text;
    EXPECT_EQ(back, text);
    if (size > 0) {
      EXPECT_FALSE(vitald::gunzip(packed, back, size - 1));
    }
    for (const std::size_t cut : {1UL, packed.size() / 2, packed.size() - 1})
      EXPECT_FALSE(vitald::gunzip(std::string_view(packed).substr(0, cut), back, 1'000'000));
  }
  EXPECT_FALSE(vitald::gunzip(std::string(100, 'x'), back, 1'000'000));
}

}  // namespace
}  // namespace vitald
