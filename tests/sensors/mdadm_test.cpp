// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Mdadm, Cases) {
  check_cases(
      "mdadm",
      {
          {"a recovering raid, and sysfs",
           {{"proc/mdstat",
             "Personalities : [raid1] [raid6] [raid5] [raid4]\n"
             "md3 : active raid6 sda1[8] sdh1[7](F) sdd1[3] sdb1[9](S)\n"
             "      1639928368 blocks super 1.2 level 6, 64k chunk, algorithm 2 [8/7] [UUUUUUU_]\n"
             "      bitmap: 0/2 pages\n"
             "      [=>...................]  recovery =  6.1% (14390224/144208241) finish=23.4min speed=104417K/sec\n"
             "\n"
             "unused devices: <none>\n"},
            {"sys/block/md3/md/level", "raid6\n"},
            {"sys/block/md3/md/raid_disks", "8 (7)\n"},
            {"sys/block/md3/md/degraded", "1\n"},
            {"sys/block/sda/size", "1\n"}},
           "node_md_disks_required{device=\"md3\"} 8\n"
           "node_md_disks{device=\"md3\",state=\"active\"} 7\n"
           "node_md_disks{device=\"md3\",state=\"failed\"} 1\n"
           "node_md_disks{device=\"md3\",state=\"spare\"} 1\n"
           "node_md_state{device=\"md3\",state=\"active\"} 0\n"
           "node_md_state{device=\"md3\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md3\",state=\"recovering\"} 1\n"
           "node_md_state{device=\"md3\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md3\",state=\"check\"} 0\n"
           "node_md_blocks{device=\"md3\"} 1639928368\n"
           "node_md_blocks_synced{device=\"md3\"} 14390224\n"
           "node_md_raid_disks{device=\"md3\"} 8\n"
           "node_md_degraded{device=\"md3\"} 1\n",
           ""},
          {"raid0, inactive, delayed",
           {{"proc/mdstat",
             "md0 : active raid0 sda1[0] sdb1[1]\n"
             "      524280 blocks super 1.2 512k chunks\n"
             "\n"
             "md1 : inactive sdc[0](S)\n"
             "      1024 blocks\n"
             "\n"
             "md2 : active (auto-read-only) raid1 sda1[0] sdb1[1]\n"
             "      2048 blocks [2/2] [UU]\n"
             "        resync=DELAYED\n"
             "\n"}},
           "node_md_disks_required{device=\"md0\"} 2\n"
           "node_md_disks{device=\"md0\",state=\"active\"} 2\n"
           "node_md_disks{device=\"md0\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md0\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md0\",state=\"active\"} 1\n"
           "node_md_state{device=\"md0\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md0\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md0\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md0\",state=\"check\"} 0\n"
           "node_md_blocks{device=\"md0\"} 524280\n"
           "node_md_blocks_synced{device=\"md0\"} 524280\n"
           "node_md_disks_required{device=\"md1\"} 0\n"
           "node_md_disks{device=\"md1\",state=\"active\"} 0\n"
           "node_md_disks{device=\"md1\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md1\",state=\"spare\"} 1\n"
           "node_md_state{device=\"md1\",state=\"active\"} 0\n"
           "node_md_state{device=\"md1\",state=\"inactive\"} 1\n"
           "node_md_state{device=\"md1\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md1\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md1\",state=\"check\"} 0\n"
           "node_md_blocks{device=\"md1\"} 1024\n"
           "node_md_blocks_synced{device=\"md1\"} 1024\n"
           "node_md_disks_required{device=\"md2\"} 2\n"
           "node_md_disks{device=\"md2\",state=\"active\"} 2\n"
           "node_md_disks{device=\"md2\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md2\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md2\",state=\"active\"} 0\n"
           "node_md_state{device=\"md2\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md2\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md2\",state=\"resync\"} 1\n"
           "node_md_state{device=\"md2\",state=\"check\"} 0\n"
           "node_md_blocks{device=\"md2\"} 2048\n"
           "node_md_blocks_synced{device=\"md2\"} 0\n",
           ""},
          {"synced by another node of the cluster, one that only makes errors, one without a disk, recovery's other "
           "name",
           {{"proc/mdstat",
             "Personalities : [raid1] [faulty]\n"
             "md0 : active raid1 sdb1[1] sda1[0]\n"
             "      2048 blocks super 1.2 [2/2] [UU]\n"
             "      \tresync=REMOTE\n"
             "\n"
             "md3 : active faulty sdf1[0]\n"
             "      1024 blocks super 1.2 nfaults=0\n"
             "\n"
             "md2 : inactive\n"
             "       \n"
             "md4 : inactive super non-persistent\n"
             "       \n"
             "md8 : active raid1 sdb[1] sda[0]\n"
             "      2048 blocks super 1.2 [2/1] [U_]\n"
             "      [>....]  recover =  0.0% (1024/2048) finish=3.2min speed=1024K/sec\n"
             "\n"
             "unused devices: <none>\n"}},
           "node_md_disks_required{device=\"md0\"} 2\n"
           "node_md_disks{device=\"md0\",state=\"active\"} 2\n"
           "node_md_disks{device=\"md0\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md0\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md0\",state=\"active\"} 0\n"
           "node_md_state{device=\"md0\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md0\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md0\",state=\"resync\"} 1\n"
           "node_md_state{device=\"md0\",state=\"check\"} 0\n"
           "node_md_blocks{device=\"md0\"} 2048\n"
           "node_md_blocks_synced{device=\"md0\"} 0\n"
           "node_md_disks{device=\"md3\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md3\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md3\",state=\"active\"} 1\n"
           "node_md_state{device=\"md3\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md3\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md3\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md3\",state=\"check\"} 0\n"
           "node_md_blocks{device=\"md3\"} 1024\n"
           "node_md_blocks_synced{device=\"md3\"} 1024\n"
           "node_md_disks_required{device=\"md2\"} 0\n"
           "node_md_disks{device=\"md2\",state=\"active\"} 0\n"
           "node_md_disks{device=\"md2\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md2\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md2\",state=\"active\"} 0\n"
           "node_md_state{device=\"md2\",state=\"inactive\"} 1\n"
           "node_md_state{device=\"md2\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md2\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md2\",state=\"check\"} 0\n"
           "node_md_disks_required{device=\"md4\"} 0\n"
           "node_md_disks{device=\"md4\",state=\"active\"} 0\n"
           "node_md_disks{device=\"md4\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md4\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md4\",state=\"active\"} 0\n"
           "node_md_state{device=\"md4\",state=\"inactive\"} 1\n"
           "node_md_state{device=\"md4\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md4\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md4\",state=\"check\"} 0\n"
           "node_md_disks_required{device=\"md8\"} 2\n"
           "node_md_disks{device=\"md8\",state=\"active\"} 1\n"
           "node_md_disks{device=\"md8\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md8\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md8\",state=\"active\"} 0\n"
           "node_md_state{device=\"md8\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md8\",state=\"recovering\"} 1\n"
           "node_md_state{device=\"md8\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md8\",state=\"check\"} 0\n"
           "node_md_blocks{device=\"md8\"} 2048\n"
           "node_md_blocks_synced{device=\"md8\"} 1024\n",
           ""},
          {"broken: how many of a raid0's disks work is not told",
           {{"proc/mdstat",
             "md2 : broken raid0 sda1[0] sdb1[1]\n"
             "      524280 blocks super 1.2 512k chunks\n"
             "\n"
             "md1 : broken raid1 sdc1[0](F) sdd1[1]\n"
             "      2048 blocks super 1.2 [2/1] [_U]\n"
             "        resync=PENDING\n"
             "\n"}},
           "node_md_disks_required{device=\"md2\"} 2\n"
           "node_md_disks{device=\"md2\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md2\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md2\",state=\"active\"} 0\n"
           "node_md_state{device=\"md2\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md2\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md2\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md2\",state=\"check\"} 0\n"
           "node_md_state{device=\"md2\",state=\"broken\"} 1\n"
           "node_md_blocks{device=\"md2\"} 524280\n"
           "node_md_blocks_synced{device=\"md2\"} 524280\n"
           "node_md_disks_required{device=\"md1\"} 2\n"
           "node_md_disks{device=\"md1\",state=\"active\"} 1\n"
           "node_md_disks{device=\"md1\",state=\"failed\"} 1\n"
           "node_md_disks{device=\"md1\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md1\",state=\"active\"} 0\n"
           "node_md_state{device=\"md1\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md1\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md1\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md1\",state=\"check\"} 0\n"
           "node_md_state{device=\"md1\",state=\"broken\"} 1\n"
           "node_md_blocks{device=\"md1\"} 2048\n"
           "node_md_blocks_synced{device=\"md1\"} 2048\n",
           ""},
          {"reshaping",
           {{"proc/mdstat",
             "md0 : active raid10 sdd1[3] sdc1[2] sdb1[1] sda1[0]\n"
             "      2048 blocks super 1.2 512K chunks 2 near-copies [4/4] [UUUU]\n"
             "      [=>...]  reshape =  6.1% (100/2048) finish=23.4min speed=104417K/sec\n"}},
           "node_md_disks_required{device=\"md0\"} 4\n"
           "node_md_disks{device=\"md0\",state=\"active\"} 4\n"
           "node_md_disks{device=\"md0\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md0\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md0\",state=\"active\"} 0\n"
           "node_md_state{device=\"md0\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md0\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md0\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md0\",state=\"check\"} 0\n"
           "node_md_state{device=\"md0\",state=\"reshaping\"} 1\n"
           "node_md_blocks{device=\"md0\"} 2048\n"
           "node_md_blocks_synced{device=\"md0\"} 100\n",
           ""},
          {"checking",
           {{"proc/mdstat",
             "md0 : active raid1 sda1[0] sdb1[1]\n"
             "      2048 blocks [2/2] [UU]\n"
             "      [=>...]  check =  6.1% (100/2048) finish=23.4min speed=104417K/sec\n"}},
           "node_md_disks_required{device=\"md0\"} 2\n"
           "node_md_disks{device=\"md0\",state=\"active\"} 2\n"
           "node_md_disks{device=\"md0\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md0\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md0\",state=\"active\"} 0\n"
           "node_md_state{device=\"md0\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md0\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md0\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md0\",state=\"check\"} 1\n"
           "node_md_blocks{device=\"md0\"} 2048\n"
           "node_md_blocks_synced{device=\"md0\"} 100\n",
           ""},
          {"one that lost all its disks",
           {{"proc/mdstat",
             "Personalities : [raid1] [raid6] [raid5] [raid4]\n"
             "md126 : active raid5 super 1.2 level 5, 64k chunk, algorithm 2 [4/0] [____]\n"
             "      \n"
             "md127 : active raid1 nvme2n1[1] nvme3n1[0]\n"
             "      1781602304 blocks super external:/md126/0 [2/2] [UU]\n"
             "      \n"
             "unused devices: <none>\n"},
            {"sys/block/md126/md/level", "raid5\n"},
            {"sys/block/md126/md/raid_disks", "4\n"},
            {"sys/block/md126/md/degraded", "4\n"}},
           "node_md_disks_required{device=\"md126\"} 4\n"
           "node_md_disks{device=\"md126\",state=\"active\"} 0\n"
           "node_md_disks{device=\"md126\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md126\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md126\",state=\"active\"} 1\n"
           "node_md_state{device=\"md126\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md126\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md126\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md126\",state=\"check\"} 0\n"
           "node_md_disks_required{device=\"md127\"} 2\n"
           "node_md_disks{device=\"md127\",state=\"active\"} 2\n"
           "node_md_disks{device=\"md127\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md127\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md127\",state=\"active\"} 1\n"
           "node_md_state{device=\"md127\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md127\",state=\"recovering\"} 0\n"
           "node_md_state{device=\"md127\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md127\",state=\"check\"} 0\n"
           "node_md_blocks{device=\"md127\"} 1781602304\n"
           "node_md_blocks_synced{device=\"md127\"} 1781602304\n"
           "node_md_raid_disks{device=\"md126\"} 4\n"
           "node_md_degraded{device=\"md126\"} 4\n",
           ""},
          {"Unraid's driver",
           {{"proc/mdstat",
             "sbName=/boot/config/super.dat\nsbVersion=2.9.13\nmdVersion=2.9.25\nmdState=STARTED\nmdNumDisks=5\n"
             "mdResyncAction=recon P\ndiskNumber.0=0\ndiskName.0=\nrdevStatus.0=DISK_OK\n"}},
           "",
           "absent: /proc/mdstat: of another driver than the kernel's own (Unraid's)"},
          {"torn before its members",
           {{"proc/mdstat", "md0 : active raid1\nmd1 : active raid0\n"}},
           "",
           "malformed: /proc/mdstat: 'md0 : active raid1': an array and below it its blocks expected (and 1 more)"},
          {"torn",
           {{"proc/mdstat", "md0 : active raid1 sda1[0]\n"}},
           "",
           "malformed: /proc/mdstat: 'md0 : active raid1 sda1[0]': an array and below it its blocks expected"},
          {"torn sync line",
           {{"proc/mdstat",
             "md0 : active raid1 sda1[0] sdb1[1]\n"
             "      2048 blocks [2/2] [UU]\n"
             "      [=>...]  recovery =\n"}},
           "node_md_disks_required{device=\"md0\"} 2\n"
           "node_md_disks{device=\"md0\",state=\"active\"} 2\n"
           "node_md_disks{device=\"md0\",state=\"failed\"} 0\n"
           "node_md_disks{device=\"md0\",state=\"spare\"} 0\n"
           "node_md_state{device=\"md0\",state=\"active\"} 0\n"
           "node_md_state{device=\"md0\",state=\"inactive\"} 0\n"
           "node_md_state{device=\"md0\",state=\"recovering\"} 1\n"
           "node_md_state{device=\"md0\",state=\"resync\"} 0\n"
           "node_md_state{device=\"md0\",state=\"check\"} 0\n"
           "node_md_blocks{device=\"md0\"} 2048\n",
           "malformed: /proc/mdstat: '      [=>...]  recovery =': (done/all) blocks expected"},
          {"no arrays",
           {{"proc/mdstat",
             "Personalities : [raid1] [raid6] [raid5] [raid4]\n"
             "unused devices: <none>\n"}},
           "",
           ""},
          {"no file", {}, "", "absent: /proc/mdstat: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
