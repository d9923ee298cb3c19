// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <sys/utsname.h>

#include <string>

#include "tests/sensors/run_collector.h"

namespace vitald {

TEST(Uname, SaysWhatUnameSays) {
  utsname u{};
  ASSERT_EQ(uname(&u), 0);
  const auto got = run_collector("uname", {});
  EXPECT_EQ(got.text, std::string("node_uname_info{domainname=\"") + u.domainname + "\",machine=\"" + u.machine +
                          "\",nodename=\"" + u.nodename + "\",release=\"" + u.release +
                          "\",sysname=\"Linux\",version=\"" + u.version + "\"} 1\n");
  EXPECT_EQ(got.types, "node_uname_info gauge Labeled system information as provided by the uname system call.\n");
  EXPECT_EQ(got.error, "");
}

}  // namespace vitald
