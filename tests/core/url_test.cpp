// SPDX-License-Identifier: Apache-2.0
#include "core/text/url.h"

#include <gtest/gtest.h>

namespace vitald {
namespace {

TEST(Url, IsBase) {
  for (const auto* good : {"http://a", "https://a/", "http://a:9100", "https://a.example:1/b/c", "http://[::1]:9100/x",
                           "http://[::1]", "http://10.0.0.1:65535"})
    EXPECT_TRUE(is_base_url(good)) << good;
  for (const auto* bad : {"", "nonsense", "a:9100", "ftp://a", "http://", "http:///x", "http://a b", "http://a?b",
                          "http://a#b", "http://a:", "http://a:0", "http://a:65536", "http://a:x/y", "http://:9100",
                          "\"http://a\"", "http://a\n", "http://[::1]:x"})
    EXPECT_FALSE(is_base_url(bad)) << bad;
}

}  // namespace
}  // namespace vitald
