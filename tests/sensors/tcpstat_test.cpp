// SPDX-License-Identifier: Apache-2.0
#include <gtest/gtest.h>
#include <netinet/in.h>
#include <sys/socket.h>

#include "core/os/fd.h"
#include "tests/sensors/run_collector.h"

namespace vitald {

TEST(Tcpstat, CountsAListener) {
  const Fd listener{::socket(AF_INET, SOCK_STREAM, 0)};
  sockaddr_in loopback{};
  loopback.sin_family = AF_INET;
  loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
  ASSERT_EQ(::bind(listener.get(), reinterpret_cast<const sockaddr*>(&loopback), sizeof loopback), 0);
  ASSERT_EQ(::listen(listener.get(), 1), 0);

  const auto got = run_collector("tcpstat", {});
  EXPECT_EQ(got.error, "");
  EXPECT_NE(got.text.find("node_tcp_connection_states{state=\"listen\"} "), std::string::npos) << got.text;
  EXPECT_NE(got.text.find("node_tcp_connection_states{state=\"tx_queued_bytes\"} "), std::string::npos) << got.text;
}

}  // namespace vitald
