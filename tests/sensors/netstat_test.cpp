// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Netstat, Cases) {
  check_cases(
      "netstat",
      {
          {"chosen fields",
           {{"proc/net/netstat",
             "TcpExt: ListenOverflows ListenDrops\n"
             "TcpExt: 1 2\n"},
            {"proc/net/snmp",
             "Ip: Forwarding DefaultTTL\n"
             "Ip: 1 64\n"
             "Udp: InDatagrams NoPorts\n"
             "Udp: 10466 133\n"},
            {"proc/net/snmp6",
             "Ip6InReceives \t7\n"
             "Udp6InDatagrams \t0\n"
             "nonumber\n"}},
           "node_netstat_TcpExt_ListenDrops 2\n"
           "node_netstat_Ip_Forwarding 1\n"
           "node_netstat_Udp_InDatagrams 10466\n"
           "node_netstat_Udp6_InDatagrams 0\n",
           "",
           {{"collector.netstat.fields", "^(Ip_Forwarding|Udp6?_InDatagrams|TcpExt_ListenDrops)$"}}},
          {"default fields, no IPv6",
           {{"proc/net/netstat",
             "TcpExt: ListenOverflows ListenDrops\n"
             "TcpExt: 1 2\n"},
            {"proc/net/snmp",
             "Ip: Forwarding DefaultTTL\n"
             "Ip: 1 64\n"
             "Udp: InDatagrams NoPorts\n"
             "Udp: 10466 133\n"}},
           "node_netstat_TcpExt_ListenOverflows 1\n"
           "node_netstat_TcpExt_ListenDrops 2\n"
           "node_netstat_Ip_Forwarding 1\n"
           "node_netstat_Udp_InDatagrams 10466\n"
           "node_netstat_Udp_NoPorts 133\n",
           ""},
          {"negative, extra value column",
           {{"proc/net/netstat",
             "TcpExt: ListenDrops\n"
             "TcpExt: -1 5\n"},
            {"proc/net/snmp", "Ip: Forwarding\nIp: 1\n"}},
           "node_netstat_TcpExt_ListenDrops -1\n"
           "node_netstat_Ip_Forwarding 1\n",
           "",
           {{"collector.netstat.fields", "^(Ip_Forwarding|Udp6?_InDatagrams|TcpExt_ListenDrops)$"}}},
          {"torn",
           {{"proc/net/netstat",
             "TcpExt: ListenOverflows ListenDrops\n"
             "TcpExt: 1"},
            {"proc/net/snmp",
             "Ip: Forwarding DefaultTTL\n"
             "Ip: 1 64\n"
             "Udp: InDatagrams NoPorts\n"
             "Udp: 10466 133\n"}},
           "node_netstat_Ip_Forwarding 1\n"
           "node_netstat_Udp_InDatagrams 10466\n",
           "malformed: /proc/net/netstat: 'TcpExt: ListenOverflows ListenDrops': as many numbers below as "
           "names expected",
           {{"collector.netstat.fields", "^(Ip_Forwarding|Udp6?_InDatagrams|TcpExt_ListenDrops)$"}}},
          {"a field without a number costs no other",
           {{"proc/net/netstat", "TcpExt: A B C\nTcpExt: 1 x 3\nIpExt: D\nIpExt: 9\n"},
            {"proc/net/snmp", "Ip: Forwarding\nIp: 1\n"}},
           "node_netstat_TcpExt_A 1\n"
           "node_netstat_TcpExt_C 3\n"
           "node_netstat_IpExt_D 9\n"
           "node_netstat_Ip_Forwarding 1\n",
           "malformed: /proc/net/netstat: 'TcpExt: A B C': as many numbers below as names expected",
           {{"collector.netstat.fields", ".*"}}},
          {"a name that had to be cleaned does not take another's place",
           {{"proc/net/netstat", "TcpExt: A-B A_B\nTcpExt: 3 9\n"}, {"proc/net/snmp", "Ip: Forwarding\nIp: 1\n"}},
           "node_netstat_TcpExt_A_B 9\n"
           "node_netstat_Ip_Forwarding 1\n",
           "",
           {{"collector.netstat.fields", ".*"}}},
          {"empty",
           {{"proc/net/netstat", ""}, {"proc/net/snmp", ""}},
           "",
           "malformed: /proc/net/netstat: '': lines of names and numbers expected (and 1 more)"},
          {"no file", {}, "", "gone: /proc/net/netstat: No such file or directory (ENOENT) (and 1 more)"},
          {"bad pattern", {}, "", "malformed: pattern '(': missing ): (", {{"collector.netstat.fields", "("}}},
      });
}

}  // namespace vitald
