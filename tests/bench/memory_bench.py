#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Where resident memory goes: the kernel's own account of each mapping (/proc/PID/smaps), by what it is.

As users run it: all probes, the shipped rules, a state folder; after 60 scrapes and as many rounds of the rules. With
--without-probes and --without-rules what each of them takes. A page of the binary or of a library is there with those
beside it that the page cache has: where a file lies in large folios (it was copied at one go to a file system that has
them) more of it counts than is used.
"""

import argparse
import collections
import glob
import os
import pathlib
import re
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, VITALD, free_port, probes, running, wait_for_probes  # noqa: E402
from measure import Exporter, goal  # noqa: E402

STACK_KIB = 8192  # of a thread, where nothing else is asked for
SETTLED_S = 12    # what starting needed is given back after ten seconds

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--scrapes", type=int, default=60)
parser.add_argument("--without-probes", action="store_true")
parser.add_argument("--without-rules", action="store_true")
arguments = parser.parse_args()


def mappings(pid):
    """[(path, access, KiB of the mapping, KiB resident, KiB of those that are our own)]"""
    rows = []
    for line in pathlib.Path(f"/proc/{pid}/smaps").read_text().splitlines():
        if found := re.match(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \d+\s*(.*)", line):
            begin, end, access, path = found.groups()
            rows.append([path, access, (int(end, 16) - int(begin, 16)) >> 10, 0, 0])
        elif line.startswith("Rss:"):
            rows[-1][3] = int(line.split()[1])
        elif line.startswith("Anonymous:"):
            rows[-1][4] = int(line.split()[1])
    return rows


def kind(path, access, size, own):
    file = "library" if ".so" in path else "binary" if os.path.basename(path) == os.path.basename(VITALD) else ""
    if file:
        part = "code" if "x" in access else "data" if "w" in access else "addresses, relocated" if own else "constants"
        return f"{file}: {part}"
    if "bpf-map" in path:
        return "maps of probes"
    if path in ("", "[heap]"):
        return "stacks" if size == STACK_KIB else "heap"
    return "stacks" if path == "[stack]" else "other files"


url = f"http://127.0.0.1:{free_port()}"
with tempfile.TemporaryDirectory() as state:
    command = [VITALD, f"--web.listen-address={url.removeprefix('http://')}", f"--state.directory={state}", "--web.max-age=0",
               "--pipeline.interval=1s", "--no-evidence.last-words"]
    if arguments.without_probes:
        command += [f"--no-probe.{name}" for name in probes()]
    if not arguments.without_rules:
        command += [f"--rules.file={file}" for file in sorted(glob.glob(f"{TOP}/deploy/rules/*.yaml"))]
    with running(command, url + "/metrics") as process:
        wait_for_probes(process, url)
        time.sleep(SETTLED_S)
        exporter = Exporter(process.pid, url)
        for _ in range(arguments.scrapes):
            exporter.one("gzip")
            time.sleep(0.5)
        sums = collections.defaultdict(lambda: [0, 0])
        for path, access, size, resident, own in mappings(process.pid):
            row = sums[kind(path, access, size, own)]
            row[0] += resident
            row[1] += own
        total = exporter.rss_kib()
        highest = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{process.pid}/status").read_text())[1])

print(f"{'KiB':32} resident   its own")
for name, (resident, own) in sorted(sums.items(), key=lambda item: -item[1][0]):
    if resident:
        print(f"{name:32} {resident:8} {own:9}")
print(f"{'all':32} {total:8} {sum(own for _, own in sums.values()):9}   at most since the start {highest}\n")
goal("RSS MiB", total / 1024, 6 if arguments.without_rules else 8)
