// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Pcidevice, Cases) {
  check_cases(
      "pcidevice",
      {
          {"a bridge and what is behind it",
           {{"sys/devices/pci0000:00/0000:00:02.1/class", "0x060400\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/vendor", "0x1022\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/device", "0x1483\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/subsystem_vendor", "0x1458\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/subsystem_device", "0x5000\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/revision", "0x01\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/max_link_speed", "8.0 GT/s PCIe\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/max_link_width", "8\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/current_link_speed", "Unknown\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/power_state", "D0\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/numa_node", "-1\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/0000:01:00.0/class", "0x060400\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/0000:01:00.0/vendor", "0x1022\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/0000:01:00.0/device", "0x1483\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/0000:01:00.0/subsystem_vendor", "0x1458\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/0000:01:00.0/subsystem_device", "0x5000\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/0000:01:00.0/revision", "0x01\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/0000:01:00.0/sriov_numvfs", "4\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/0000:01:00.0/numa_node", "1\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/0000:01:00.0/d3cold_allowed", "1\n"},
            {"sys/bus/pci/devices/0000:00:02.1", "->../../../devices/pci0000:00/0000:00:02.1"},
            {"sys/bus/pci/devices/0000:01:00.0", "->../../../devices/pci0000:00/0000:00:02.1/0000:01:00.0"}},
           "node_pcidevice_info{bus=\"00\",class_id=\"0x060400\",device=\"02\",device_id=\"0x1483\",function=\"1\","
           "parent_bus=\"*\",parent_device=\"*\",parent_function=\"*\",parent_segment=\"*\",revision=\"0x01\",segment="
           "\"0000\",subsystem_device_id=\"0x5000\",subsystem_vendor_id=\"0x1458\",vendor_id=\"0x1022\"} 1\n"
           "node_pcidevice_max_link_transfers_per_second{bus=\"00\",device=\"02\",function=\"1\",segment=\"0000\"} "
           "8000000000\n"
           "node_pcidevice_max_link_width{bus=\"00\",device=\"02\",function=\"1\",segment=\"0000\"} 8\n"
           "node_pcidevice_power_state{bus=\"00\",device=\"02\",function=\"1\",segment=\"0000\",state=\"D0\"} 1\n"
           "node_pcidevice_power_state{bus=\"00\",device=\"02\",function=\"1\",segment=\"0000\",state=\"D1\"} 0\n"
           "node_pcidevice_power_state{bus=\"00\",device=\"02\",function=\"1\",segment=\"0000\",state=\"D2\"} 0\n"
           "node_pcidevice_power_state{bus=\"00\",device=\"02\",function=\"1\",segment=\"0000\",state=\"D3hot\"} 0\n"
           "node_pcidevice_power_state{bus=\"00\",device=\"02\",function=\"1\",segment=\"0000\",state=\"D3cold\"} 0\n"
           "node_pcidevice_power_state{bus=\"00\",device=\"02\",function=\"1\",segment=\"0000\",state=\"unknown\"} 0\n"
           "node_pcidevice_power_state{bus=\"00\",device=\"02\",function=\"1\",segment=\"0000\",state=\"error\"} 0\n"
           "node_pcidevice_info{bus=\"01\",class_id=\"0x060400\",device=\"00\",device_id=\"0x1483\",function=\"0\","
           "parent_bus=\"00\",parent_device=\"02\",parent_function=\"1\",parent_segment=\"0000\",revision=\"0x01\","
           "segment=\"0000\",subsystem_device_id=\"0x5000\",subsystem_vendor_id=\"0x1458\",vendor_id=\"0x1022\"} 1\n"
           "node_pcidevice_d3cold_allowed{bus=\"01\",device=\"00\",function=\"0\",segment=\"0000\"} 1\n"
           "node_pcidevice_sriov_numvfs{bus=\"01\",device=\"00\",function=\"0\",segment=\"0000\"} 4\n"
           "node_pcidevice_numa_node{bus=\"01\",device=\"00\",function=\"0\",segment=\"0000\"} 1\n",
           ""},
          {"links without a width: an integrated endpoint, one that answers all ones, and one that is down",
           {{"sys/devices/pci0000:00/0000:00:02.0/class", "0x030000\n"},
            {"sys/devices/pci0000:00/0000:00:02.0/vendor", "0x8086\n"},
            {"sys/devices/pci0000:00/0000:00:02.0/device", "0x56a0\n"},
            {"sys/devices/pci0000:00/0000:00:02.0/subsystem_vendor", "0x1458\n"},
            {"sys/devices/pci0000:00/0000:00:02.0/subsystem_device", "0x5000\n"},
            {"sys/devices/pci0000:00/0000:00:02.0/revision", "0x01\n"},
            {"sys/devices/pci0000:00/0000:00:02.0/max_link_speed", "Unknown\n"},
            {"sys/devices/pci0000:00/0000:00:02.0/max_link_width", "255\n"},
            {"sys/devices/pci0000:00/0000:00:02.0/current_link_speed", "Unknown\n"},
            {"sys/devices/pci0000:00/0000:00:02.0/current_link_width", "0\n"},
            {"sys/devices/pci0000:00/0000:00:03.0/class", "0x030000\n"},
            {"sys/devices/pci0000:00/0000:00:03.0/vendor", "0x8086\n"},
            {"sys/devices/pci0000:00/0000:00:03.0/device", "0x56a0\n"},
            {"sys/devices/pci0000:00/0000:00:03.0/subsystem_vendor", "0x1458\n"},
            {"sys/devices/pci0000:00/0000:00:03.0/subsystem_device", "0x5000\n"},
            {"sys/devices/pci0000:00/0000:00:03.0/revision", "0x01\n"},
            {"sys/devices/pci0000:00/0000:00:03.0/max_link_speed", "16.0 GT/s PCIe\n"},
            {"sys/devices/pci0000:00/0000:00:03.0/max_link_width", "16\n"},
            {"sys/devices/pci0000:00/0000:00:03.0/current_link_speed", "Unknown\n"},
            {"sys/devices/pci0000:00/0000:00:03.0/current_link_width", "63\n"},
            {"sys/devices/pci0000:00/0000:00:04.0/class", "0x030000\n"},
            {"sys/devices/pci0000:00/0000:00:04.0/vendor", "0x8086\n"},
            {"sys/devices/pci0000:00/0000:00:04.0/device", "0x56a0\n"},
            {"sys/devices/pci0000:00/0000:00:04.0/subsystem_vendor", "0x1458\n"},
            {"sys/devices/pci0000:00/0000:00:04.0/subsystem_device", "0x5000\n"},
            {"sys/devices/pci0000:00/0000:00:04.0/revision", "0x01\n"},
            {"sys/devices/pci0000:00/0000:00:04.0/max_link_speed", "8.0 GT/s PCIe\n"},
            {"sys/devices/pci0000:00/0000:00:04.0/max_link_width", "255\n"},
            {"sys/devices/pci0000:00/0000:00:04.0/current_link_speed", "2.5 GT/s PCIe\n"},
            {"sys/devices/pci0000:00/0000:00:04.0/current_link_width", "0\n"},
            {"sys/bus/pci/devices/0000:00:02.0", "->../../../devices/pci0000:00/0000:00:02.0"},
            {"sys/bus/pci/devices/0000:00:03.0", "->../../../devices/pci0000:00/0000:00:03.0"},
            {"sys/bus/pci/devices/0000:00:04.0", "->../../../devices/pci0000:00/0000:00:04.0"}},
           "node_pcidevice_info{bus=\"00\",class_id=\"0x030000\",device=\"02\",device_id=\"0x56a0\",function=\"0\","
           "parent_bus=\"*\",parent_device=\"*\",parent_function=\"*\",parent_segment=\"*\",revision=\"0x01\",segment="
           "\"0000\",subsystem_device_id=\"0x5000\",subsystem_vendor_id=\"0x1458\",vendor_id=\"0x8086\"} 1\n"
           "node_pcidevice_info{bus=\"00\",class_id=\"0x030000\",device=\"03\",device_id=\"0x56a0\",function=\"0\","
           "parent_bus=\"*\",parent_device=\"*\",parent_function=\"*\",parent_segment=\"*\",revision=\"0x01\",segment="
           "\"0000\",subsystem_device_id=\"0x5000\",subsystem_vendor_id=\"0x1458\",vendor_id=\"0x8086\"} 1\n"
           "node_pcidevice_max_link_transfers_per_second{bus=\"00\",device=\"03\",function=\"0\",segment=\"0000\"} "
           "16000000000\n"
           "node_pcidevice_max_link_width{bus=\"00\",device=\"03\",function=\"0\",segment=\"0000\"} 16\n"
           "node_pcidevice_info{bus=\"00\",class_id=\"0x030000\",device=\"04\",device_id=\"0x56a0\",function=\"0\","
           "parent_bus=\"*\",parent_device=\"*\",parent_function=\"*\",parent_segment=\"*\",revision=\"0x01\",segment="
           "\"0000\",subsystem_device_id=\"0x5000\",subsystem_vendor_id=\"0x1458\",vendor_id=\"0x8086\"} 1\n"
           "node_pcidevice_max_link_transfers_per_second{bus=\"00\",device=\"04\",function=\"0\",segment=\"0000\"} "
           "8000000000\n"
           "node_pcidevice_current_link_transfers_per_second{bus=\"00\",device=\"04\",function=\"0\",segment=\"0000\"} "
           "2500000000\n"
           "node_pcidevice_current_link_width{bus=\"00\",device=\"04\",function=\"0\",segment=\"0000\"} 0\n",
           ""},
          {"names without a file",
           {{"sys/devices/pci0000:00/0000:00:02.1/class", "0x060400\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/vendor", "0x1022\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/device", "0x1483\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/subsystem_vendor", "0x1458\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/subsystem_device", "0x5000\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/revision", "0x01\n"},
            {"sys/bus/pci/devices/0000:00:02.1", "->../../../devices/pci0000:00/0000:00:02.1"}},
           "node_pcidevice_info{bus=\"00\",class_id=\"0x060400\",class_name=\"Unknown class "
           "(060400)\",device=\"02\",device_id=\"0x1483\",device_name=\"1483\",function=\"1\",parent_bus=\"*\",parent_"
           "device=\"*\",parent_function=\"*\",parent_segment=\"*\",revision=\"0x01\",segment=\"0000\",subsystem_"
           "device_id=\"0x5000\",subsystem_device_name=\"5000\",subsystem_vendor_id=\"0x1458\",subsystem_vendor_name="
           "\"1458\",vendor_id=\"0x1022\",vendor_name=\"1022\"} 1\n",
           "",
           {{"collector.pcidevice.names", "true"}, {"collector.pcidevice.idsfile", "/nonexistent"}}},
          {"not hexadecimal",
           {{"sys/devices/pci0000:00/0000:00:02.1/class", "0x060400\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/vendor", "0x1022\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/device", "0x1483\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/subsystem_vendor", "0x1458\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/subsystem_device", "0x5000\n"},
            {"sys/devices/pci0000:00/0000:00:02.1/revision", "x\n"},
            {"sys/bus/pci/devices/0000:00:02.1", "->../../../devices/pci0000:00/0000:00:02.1"}},
           "node_pcidevice_info{bus=\"00\",class_id=\"0x060400\",device=\"02\",device_id=\"0x1483\",function=\"1\","
           "parent_bus=\"*\",parent_device=\"*\",parent_function=\"*\",parent_segment=\"*\",revision=\"\",segment="
           "\"0000\",subsystem_device_id=\"0x5000\",subsystem_vendor_id=\"0x1458\",vendor_id=\"0x1022\"} 1\n",
           "malformed: /sys/bus/pci/devices/0000:00:02.1: 'x': a number in hexadecimal expected"},
          {"no revision, before Linux 4.10",
           {{"sys/bus/pci/devices/0000:00:02.1/class", "0x060400\n"},
            {"sys/bus/pci/devices/0000:00:02.1/vendor", "0x1022\n"},
            {"sys/bus/pci/devices/0000:00:02.1/device", "0x1483\n"},
            {"sys/bus/pci/devices/0000:00:02.1/subsystem_vendor", "0x1458\n"},
            {"sys/bus/pci/devices/0000:00:02.1/subsystem_device", "0x5000\n"}},
           "node_pcidevice_info{bus=\"00\",class_id=\"0x060400\",device=\"02\",device_id=\"0x1483\",function=\"1\","
           "parent_bus=\"*\",parent_device=\"*\",parent_function=\"*\",parent_segment=\"*\",revision=\"\",segment="
           "\"0000\",subsystem_device_id=\"0x5000\",subsystem_vendor_id=\"0x1458\",vendor_id=\"0x1022\"} 1\n",
           ""},
          {"no vendor",
           {{"sys/bus/pci/devices/0000:00:02.1/class", "0x060400\n"}},
           "",
           "gone: /sys/bus/pci/devices/0000:00:02.1/vendor: No such file or directory (ENOENT)"},
          {"not a location",
           {{"sys/bus/pci/devices/x/class", ""}},
           "",
           "malformed: /sys/bus/pci/devices/x: 'x': segment:bus:device.function expected"},
          {"no PCI", {}, "", "absent: /sys/bus/pci/devices: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
