// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Dmmultipath, Cases) {
  check_cases("dmmultipath",
              {
                  {"two paths, and a volume that is none",
                   {{"sys/block/dm-5/dm/uuid", "mpath-3600\n"},
                    {"sys/block/dm-5/dm/name", "mpathq\n"},
                    {"sys/block/dm-5/dm/suspended", "0\n"},
                    {"sys/block/dm-5/size", "10\n"},
                    {"sys/block/dm-5/slaves/sdi/x", ""},
                    {"sys/block/dm-5/slaves/sdj/x", ""},
                    {"sys/block/sdi/device/state", "running\n"},
                    {"sys/block/sdj/device/state", "offline\n"},
                    {"sys/block/dm-1/dm/uuid", "LVM-x\n"}},
                   "node_dmmultipath_device_info{device=\"mpathq\",sysfs_name=\"dm-5\",uuid=\"mpath-3600\"} 1\n"
                   "node_dmmultipath_device_active{device=\"mpathq\",sysfs_name=\"dm-5\"} 1\n"
                   "node_dmmultipath_device_size_bytes{device=\"mpathq\",sysfs_name=\"dm-5\"} 5120\n"
                   "node_dmmultipath_path_state{device=\"mpathq\",path=\"sdi\",state=\"running\"} 1\n"
                   "node_dmmultipath_path_state{device=\"mpathq\",path=\"sdj\",state=\"offline\"} 1\n"
                   "node_dmmultipath_device_paths{device=\"mpathq\",sysfs_name=\"dm-5\"} 2\n"
                   "node_dmmultipath_device_paths_active{device=\"mpathq\",sysfs_name=\"dm-5\"} 1\n"
                   "node_dmmultipath_device_paths_failed{device=\"mpathq\",sysfs_name=\"dm-5\"} 1\n",
                   ""},
                  {"a path whose disk is gone has failed; the next one is read",
                   {{"sys/block/dm-5/dm/uuid", "mpath-3600\n"},
                    {"sys/block/dm-5/dm/name", "mpathq\n"},
                    {"sys/block/dm-5/dm/suspended", "0\n"},
                    {"sys/block/dm-5/size", "10\n"},
                    {"sys/block/dm-5/slaves/sdi", "->../../sdi"},
                    {"sys/block/dm-5/slaves/sdj/x", ""},
                    {"sys/block/sdj/device/state", "running\n"}},
                   "node_dmmultipath_device_info{device=\"mpathq\",sysfs_name=\"dm-5\",uuid=\"mpath-3600\"} 1\n"
                   "node_dmmultipath_device_active{device=\"mpathq\",sysfs_name=\"dm-5\"} 1\n"
                   "node_dmmultipath_device_size_bytes{device=\"mpathq\",sysfs_name=\"dm-5\"} 5120\n"
                   "node_dmmultipath_path_state{device=\"mpathq\",path=\"sdi\",state=\"unknown\"} 1\n"
                   "node_dmmultipath_path_state{device=\"mpathq\",path=\"sdj\",state=\"running\"} 1\n"
                   "node_dmmultipath_device_paths{device=\"mpathq\",sysfs_name=\"dm-5\"} 2\n"
                   "node_dmmultipath_device_paths_active{device=\"mpathq\",sysfs_name=\"dm-5\"} 1\n"
                   "node_dmmultipath_device_paths_failed{device=\"mpathq\",sysfs_name=\"dm-5\"} 1\n",
                   ""},
                  {"a path of virtio or DASD is there and has no state: it is neither active nor failed",
                   {{"sys/block/dm-5/dm/uuid", "mpath-3600\n"},
                    {"sys/block/dm-5/dm/name", "mpathq\n"},
                    {"sys/block/dm-5/dm/suspended", "0\n"},
                    {"sys/block/dm-5/size", "10\n"},
                    {"sys/block/dm-5/slaves/vda/x", ""},
                    {"sys/block/dm-5/slaves/vdb/x", ""},
                    {"sys/block/vda/device/vendor", "0x1af4\n"},
                    {"sys/block/vdb/size", "10\n"}},
                   "node_dmmultipath_device_info{device=\"mpathq\",sysfs_name=\"dm-5\",uuid=\"mpath-3600\"} 1\n"
                   "node_dmmultipath_device_active{device=\"mpathq\",sysfs_name=\"dm-5\"} 1\n"
                   "node_dmmultipath_device_size_bytes{device=\"mpathq\",sysfs_name=\"dm-5\"} 5120\n"
                   "node_dmmultipath_path_state{device=\"mpathq\",path=\"vda\",state=\"unknown\"} 1\n"
                   "node_dmmultipath_path_state{device=\"mpathq\",path=\"vdb\",state=\"unknown\"} 1\n"
                   "node_dmmultipath_device_paths{device=\"mpathq\",sysfs_name=\"dm-5\"} 2\n"
                   "node_dmmultipath_device_paths_active{device=\"mpathq\",sysfs_name=\"dm-5\"} 0\n"
                   "node_dmmultipath_device_paths_failed{device=\"mpathq\",sysfs_name=\"dm-5\"} 1\n",
                   ""},
                  {"suspended, no paths",
                   {{"sys/block/dm-5/dm/uuid", "mpath-3600\n"}, {"sys/block/dm-5/dm/suspended", "1\n"}},
                   "node_dmmultipath_device_info{device=\"\",sysfs_name=\"dm-5\",uuid=\"mpath-3600\"} 1\n"
                   "node_dmmultipath_device_active{device=\"\",sysfs_name=\"dm-5\"} 0\n"
                   "node_dmmultipath_device_paths{device=\"\",sysfs_name=\"dm-5\"} 0\n"
                   "node_dmmultipath_device_paths_active{device=\"\",sysfs_name=\"dm-5\"} 0\n"
                   "node_dmmultipath_device_paths_failed{device=\"\",sysfs_name=\"dm-5\"} 0\n",
                   ""},
                  {"no block devices", {}, "", "absent: /sys/block: No such file or directory (ENOENT)"},
              });
}

}  // namespace vitald
