// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Ipvs, Cases) {
  check_cases(
      "ipvs",
      {
          {"TCP, IPv6 and firewall mark",
           {{"proc/net/ip_vs_stats",
             "   Total Incoming Outgoing         Incoming         Outgoing\n"
             "   Conns  Packets  Packets            Bytes            Bytes\n"
             " 24B91E5 A1702C39        0     3C07E15A9D42                0\n"
             "\n"},
            {"proc/net/ip_vs",
             "IP Virtual Server version 1.2.1 (size=32768)\n"
             "Prot LocalAddress:Port Scheduler Flags\n"
             "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
             "TCP  0A010207:1F90 wlc\n"
             "  -> 0A010B10:1F90      Tunnel  70     137        2\n"
             "  -> 0A010B11:1F90      Tunnel  30    1        2\n"
             "TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 sh\n"
             "  -> [2001:0db8:0000:0000:0000:0000:0000:0002]:0050      Route   10    0          0\n"
             "FWM  10002000 wlc\n"
             "  -> 0A010C05:1F90      Tunnel  15     41         1\n"}},
           "node_ipvs_connections_total 38506981\n"
           "node_ipvs_incoming_packets_total 2708483129\n"
           "node_ipvs_outgoing_packets_total 0\n"
           "node_ipvs_incoming_bytes_total 66004543249730\n"
           "node_ipvs_outgoing_bytes_total 0\n"
           "node_ipvs_backend_connections_active{local_address=\"10.1.2.7\",local_mark=\"\",local_port="
           "\"8080\",proto=\"TCP\",remote_address=\"10.1.11.16\",remote_port=\"8080\"} 137\n"
           "node_ipvs_backend_connections_inactive{local_address=\"10.1.2.7\",local_mark=\"\",local_port="
           "\"8080\",proto=\"TCP\",remote_address=\"10.1.11.16\",remote_port=\"8080\"} 2\n"
           "node_ipvs_backend_weight{local_address=\"10.1.2.7\",local_mark=\"\",local_port=\"8080\",proto="
           "\"TCP\",remote_address=\"10.1.11.16\",remote_port=\"8080\"} 70\n"
           "node_ipvs_backend_connections_active{local_address=\"10.1.2.7\",local_mark=\"\",local_port="
           "\"8080\",proto=\"TCP\",remote_address=\"10.1.11.17\",remote_port=\"8080\"} 1\n"
           "node_ipvs_backend_connections_inactive{local_address=\"10.1.2.7\",local_mark=\"\",local_port="
           "\"8080\",proto=\"TCP\",remote_address=\"10.1.11.17\",remote_port=\"8080\"} 2\n"
           "node_ipvs_backend_weight{local_address=\"10.1.2.7\",local_mark=\"\",local_port=\"8080\",proto="
           "\"TCP\",remote_address=\"10.1.11.17\",remote_port=\"8080\"} 30\n"
           "node_ipvs_backend_connections_active{local_address=\"2001:db8::1\",local_mark=\"\",local_port=\"80\","
           "proto=\"TCP\",remote_address=\"2001:db8::2\",remote_port=\"80\"} 0\n"
           "node_ipvs_backend_connections_inactive{local_address=\"2001:db8::1\",local_mark=\"\",local_port=\"80\","
           "proto=\"TCP\",remote_address=\"2001:db8::2\",remote_port=\"80\"} 0\n"
           "node_ipvs_backend_weight{local_address=\"2001:db8::1\",local_mark=\"\",local_port=\"80\",proto=\"TCP\","
           "remote_address=\"2001:db8::2\",remote_port=\"80\"} 10\n"
           "node_ipvs_backend_connections_active{local_address=\"\",local_mark=\"10002000\",local_port=\"0\","
           "proto=\"FWM\",remote_address=\"10.1.12.5\",remote_port=\"8080\"} 41\n"
           "node_ipvs_backend_connections_inactive{local_address=\"\",local_mark=\"10002000\",local_port=\"0\","
           "proto=\"FWM\",remote_address=\"10.1.12.5\",remote_port=\"8080\"} 1\n"
           "node_ipvs_backend_weight{local_address=\"\",local_mark=\"10002000\",local_port=\"0\",proto=\"FWM\","
           "remote_address=\"10.1.12.5\",remote_port=\"8080\"} 15\n",
           ""},
          {"summed by local port",
           {{"proc/net/ip_vs_stats",
             "   Total Incoming Outgoing         Incoming         Outgoing\n"
             "   Conns  Packets  Packets            Bytes            Bytes\n"
             " 24B91E5 A1702C39        0     3C07E15A9D42                0\n"
             "\n"},
            {"proc/net/ip_vs",
             "IP Virtual Server version 1.2.1 (size=32768)\n"
             "Prot LocalAddress:Port Scheduler Flags\n"
             "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
             "TCP  0A010207:1F90 wlc\n"
             "  -> 0A010B10:1F90      Tunnel  70     137        2\n"
             "  -> 0A010B11:1F90      Tunnel  30    1        2\n"
             "TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 sh\n"
             "  -> [2001:0db8:0000:0000:0000:0000:0000:0002]:0050      Route   10    0          0\n"
             "FWM  10002000 wlc\n"
             "  -> 0A010C05:1F90      Tunnel  15     41         1\n"}},
           "node_ipvs_connections_total 38506981\n"
           "node_ipvs_incoming_packets_total 2708483129\n"
           "node_ipvs_outgoing_packets_total 0\n"
           "node_ipvs_incoming_bytes_total 66004543249730\n"
           "node_ipvs_outgoing_bytes_total 0\n"
           "node_ipvs_backend_connections_active{local_port=\"8080\"} 138\n"
           "node_ipvs_backend_connections_inactive{local_port=\"8080\"} 4\n"
           "node_ipvs_backend_weight{local_port=\"8080\"} 100\n"
           "node_ipvs_backend_connections_active{local_port=\"80\"} 0\n"
           "node_ipvs_backend_connections_inactive{local_port=\"80\"} 0\n"
           "node_ipvs_backend_weight{local_port=\"80\"} 10\n"
           "node_ipvs_backend_connections_active{local_port=\"0\"} 41\n"
           "node_ipvs_backend_connections_inactive{local_port=\"0\"} 1\n"
           "node_ipvs_backend_weight{local_port=\"0\"} 15\n",
           "",
           {{"collector.ipvs.backend-labels", "local_port"}}},
          {"no labels",
           {{"proc/net/ip_vs_stats",
             "   Total Incoming Outgoing         Incoming         Outgoing\n"
             "   Conns  Packets  Packets            Bytes            Bytes\n"
             " 24B91E5 A1702C39        0     3C07E15A9D42                0\n"
             "\n"},
            {"proc/net/ip_vs",
             "IP Virtual Server version 1.2.1 (size=32768)\n"
             "Prot LocalAddress:Port Scheduler Flags\n"
             "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
             "TCP  0A010207:1F90 wlc\n"
             "  -> 0A010B10:1F90      Tunnel  70     137        2\n"
             "  -> 0A010B11:1F90      Tunnel  30    1        2\n"
             "TCP  [2001:0db8:0000:0000:0000:0000:0000:0001]:0050 sh\n"
             "  -> [2001:0db8:0000:0000:0000:0000:0000:0002]:0050      Route   10    0          0\n"
             "FWM  10002000 wlc\n"
             "  -> 0A010C05:1F90      Tunnel  15     41         1\n"}},
           "node_ipvs_connections_total 38506981\n"
           "node_ipvs_incoming_packets_total 2708483129\n"
           "node_ipvs_outgoing_packets_total 0\n"
           "node_ipvs_incoming_bytes_total 66004543249730\n"
           "node_ipvs_outgoing_bytes_total 0\n"
           "node_ipvs_backend_connections_active 179\n"
           "node_ipvs_backend_connections_inactive 5\n"
           "node_ipvs_backend_weight 125\n",
           "",
           {{"collector.ipvs.backend-labels", ""}}},
          {"no services",
           {{"proc/net/ip_vs_stats",
             "   Total Incoming Outgoing         Incoming         Outgoing\n"
             "   Conns  Packets  Packets            Bytes            Bytes\n"
             " 24B91E5 A1702C39        0     3C07E15A9D42                0\n"
             "\n"},
            {"proc/net/ip_vs",
             "IP Virtual Server version 1.2.1 (size=32768)\n"
             "Prot LocalAddress:Port Scheduler Flags\n"
             "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"}},
           "node_ipvs_connections_total 38506981\n"
           "node_ipvs_incoming_packets_total 2708483129\n"
           "node_ipvs_outgoing_packets_total 0\n"
           "node_ipvs_incoming_bytes_total 66004543249730\n"
           "node_ipvs_outgoing_bytes_total 0\n",
           ""},
          {"torn",
           {{"proc/net/ip_vs_stats",
             "   Total Incoming Outgoing         Incoming         Outgoing\n"
             "   Conns  Packets  Packets            Bytes            Bytes\n"
             " 24B91E5 A1702C39        0     3C07E15A9D42                0\n"
             "\n"},
            {"proc/net/ip_vs",
             "IP Virtual Server version 1.2.1 (size=32768)\n"
             "Prot LocalAddress:Port Scheduler Flags\n"
             "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
             "TCP  C0A80016:0C"}},
           "node_ipvs_connections_total 38506981\n"
           "node_ipvs_incoming_packets_total 2708483129\n"
           "node_ipvs_outgoing_packets_total 0\n"
           "node_ipvs_incoming_bytes_total 66004543249730\n"
           "node_ipvs_outgoing_bytes_total 0\n",
           "malformed: /proc/net/ip_vs: 'TCP  C0A80016:0C': a service or a backend expected"},
          {"torn totals",
           {{"proc/net/ip_vs_stats",
             "   Total Incoming Outgoing         Incoming         Outgoing\n"
             "   Conns  Packets  Packets            Bytes            Bytes\n"
             " 24B91E5"}},
           "",
           "malformed: /proc/net/ip_vs_stats: ' 24B91E5': five hexadecimal numbers in the third line expected (and 1 "
           "more)"},
          {"module not loaded", {}, "", "absent: /proc/net/ip_vs_stats: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
