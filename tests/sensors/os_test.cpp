// SPDX-License-Identifier: Apache-2.0
#include "tests/sensors/collector_cases.h"

namespace vitald {

TEST(Os, Cases) {
  check_cases(
      "os",
      {
          {"etc wins",
           {{"root/etc/os-release",
             "PRETTY_NAME=\"Debian GNU/Linux 12 (bookworm)\"\n"
             "NAME=\"Debian GNU/Linux\"\n"
             "VERSION_ID=\"12.5.1\"\n"
             "ID=debian\n"
             "# x\n"
             "VARIANT='a \"b\"'\n"},
            {"root/usr/lib/os-release", "ID=x\n"}},
           "node_os_info{build_id=\"\",id=\"debian\",id_like=\"\",image_id=\"\",image_version=\"\",name=\"Debian "
           "GNU/Linux\",pretty_name=\"Debian GNU/Linux 12 (bookworm)\",variant=\"a "
           "\\\"b\\\"\",variant_id=\"\",version=\"\",version_codename=\"\",version_id=\"12.5.1\"} 1\n"
           "node_os_version{id=\"debian\",id_like=\"\",name=\"Debian GNU/Linux\"} 12.5\n",
           ""},
          {"usr/lib, support end, rolling",
           {{"root/usr/lib/os-release",
             "ID=x\n"
             "SUPPORT_END=2027-05-31\n"
             "VERSION_ID=rolling\n"}},
           "node_os_info{build_id=\"\",id=\"x\",id_like=\"\",image_id=\"\",image_version=\"\",name=\"\",pretty_name="
           "\"\",variant=\"\",variant_id=\"\",version=\"\",version_codename=\"\",version_id=\"rolling\"} 1\n"
           "node_os_support_end_timestamp_seconds 1811721600\n",
           ""},
          {"bad date",
           {{"root/etc/os-release", "SUPPORT_END=soon\n"}},
           "node_os_info{build_id=\"\",id=\"\",id_like=\"\",image_id=\"\",image_version=\"\",name=\"\",pretty_name="
           "\"\",variant=\"\",variant_id=\"\",version=\"\",version_codename=\"\",version_id=\"\"} 1\n",
           "malformed: os-release: 'soon': SUPPORT_END as YYYY-MM-DD expected"},
          {"escapes, no newline",
           {{"root/etc/os-release", "NAME=\"a\\\"b\\$c\""}},
           "node_os_info{build_id=\"\",id=\"\",id_like=\"\",image_id=\"\",image_version=\"\",name=\"a\\\"b$c\",pretty_"
           "name=\"\",variant=\"\",variant_id=\"\",version=\"\",version_codename=\"\",version_id=\"\"} 1\n",
           ""},
          {"with a byte order mark",
           {{"root/etc/os-release", "\xef\xbb\xbfNAME='My OS'\nID=my\n"}},
           "node_os_info{build_id=\"\",id=\"my\",id_like=\"\",image_id=\"\",image_version=\"\",name=\"My OS\",pretty_"
           "name=\"\",variant=\"\",variant_id=\"\",version=\"\",version_codename=\"\",version_id=\"\"} 1\n",
           ""},
          {"empty", {{"root/etc/os-release", ""}}, "", "malformed: /root/etc/os-release: '': lines KEY=value expected"},
          {"no file", {}, "", "absent: /root/usr/lib/os-release: No such file or directory (ENOENT)"},
      });
}

}  // namespace vitald
