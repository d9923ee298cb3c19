#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's node_exporter beside vitald on this very host: no series of the covered collectors is missing."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import free_port, metrics, need, running, vitald  # noqa: E402

PROGRAM = "prometheus-node-exporter"
need(PROGRAM)

COLLECTORS = ("cpu stat meminfo vmstat loadavg pressure diskstats filesystem netdev uname time textfile hwmon rapl "
              "powersupplyclass thermal_zone").split()
FLAGS = ["--collector.disable-defaults", *(f"--collector.{c}" for c in COLLECTORS)]
# What is otherwise on purpose: (family, label, why). 1.5.0 is Debian 12's; vitald follows 1.12.
CHANGED = [
    ("node_disk_info", None, "1.6 added the label rotational"),
    ("node_disk_", "zram", "1.8 leaves zram out: ^(z?ram|loop|...) is the default of --collector.diskstats.device-exclude"),
    ("node_exporter_build_info", None, "vitald says vitald_build_info"),
    ("promhttp_metric_handler_errors_total", None, "of the exporter's own HTTP handler"),
    ("node_scrape_collector_success", "powersupplyclass", "without a power supply vitald says that it has no data"),
    ("node_scrape_collector_success", "thermal_zone", "without a thermal zone vitald says that it has no data"),
]


def changed(key):
    name, labels = key
    return any(name.startswith(family) and (word is None or any(word in value for _, value in labels))
               for family, word, _ in CHANGED)


# What moves between two scrapes by more than a few percent.
RESTLESS = ("node_disk_", "node_network_", "node_vmstat_", "node_pressure_", "node_load", "node_procs_", "node_memory_",
            "node_context_switches", "node_intr", "node_forks", "node_cpu_seconds", "node_time_seconds",
            "node_filesystem_", "node_scrape_collector_duration", "node_textfile_mtime")

port = free_port()
theirs_url = f"http://127.0.0.1:{port}"
with running([PROGRAM, f"--web.listen-address=127.0.0.1:{port}", "--web.disable-exporter-metrics", *FLAGS],
             theirs_url + "/metrics"), \
        vitald(*FLAGS, "--web.max-age=0") as (_, ours_url):
    types, theirs = metrics(theirs_url)
    our_types, ours = metrics(ours_url)

# 1.8 added the label device_error. It says something where a mount of process 1 is not to be seen: in a chroot.
ours = {(name, tuple(label for label in labels if label[0] != "device_error")): value
        for (name, labels), value in ours.items()}

missing, differ = [], []
for key, value in theirs.items():
    if changed(key):
        continue
    if key not in ours:
        missing.append(key)
    elif not key[0].startswith(RESTLESS) and ours[key] != value:
        differ.append((key, value, ours[key]))
for name, kind in types.items():
    if name in our_types and our_types[name] != kind:
        differ.append((name, kind, our_types[name]))

print(f"{len(theirs)} series of node_exporter, {len(missing)} missing, {len(differ)} different; vitald has {len(ours)}")
for row in missing:
    print("missing", row)
for row in differ:
    print("differs", row)
sys.exit(1 if missing or differ else 0)
