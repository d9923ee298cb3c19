// SPDX-License-Identifier: Apache-2.0
#include <fmt/format.h>

#include "tests/sensors/collector_cases.h"

namespace vitald {
namespace {

struct Nfs {
  const char *superblock, *point;
  int age, bytes, sends, reads;
  const char* version = "4.2";
};
// Both files of mounts of one export.
Tree tree_of(const std::vector<Nfs>& mounts) {
  std::string info, stats;
  for (const auto& m : mounts) {
    info += fmt::format("158 21 {} / {} rw - nfs4 a:/x rw,addr=10.0.0.1\n", m.superblock, m.point);
    stats += fmt::format(
        "device a:/x mounted on {} with fstype nfs4 statvers=1.1\n"
        "\topts:\trw,vers={},rsize=1048576\n\tage:\t{}\n\tbytes:\t{} 0 0 0 0 0 0 0\n"
        "\txprt:\ttcp 832 0 1 0 {} {} 0 0 0 0 {} 0 0\n\tper-op statistics\n\t        READ: {} 0 0 0 0 0 0 0\n\n",
        m.point, m.version, m.age, m.bytes, m.age, m.sends, m.sends, m.reads);
  }
  return {{"proc/self/mountinfo", info}, {"proc/self/mountstats", stats}};
}
// "age A read B idle I sends S slots L READ R" of what was emitted, and how many mount points.
std::string told(const CollectorRun& run) {
  std::string all = run.error;
  for (const auto* name : {"age_seconds_total", "nfs_read_bytes_total", "idle_time_seconds", "transport_sends_total",
                           "maximum_rpc_slots", "operations_requests_total", "mountpoint_info"}) {
    std::string values;
    const auto found = lines_with(run.text, name);
    for (std::string_view rest = found; !rest.empty();) {
      const auto line = take_line(rest);
      values.append(" ").append(line.substr(line.rfind(' ') + 1));
    }
    all += values + ",";
  }
  return all;
}

}  // namespace

// Each with its own numbers: age, bytes read, sends, READs. Transports are those of the client, one for all.
TEST(Mountstats, Superblocks) {
  struct Case {
    const char* name;
    std::vector<Nfs> first, second;
    const char *told, *then;
  };
  const Case cases[] = {
      {"one superblock mounted twice counts once",
       {{"0:42", "/a", 100, 1000, 7, 5}, {"0:42", "/b", 100, 1000, 7, 5}},
       {{"0:42", "/a", 115, 1001, 8, 6}, {"0:42", "/b", 115, 1001, 8, 6}},
       " 100, 1000, 100, 7, 7, 5, 1 1,",
       " 115, 1001, 115, 8, 8, 6, 1 1,"},
      {"another one (ro beside rw) is added",
       {{"0:42", "/a", 100, 1000, 7, 5}, {"0:43", "/b", 50, 20, 7, 3}},
       {{"0:42", "/a", 115, 1000, 8, 6}, {"0:43", "/b", 65, 30, 8, 3}},
       " 100, 1020, 100, 7, 7, 8, 1 1,",
       " 115, 1030, 115, 8, 8, 9, 1 1,"},
      {"over each other at one place",
       {{"0:42", "/a", 100, 1000, 7, 5}, {"0:43", "/a", 50, 20, 7, 3}},
       {{"0:42", "/a", 115, 1000, 8, 6}, {"0:43", "/a", 65, 30, 8, 3}},
       " 100, 1020, 100, 7, 7, 8, 1,",
       " 115, 1030, 115, 8, 8, 9, 1,"},
      {"what one counted stays in the sum when it goes",
       {{"0:42", "/a", 100, 1000, 7, 5}, {"0:43", "/b", 50, 20, 7, 3}},
       {{"0:43", "/b", 65, 30, 8, 3}},
       " 100, 1020, 100, 7, 7, 8, 1 1,",
       " 65, 1030, 65, 8, 8, 8, 1,"},
      {"one that is as old as the last look at most has taken the number of another",
       {{"0:42", "/a", 100, 1000, 7, 5}, {"0:43", "/b", 50, 20, 7, 3}},
       {{"0:42", "/a", 4, 1, 8, 1}, {"0:43", "/b", 65, 20, 8, 3}},
       " 100, 1020, 100, 7, 7, 8, 1 1,",
       " 65, 1021, 4, 8, 8, 9, 1 1,"},
      {"mounted anew it begins anew",
       {{"0:42", "/a", 100, 1000, 7, 5}},
       {{"0:42", "/a", 4, 1, 0, 1}},
       " 100, 1000, 100, 7, 7, 5, 1,",
       " 4, 1, 4, 0, 0, 1, 1,"},
      {"another version of the protocol has its own transport",
       {{"0:42", "/a", 100, 1000, 7, 5}, {"0:43", "/b", 50, 20, 2, 3, "3"}},
       {{"0:42", "/a", 115, 1000, 8, 5}},
       " 100, 1020, 50, 9, 7, 8, 1 1,",
       " 115, 1020, 115, 10, 8, 8, 1,"},
  };
  for (const auto& c : cases) {
    SCOPED_TRACE(c.name);
    CollectorFixture fixture("mountstats", tree_of(c.first));
    for (int run = 0; run < 2; ++run) EXPECT_EQ(told(fixture.run()), c.told);
    for (const auto& [path, text] : tree_of(c.second)) fixture.write(path, text);
    for (int run = 0; run < 2; ++run) EXPECT_EQ(told(fixture.run()), c.then);
  }
}

// A sum without the part of one of them would be wrong.
TEST(Mountstats, TornInOneOfTwo) {
  auto tree = tree_of({{"0:42", "/a", 100, 1000, 7, 5}, {"0:43", "/b", 50, 20, 7, 3}});
  auto& text = tree["proc/self/mountstats"];
  text.replace(text.rfind("bytes:\t20 0"), 11, "bytes:\t20 x");
  const auto got = run_collector("mountstats", tree);
  EXPECT_EQ(lines_with(got.text, "nfs_read_bytes_total"), "");
  EXPECT_EQ(lines_with(got.text, "requests_total"),
            "node_mountstats_nfs_operations_requests_total{export=\"a:/x\",mountaddr=\"10.0.0.1\",operation=\"READ\","
            "protocol=\"tcp\"} 8\n");
  EXPECT_EQ(got.error, "malformed: /proc/self/mountstats: 'bytes:\t20 x 0 0 0 0 0 0': eight numbers expected");
}

// Clients without pNFS do not count its reads and writes.
TEST(Mountstats, EventsOfOldClients) {
  const auto events = [](const std::string& version, const std::string& numbers) {
    return run_collector("mountstats",
                         {{"proc/self/mountinfo", "158 21 0:42 / /mnt rw - nfs 10.0.0.1:/srv rw,addr=10.0.0.1\n"},
                          {"proc/self/mountstats", "device 10.0.0.1:/srv mounted on /mnt with fstype nfs statvers=" +
                                                       version + "\n\tage:\t15\n\tevents:\t" + numbers +
                                                       "\n\txprt:\ttcp 386 0 1 0 11 9062 9062 7 14242 0\n\n"}});
  };
  const std::string of_25 = "0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24";
  const auto got = events("1.0", of_25);
  EXPECT_EQ(got.error, "");
  const std::string labels = "{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} ";
  EXPECT_EQ(lines_with(got.text, "jukebox"), "node_mountstats_nfs_event_jukebox_delay_total" + labels + "24\n");
  EXPECT_EQ(lines_with(got.text, "truncation"), "node_mountstats_nfs_event_truncation_total" + labels + "19\n");
  EXPECT_EQ(lines_with(got.text, "pnfs"), "");
  // Of a newer one it is a line that was cut.
  const auto cut = events("1.1", of_25);
  EXPECT_EQ(lines_with(cut.text, "_event_"), "");
  EXPECT_EQ(cut.error, "malformed: /proc/self/mountstats: 'events:\t" + of_25 + "': 27 numbers expected");
}

TEST(Mountstats, Cases) {
  check_cases(
      "mountstats",
      {
          {"mounted over itself: one mount point",
           {{"proc/self/mountinfo",
             "158 21 0:42 / /mnt rw - nfs4 10.0.0.1:/srv rw,addr=10.0.0.1\n"
             "181 158 0:42 / /mnt rw - nfs4 10.0.0.1:/srv rw,addr=10.0.0.1\n"},
            {"proc/self/mountstats",
             "device 10.0.0.1:/srv mounted on /mnt with fstype nfs4 statvers=1.1\n"
             "\tage:\t15105\n"
             "\txprt:\ttcp 386 0 1 0 11 9062 9062 7 14242 0 24 26 9041\n"
             "\n"
             "device 10.0.0.1:/srv mounted on /mnt with fstype nfs4 statvers=1.1\n"
             "\tage:\t15105\n"
             "\txprt:\ttcp 386 0 1 0 11 9062 9062 7 14242 0 24 26 9041\n"
             "\n"}},
           "node_mountstats_nfs_mountpoint_info{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",mountpoint=\"/"
           "mnt\",protocol=\"tcp\"} 1\n"
           "node_mountstats_nfs_age_seconds_total{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} "
           "15105\n"
           "node_mountstats_nfs_transport_bind_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 0\n"
           "node_mountstats_nfs_transport_connect_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 1\n"
           "node_mountstats_nfs_transport_idle_time_seconds{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 11\n"
           "node_mountstats_nfs_transport_sends_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 9062\n"
           "node_mountstats_nfs_transport_receives_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 9062\n"
           "node_mountstats_nfs_transport_bad_transaction_ids_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 7\n"
           "node_mountstats_nfs_transport_backlog_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 0\n"
           "node_mountstats_nfs_transport_maximum_rpc_slots{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 24\n"
           "node_mountstats_nfs_transport_sending_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 26\n"
           "node_mountstats_nfs_transport_pending_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 9041\n",
           ""},
          {"one server mounted twice",
           {{"proc/self/mountinfo",
             "16 21 0:16 / /sys rw - sysfs sysfs rw\n"
             "158 21 0:42 / /mnt/nfs rw shared:138 - nfs4 10.0.0.1:/srv "
             "rw,vers=4.0,addr=10.0.0.1,local_lock=none\n"
             "181 21 0:42 / /mnt/dup rw shared:138 - nfs4 10.0.0.1:/srv rw,addr=10.0.0.1\n"},
            {"proc/self/mountstats",
             "device sysfs mounted on /sys with fstype sysfs\n"
             "device 10.0.0.1:/srv mounted on /mnt/nfs with fstype nfs4 statvers=1.1\n"
             "\topts:\trw\n"
             "\tage:\t15105\n"
             "\tevents:\t0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26\n"
             "\tbytes:\t1 2 3 4 5 6 7 8\n"
             "\tRPC iostats version: 1.0  p/v: 100003/4 (nfs)\n"
             "\txprt:\ttcp 386 0 1 0 11 9062 9062 7 14242 0 24 26 9041\n"
             "\tper-op statistics\n"
             "\t        READ: 1151 1151 0 230360 1529627349 6 74295 25735\n"
             "\n"
             "device 10.0.0.1:/srv mounted on /mnt/dup with fstype nfs4 statvers=1.1\n"
             "\topts:\trw\n"
             "\tage:\t15105\n"
             "\tevents:\t0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26\n"
             "\tbytes:\t1 2 3 4 5 6 7 8\n"
             "\tRPC iostats version: 1.0  p/v: 100003/4 (nfs)\n"
             "\txprt:\ttcp 386 0 1 0 11 9062 9062 7 14242 0 24 26 9041\n"
             "\tper-op statistics\n"
             "\t        READ: 1151 1151 0 230360 1529627349 6 74295 25735\n"
             "\n"}},
           "node_mountstats_nfs_mountpoint_info{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",mountpoint=\"/"
           "mnt/nfs\",protocol=\"tcp\"} 1\n"
           "node_mountstats_nfs_mountpoint_info{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",mountpoint=\"/"
           "mnt/dup\",protocol=\"tcp\"} 1\n"
           "node_mountstats_nfs_age_seconds_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 15105\n"
           "node_mountstats_nfs_event_inode_revalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 0\n"
           "node_mountstats_nfs_event_dnode_revalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 1\n"
           "node_mountstats_nfs_event_data_invalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 2\n"
           "node_mountstats_nfs_event_attribute_invalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 3\n"
           "node_mountstats_nfs_event_vfs_open_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 4\n"
           "node_mountstats_nfs_event_vfs_lookup_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 5\n"
           "node_mountstats_nfs_event_vfs_access_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 6\n"
           "node_mountstats_nfs_event_vfs_update_page_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 7\n"
           "node_mountstats_nfs_event_vfs_read_page_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 8\n"
           "node_mountstats_nfs_event_vfs_read_pages_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 9\n"
           "node_mountstats_nfs_event_vfs_write_page_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 10\n"
           "node_mountstats_nfs_event_vfs_write_pages_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 11\n"
           "node_mountstats_nfs_event_vfs_getdents_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 12\n"
           "node_mountstats_nfs_event_vfs_setattr_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 13\n"
           "node_mountstats_nfs_event_vfs_flush_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 14\n"
           "node_mountstats_nfs_event_vfs_fsync_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 15\n"
           "node_mountstats_nfs_event_vfs_lock_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 16\n"
           "node_mountstats_nfs_event_vfs_file_release_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 17\n"
           "node_mountstats_nfs_event_truncation_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 19\n"
           "node_mountstats_nfs_event_write_extension_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 20\n"
           "node_mountstats_nfs_event_silly_rename_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 21\n"
           "node_mountstats_nfs_event_short_read_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 22\n"
           "node_mountstats_nfs_event_short_write_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 23\n"
           "node_mountstats_nfs_event_jukebox_delay_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 24\n"
           "node_mountstats_nfs_event_pnfs_read_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 25\n"
           "node_mountstats_nfs_event_pnfs_write_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 26\n"
           "node_mountstats_nfs_read_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 1\n"
           "node_mountstats_nfs_write_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 2\n"
           "node_mountstats_nfs_direct_read_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 3\n"
           "node_mountstats_nfs_direct_write_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 4\n"
           "node_mountstats_nfs_total_read_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 5\n"
           "node_mountstats_nfs_total_write_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 6\n"
           "node_mountstats_nfs_read_pages_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 7\n"
           "node_mountstats_nfs_write_pages_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 8\n"
           "node_mountstats_nfs_transport_bind_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 0\n"
           "node_mountstats_nfs_transport_connect_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 1\n"
           "node_mountstats_nfs_transport_idle_time_seconds{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 11\n"
           "node_mountstats_nfs_transport_sends_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 9062\n"
           "node_mountstats_nfs_transport_receives_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 9062\n"
           "node_mountstats_nfs_transport_bad_transaction_ids_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 7\n"
           "node_mountstats_nfs_transport_backlog_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 0\n"
           "node_mountstats_nfs_transport_maximum_rpc_slots{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 24\n"
           "node_mountstats_nfs_transport_sending_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 26\n"
           "node_mountstats_nfs_transport_pending_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 9041\n"
           "node_mountstats_nfs_operations_requests_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 1151\n"
           "node_mountstats_nfs_operations_transmissions_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 1151\n"
           "node_mountstats_nfs_operations_major_timeouts_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 0\n"
           "node_mountstats_nfs_operations_sent_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 230360\n"
           "node_mountstats_nfs_operations_received_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 1529627349\n"
           "node_mountstats_nfs_operations_queue_time_seconds_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 0.006\n"
           "node_mountstats_nfs_operations_response_time_seconds_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 74.295\n"
           "node_mountstats_nfs_operations_request_time_seconds_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 25.735\n",
           ""},
          {"udp",
           {{"proc/self/mountinfo",
             "16 21 0:16 / /sys rw - sysfs sysfs rw\n"
             "158 21 0:42 / /mnt/nfs rw shared:138 - nfs4 10.0.0.1:/srv "
             "rw,vers=4.0,addr=10.0.0.1,local_lock=none\n"
             "181 21 0:42 / /mnt/dup rw shared:138 - nfs4 10.0.0.1:/srv rw,addr=10.0.0.1\n"},
            {"proc/self/mountstats",
             "device sysfs mounted on /sys with fstype sysfs\n"
             "device 10.0.0.1:/srv mounted on /mnt/nfs with fstype nfs4 statvers=1.1\n"
             "\topts:\trw\n"
             "\tage:\t15105\n"
             "\tevents:\t0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26\n"
             "\tbytes:\t1 2 3 4 5 6 7 8\n"
             "\tRPC iostats version: 1.0  p/v: 100003/4 (nfs)\n"
             "\txprt:\tudp 386 1 2 3 4 5 6 7 8 9\n"
             "\tper-op statistics\n"
             "\n"}},
           "node_mountstats_nfs_mountpoint_info{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",mountpoint=\"/"
           "mnt/nfs\",protocol=\"udp\"} 1\n"
           "node_mountstats_nfs_age_seconds_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 15105\n"
           "node_mountstats_nfs_event_inode_revalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 0\n"
           "node_mountstats_nfs_event_dnode_revalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 1\n"
           "node_mountstats_nfs_event_data_invalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 2\n"
           "node_mountstats_nfs_event_attribute_invalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 3\n"
           "node_mountstats_nfs_event_vfs_open_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 4\n"
           "node_mountstats_nfs_event_vfs_lookup_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 5\n"
           "node_mountstats_nfs_event_vfs_access_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 6\n"
           "node_mountstats_nfs_event_vfs_update_page_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 7\n"
           "node_mountstats_nfs_event_vfs_read_page_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 8\n"
           "node_mountstats_nfs_event_vfs_read_pages_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 9\n"
           "node_mountstats_nfs_event_vfs_write_page_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 10\n"
           "node_mountstats_nfs_event_vfs_write_pages_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 11\n"
           "node_mountstats_nfs_event_vfs_getdents_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 12\n"
           "node_mountstats_nfs_event_vfs_setattr_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 13\n"
           "node_mountstats_nfs_event_vfs_flush_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 14\n"
           "node_mountstats_nfs_event_vfs_fsync_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 15\n"
           "node_mountstats_nfs_event_vfs_lock_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 16\n"
           "node_mountstats_nfs_event_vfs_file_release_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 17\n"
           "node_mountstats_nfs_event_truncation_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 19\n"
           "node_mountstats_nfs_event_write_extension_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 20\n"
           "node_mountstats_nfs_event_silly_rename_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 21\n"
           "node_mountstats_nfs_event_short_read_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 22\n"
           "node_mountstats_nfs_event_short_write_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 23\n"
           "node_mountstats_nfs_event_jukebox_delay_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 24\n"
           "node_mountstats_nfs_event_pnfs_read_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 25\n"
           "node_mountstats_nfs_event_pnfs_write_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 26\n"
           "node_mountstats_nfs_read_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 1\n"
           "node_mountstats_nfs_write_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 2\n"
           "node_mountstats_nfs_direct_read_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 3\n"
           "node_mountstats_nfs_direct_write_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 4\n"
           "node_mountstats_nfs_total_read_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 5\n"
           "node_mountstats_nfs_total_write_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 6\n"
           "node_mountstats_nfs_read_pages_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 7\n"
           "node_mountstats_nfs_write_pages_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\"} 8\n"
           "node_mountstats_nfs_transport_bind_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\",transport=\"0\"} 1\n"
           "node_mountstats_nfs_transport_connect_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\",transport=\"0\"} 0\n"
           "node_mountstats_nfs_transport_idle_time_seconds{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\",transport=\"0\"} 0\n"
           "node_mountstats_nfs_transport_sends_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\",transport=\"0\"} 2\n"
           "node_mountstats_nfs_transport_receives_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\",transport=\"0\"} 3\n"
           "node_mountstats_nfs_transport_bad_transaction_ids_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\",transport=\"0\"} 4\n"
           "node_mountstats_nfs_transport_backlog_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\",transport=\"0\"} 6\n"
           "node_mountstats_nfs_transport_maximum_rpc_slots{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\",transport=\"0\"} 7\n"
           "node_mountstats_nfs_transport_sending_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\",transport=\"0\"} 8\n"
           "node_mountstats_nfs_transport_pending_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"udp\",transport=\"0\"} 9\n",
           ""},
          {"no NFS",
           {{"proc/self/mountinfo",
             "16 21 0:16 / /sys rw - sysfs sysfs rw\n"
             "158 21 0:42 / /mnt/nfs rw shared:138 - nfs4 10.0.0.1:/srv "
             "rw,vers=4.0,addr=10.0.0.1,local_lock=none\n"
             "181 21 0:42 / /mnt/dup rw shared:138 - nfs4 10.0.0.1:/srv rw,addr=10.0.0.1\n"},
            {"proc/self/mountstats", "device sysfs mounted on /sys with fstype sysfs\n"}},
           "",
           ""},
          {"torn events",
           {{"proc/self/mountinfo",
             "16 21 0:16 / /sys rw - sysfs sysfs rw\n"
             "158 21 0:42 / /mnt/nfs rw shared:138 - nfs4 10.0.0.1:/srv "
             "rw,vers=4.0,addr=10.0.0.1,local_lock=none\n"
             "181 21 0:42 / /mnt/dup rw shared:138 - nfs4 10.0.0.1:/srv rw,addr=10.0.0.1\n"},
            {"proc/self/mountstats",
             "device sysfs mounted on /sys with fstype sysfs\n"
             "device 10.0.0.1:/srv mounted on /mnt/nfs with fstype nfs4 statvers=1.1\n"
             "\topts:\trw\n"
             "\tage:\t15105\n"
             "\tevents:\t0 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26\n"
             "\tbytes:\t1 2 3 4 5 6 7 8\n"
             "\tRPC iostats version: 1.0  p/v: 100003/4 (nfs)\n"
             "\txprt:\ttcp 386 0 1 0 11 9062 9062 7 14242 0 24 26 9041\n"
             "\tper-op statistics\n"
             "\t        READ: 1151 1151 0 230360 1529627349 6 74295 25735\n"
             "\n"}},
           "node_mountstats_nfs_mountpoint_info{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",mountpoint=\"/mnt/"
           "nfs\",protocol=\"tcp\"} 1\n"
           "node_mountstats_nfs_age_seconds_total{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} "
           "15105\n"
           "node_mountstats_nfs_read_bytes_total{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 1\n"
           "node_mountstats_nfs_write_bytes_total{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 2\n"
           "node_mountstats_nfs_direct_read_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 3\n"
           "node_mountstats_nfs_direct_write_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 4\n"
           "node_mountstats_nfs_total_read_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 5\n"
           "node_mountstats_nfs_total_write_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 6\n"
           "node_mountstats_nfs_read_pages_total{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 7\n"
           "node_mountstats_nfs_write_pages_total{export=\"10.0.0.1:/srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\"} 8\n"
           "node_mountstats_nfs_transport_bind_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 0\n"
           "node_mountstats_nfs_transport_connect_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 1\n"
           "node_mountstats_nfs_transport_idle_time_seconds{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 11\n"
           "node_mountstats_nfs_transport_sends_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 9062\n"
           "node_mountstats_nfs_transport_receives_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 9062\n"
           "node_mountstats_nfs_transport_bad_transaction_ids_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 7\n"
           "node_mountstats_nfs_transport_backlog_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 0\n"
           "node_mountstats_nfs_transport_maximum_rpc_slots{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 24\n"
           "node_mountstats_nfs_transport_sending_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 26\n"
           "node_mountstats_nfs_transport_pending_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",protocol=\"tcp\",transport=\"0\"} 9041\n"
           "node_mountstats_nfs_operations_requests_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 1151\n"
           "node_mountstats_nfs_operations_transmissions_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 1151\n"
           "node_mountstats_nfs_operations_major_timeouts_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 0\n"
           "node_mountstats_nfs_operations_sent_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 230360\n"
           "node_mountstats_nfs_operations_received_bytes_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 1529627349\n"
           "node_mountstats_nfs_operations_queue_time_seconds_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 0.006\n"
           "node_mountstats_nfs_operations_response_time_seconds_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 74.295\n"
           "node_mountstats_nfs_operations_request_time_seconds_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"10.0.0.1\",operation=\"READ\",protocol=\"tcp\"} 25.735\n",
           "malformed: /proc/self/mountstats: 'events:\t0 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 "
           "25 26': 27 numbers expected"},
          {"torn operation",
           {{"proc/self/mountinfo", ""},
            {"proc/self/mountstats",
             "device 10.0.0.1:/srv mounted on /mnt/nfs with fstype nfs4 statvers=1.1\n"
             "\topts:\trw\n"
             "\tage:\t15105\n"
             "\tevents:\t0 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20 21 22 23 24 25 26\n"
             "\tbytes:\t1 2 3 4 5 6 7 8\n"
             "\tRPC iostats version: 1.0  p/v: 100003/4 (nfs)\n"
             "\txprt:\ttcp 386 0 1 0 11 9062 9062 7 14242 0 24 26 9041\n"
             "\tper-op statistics\n"
             "\tREAD: 1 2 3\n"
             "\n"}},
           "node_mountstats_nfs_mountpoint_info{export=\"10.0.0.1:/srv\",mountaddr=\"\",mountpoint=\"/mnt/"
           "nfs\",protocol=\"tcp\"} 1\n"
           "node_mountstats_nfs_age_seconds_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 15105\n"
           "node_mountstats_nfs_event_inode_revalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\"} 0\n"
           "node_mountstats_nfs_event_dnode_revalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\"} 1\n"
           "node_mountstats_nfs_event_data_invalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\"} 2\n"
           "node_mountstats_nfs_event_attribute_invalidate_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\"} 3\n"
           "node_mountstats_nfs_event_vfs_open_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 4\n"
           "node_mountstats_nfs_event_vfs_lookup_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 5\n"
           "node_mountstats_nfs_event_vfs_access_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 6\n"
           "node_mountstats_nfs_event_vfs_update_page_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\"} 7\n"
           "node_mountstats_nfs_event_vfs_read_page_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "8\n"
           "node_mountstats_nfs_event_vfs_read_pages_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\"} 9\n"
           "node_mountstats_nfs_event_vfs_write_page_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\"} 10\n"
           "node_mountstats_nfs_event_vfs_write_pages_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\"} 11\n"
           "node_mountstats_nfs_event_vfs_getdents_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "12\n"
           "node_mountstats_nfs_event_vfs_setattr_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "13\n"
           "node_mountstats_nfs_event_vfs_flush_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 14\n"
           "node_mountstats_nfs_event_vfs_fsync_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 15\n"
           "node_mountstats_nfs_event_vfs_lock_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 16\n"
           "node_mountstats_nfs_event_vfs_file_release_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\"} 17\n"
           "node_mountstats_nfs_event_truncation_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "19\n"
           "node_mountstats_nfs_event_write_extension_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\"} 20\n"
           "node_mountstats_nfs_event_silly_rename_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "21\n"
           "node_mountstats_nfs_event_short_read_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "22\n"
           "node_mountstats_nfs_event_short_write_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "23\n"
           "node_mountstats_nfs_event_jukebox_delay_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "24\n"
           "node_mountstats_nfs_event_pnfs_read_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 25\n"
           "node_mountstats_nfs_event_pnfs_write_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "26\n"
           "node_mountstats_nfs_read_bytes_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 1\n"
           "node_mountstats_nfs_write_bytes_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 2\n"
           "node_mountstats_nfs_direct_read_bytes_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "3\n"
           "node_mountstats_nfs_direct_write_bytes_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "4\n"
           "node_mountstats_nfs_total_read_bytes_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 5\n"
           "node_mountstats_nfs_total_write_bytes_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} "
           "6\n"
           "node_mountstats_nfs_read_pages_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 7\n"
           "node_mountstats_nfs_write_pages_total{export=\"10.0.0.1:/srv\",mountaddr=\"\",protocol=\"tcp\"} 8\n"
           "node_mountstats_nfs_transport_bind_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\",transport=\"0\"} 0\n"
           "node_mountstats_nfs_transport_connect_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\",transport=\"0\"} 1\n"
           "node_mountstats_nfs_transport_idle_time_seconds{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\",transport=\"0\"} 11\n"
           "node_mountstats_nfs_transport_sends_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\",transport=\"0\"} 9062\n"
           "node_mountstats_nfs_transport_receives_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\",transport=\"0\"} 9062\n"
           "node_mountstats_nfs_transport_bad_transaction_ids_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\",transport=\"0\"} 7\n"
           "node_mountstats_nfs_transport_backlog_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\",transport=\"0\"} 0\n"
           "node_mountstats_nfs_transport_maximum_rpc_slots{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\",transport=\"0\"} 24\n"
           "node_mountstats_nfs_transport_sending_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\",transport=\"0\"} 26\n"
           "node_mountstats_nfs_transport_pending_queue_total{export=\"10.0.0.1:/"
           "srv\",mountaddr=\"\",protocol=\"tcp\",transport=\"0\"} 9041\n",
           "malformed: /proc/self/mountstats: 'READ: 1 2 3': eight numbers expected"},
          {"torn device",
           {{"proc/self/mountinfo", ""}, {"proc/self/mountstats", "device x mounted on\n"}},
           "",
           "malformed: /proc/self/mountstats: 'device x mounted on': 'device D mounted on M with fstype T' expected"},
          {"no mountstats",
           {{"proc/self/mountinfo", ""}},
           "",
           "gone: /proc/self/mountstats: No such file or directory (ENOENT)"},
          {"no files", {}, "", "gone: /proc/self/mountstats: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
