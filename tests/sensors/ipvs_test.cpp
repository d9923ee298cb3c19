// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Ipvs, Cases) {
  check_cases("ipvs",
              {
                  {"TCP, IPv6 and firewall mark",
                   {{"proc/net/ip_vs_stats",
                     "   Total Incoming Outgoing         Incoming         Outgoing\n"
                     "   Conns  Packets  Packets            Bytes            Bytes\n"
                     " 16AA370 E33656E5        0     51D8C8883AB3                0\n"
                     "\n"},
                    {"proc/net/ip_vs",
                     "IP Virtual Server version 1.2.1 (size=4096)\n"
                     "Prot LocalAddress:Port Scheduler Flags\n"
                     "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
                     "TCP  C0A80016:0CEA wlc\n"
                     "  -> C0A85216:0CEA      Tunnel  100    248        2\n"
                     "  -> C0A85318:0CEA      Tunnel  50    1        2\n"
                     "TCP  [2620:0000:0000:0000:0000:0000:0000:0001]:0050 sh\n"
                     "  -> [2620:0000:0000:0000:0000:0000:0000:0002]:0050      Route   10    0          0\n"
                     "FWM  10001000 wlc\n"
                     "  -> C0A8321A:0CEA      Tunnel  20     64         1\n"}},
                   "node_ipvs_connections_total 23765872\n"
                   "node_ipvs_incoming_packets_total 3811989221\n"
                   "node_ipvs_outgoing_packets_total 0\n"
                   "node_ipvs_incoming_bytes_total 89991519156915\n"
                   "node_ipvs_outgoing_bytes_total 0\n"
                   "node_ipvs_backend_connections_active{local_address=\"192.168.0.22\",local_mark=\"\",local_port="
                   "\"3306\",proto=\"TCP\",remote_address=\"192.168.82.22\",remote_port=\"3306\"} 248\n"
                   "node_ipvs_backend_connections_inactive{local_address=\"192.168.0.22\",local_mark=\"\",local_port="
                   "\"3306\",proto=\"TCP\",remote_address=\"192.168.82.22\",remote_port=\"3306\"} 2\n"
                   "node_ipvs_backend_weight{local_address=\"192.168.0.22\",local_mark=\"\",local_port=\"3306\",proto="
                   "\"TCP\",remote_address=\"192.168.82.22\",remote_port=\"3306\"} 100\n"
                   "node_ipvs_backend_connections_active{local_address=\"192.168.0.22\",local_mark=\"\",local_port="
                   "\"3306\",proto=\"TCP\",remote_address=\"192.168.83.24\",remote_port=\"3306\"} 1\n"
                   "node_ipvs_backend_connections_inactive{local_address=\"192.168.0.22\",local_mark=\"\",local_port="
                   "\"3306\",proto=\"TCP\",remote_address=\"192.168.83.24\",remote_port=\"3306\"} 2\n"
                   "node_ipvs_backend_weight{local_address=\"192.168.0.22\",local_mark=\"\",local_port=\"3306\",proto="
                   "\"TCP\",remote_address=\"192.168.83.24\",remote_port=\"3306\"} 50\n"
                   "node_ipvs_backend_connections_active{local_address=\"2620::1\",local_mark=\"\",local_port=\"80\","
                   "proto=\"TCP\",remote_address=\"2620::2\",remote_port=\"80\"} 0\n"
                   "node_ipvs_backend_connections_inactive{local_address=\"2620::1\",local_mark=\"\",local_port=\"80\","
                   "proto=\"TCP\",remote_address=\"2620::2\",remote_port=\"80\"} 0\n"
                   "node_ipvs_backend_weight{local_address=\"2620::1\",local_mark=\"\",local_port=\"80\",proto=\"TCP\","
                   "remote_address=\"2620::2\",remote_port=\"80\"} 10\n"
                   "node_ipvs_backend_connections_active{local_address=\"\",local_mark=\"10001000\",local_port=\"0\","
                   "proto=\"FWM\",remote_address=\"192.168.50.26\",remote_port=\"3306\"} 64\n"
                   "node_ipvs_backend_connections_inactive{local_address=\"\",local_mark=\"10001000\",local_port=\"0\","
                   "proto=\"FWM\",remote_address=\"192.168.50.26\",remote_port=\"3306\"} 1\n"
                   "node_ipvs_backend_weight{local_address=\"\",local_mark=\"10001000\",local_port=\"0\",proto=\"FWM\","
                   "remote_address=\"192.168.50.26\",remote_port=\"3306\"} 20\n",
                   ""},
                  {"summed by local port",
                   {{"proc/net/ip_vs_stats",
                     "   Total Incoming Outgoing         Incoming         Outgoing\n"
                     "   Conns  Packets  Packets            Bytes            Bytes\n"
                     " 16AA370 E33656E5        0     51D8C8883AB3                0\n"
                     "\n"},
                    {"proc/net/ip_vs",
                     "IP Virtual Server version 1.2.1 (size=4096)\n"
                     "Prot LocalAddress:Port Scheduler Flags\n"
                     "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
                     "TCP  C0A80016:0CEA wlc\n"
                     "  -> C0A85216:0CEA      Tunnel  100    248        2\n"
                     "  -> C0A85318:0CEA      Tunnel  50    1        2\n"
                     "TCP  [2620:0000:0000:0000:0000:0000:0000:0001]:0050 sh\n"
                     "  -> [2620:0000:0000:0000:0000:0000:0000:0002]:0050      Route   10    0          0\n"
                     "FWM  10001000 wlc\n"
                     "  -> C0A8321A:0CEA      Tunnel  20     64         1\n"}},
                   "node_ipvs_connections_total 23765872\n"
                   "node_ipvs_incoming_packets_total 3811989221\n"
                   "node_ipvs_outgoing_packets_total 0\n"
                   "node_ipvs_incoming_bytes_total 89991519156915\n"
                   "node_ipvs_outgoing_bytes_total 0\n"
                   "node_ipvs_backend_connections_active{local_port=\"3306\"} 249\n"
                   "node_ipvs_backend_connections_inactive{local_port=\"3306\"} 4\n"
                   "node_ipvs_backend_weight{local_port=\"3306\"} 150\n"
                   "node_ipvs_backend_connections_active{local_port=\"80\"} 0\n"
                   "node_ipvs_backend_connections_inactive{local_port=\"80\"} 0\n"
                   "node_ipvs_backend_weight{local_port=\"80\"} 10\n"
                   "node_ipvs_backend_connections_active{local_port=\"0\"} 64\n"
                   "node_ipvs_backend_connections_inactive{local_port=\"0\"} 1\n"
                   "node_ipvs_backend_weight{local_port=\"0\"} 20\n",
                   "",
                   {{"collector.ipvs.backend-labels", "local_port"}}},
                  {"no labels",
                   {{"proc/net/ip_vs_stats",
                     "   Total Incoming Outgoing         Incoming         Outgoing\n"
                     "   Conns  Packets  Packets            Bytes            Bytes\n"
                     " 16AA370 E33656E5        0     51D8C8883AB3                0\n"
                     "\n"},
                    {"proc/net/ip_vs",
                     "IP Virtual Server version 1.2.1 (size=4096)\n"
                     "Prot LocalAddress:Port Scheduler Flags\n"
                     "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
                     "TCP  C0A80016:0CEA wlc\n"
                     "  -> C0A85216:0CEA      Tunnel  100    248        2\n"
                     "  -> C0A85318:0CEA      Tunnel  50    1        2\n"
                     "TCP  [2620:0000:0000:0000:0000:0000:0000:0001]:0050 sh\n"
                     "  -> [2620:0000:0000:0000:0000:0000:0000:0002]:0050      Route   10    0          0\n"
                     "FWM  10001000 wlc\n"
                     "  -> C0A8321A:0CEA      Tunnel  20     64         1\n"}},
                   "node_ipvs_connections_total 23765872\n"
                   "node_ipvs_incoming_packets_total 3811989221\n"
                   "node_ipvs_outgoing_packets_total 0\n"
                   "node_ipvs_incoming_bytes_total 89991519156915\n"
                   "node_ipvs_outgoing_bytes_total 0\n"
                   "node_ipvs_backend_connections_active 313\n"
                   "node_ipvs_backend_connections_inactive 5\n"
                   "node_ipvs_backend_weight 180\n",
                   "",
                   {{"collector.ipvs.backend-labels", ""}}},
                  {"unknown label",
                   {},
                   "",
                   "malformed: --collector.ipvs.backend-labels: 'weight': one of local_address, local_port, "
                   "remote_address, remote_port, proto, local_mark expected",
                   {{"collector.ipvs.backend-labels", "proto,weight"}}},
                  {"no services",
                   {{"proc/net/ip_vs_stats",
                     "   Total Incoming Outgoing         Incoming         Outgoing\n"
                     "   Conns  Packets  Packets            Bytes            Bytes\n"
                     " 16AA370 E33656E5        0     51D8C8883AB3                0\n"
                     "\n"},
                    {"proc/net/ip_vs",
                     "IP Virtual Server version 1.2.1 (size=4096)\n"
                     "Prot LocalAddress:Port Scheduler Flags\n"
                     "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"}},
                   "node_ipvs_connections_total 23765872\n"
                   "node_ipvs_incoming_packets_total 3811989221\n"
                   "node_ipvs_outgoing_packets_total 0\n"
                   "node_ipvs_incoming_bytes_total 89991519156915\n"
                   "node_ipvs_outgoing_bytes_total 0\n",
                   ""},
                  {"torn",
                   {{"proc/net/ip_vs_stats",
                     "   Total Incoming Outgoing         Incoming         Outgoing\n"
                     "   Conns  Packets  Packets            Bytes            Bytes\n"
                     " 16AA370 E33656E5        0     51D8C8883AB3                0\n"
                     "\n"},
                    {"proc/net/ip_vs",
                     "IP Virtual Server version 1.2.1 (size=4096)\n"
                     "Prot LocalAddress:Port Scheduler Flags\n"
                     "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn\n"
                     "TCP  C0A80016:0C"}},
                   "node_ipvs_connections_total 23765872\n"
                   "node_ipvs_incoming_packets_total 3811989221\n"
                   "node_ipvs_outgoing_packets_total 0\n"
                   "node_ipvs_incoming_bytes_total 89991519156915\n"
                   "node_ipvs_outgoing_bytes_total 0\n",
                   "malformed: /proc/net/ip_vs: 'TCP  C0A80016:0C': a service or a backend expected"},
                  {"torn totals",
                   {{"proc/net/ip_vs_stats",
                     "   Total Incoming Outgoing         Incoming         Outgoing\n"
                     "   Conns  Packets  Packets            Bytes            Bytes\n"
                     " 16AA370"}},
                   "",
                   "malformed: /proc/net/ip_vs_stats: ' 16AA370': five hexadecimal numbers in the third line expected"},
                  {"module not loaded", {}, "", "absent: /proc/net/ip_vs_stats: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
