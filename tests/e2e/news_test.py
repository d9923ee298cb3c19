#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From what the kernel announces to the start of a hook, though the rules' next turn is far away: an OOM kill, and tasks
that wait for a CPU."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import skip, vitald, wait_for  # noqa: E402

KILLS = int(os.environ.get("VITALD_TEST_KILLS", "12"))

# Each kill is an alert of its own. A minute between turns: who hears of it earlier was not told by a timer.
RULES = """
groups:
  - name: announced
    rules:
      - {alert: Killed, expr: 'count_values("kills", sum(vitald_owner_oom_kills_total))'}
      - {record: waited, expr: 'rate(node_pressure_cpu_waiting_seconds_total[30s])'}
  - name: reads what it records
    rules:
      - {alert: Waiting, expr: waited > 0.3}
  - name: not announced
    rules:
      - {record: rounds, expr: vitald_snapshot_timestamp_seconds}
"""


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(len(values) * p))]


def memory_cgroup():
    for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines():
        _, controllers, path = line.split(":", 2)
        top = "/sys/fs/cgroup/memory" if "memory" in controllers.split(",") else "/sys/fs/cgroup" if controllers == "" else None
        folder = pathlib.Path(f"{top}{path.rstrip('/')}/vitald-news-{os.getpid()}")
        limit = "memory.limit_in_bytes" if controllers else "memory.max"
        if not top:
            continue
        try:
            folder.mkdir()
        except OSError:
            continue
        if (folder / limit).exists():
            (folder / limit).write_text(str(16 << 20))
            return folder
        folder.rmdir()
    return None


def kill_one(folder):
    """A process that asks for more than there is; when it was dead, in ns since the epoch."""
    eats = "import mmap\nm = mmap.mmap(-1, 64 << 20)\nm.write(b'x' * (64 << 20))"
    child = subprocess.Popen([sys.executable, "-c", eats], stderr=subprocess.DEVNULL,
                             preexec_fn=lambda: (folder / "cgroup.procs").write_text(str(os.getpid())))
    status = child.wait(20)
    now = time.time_ns()
    assert status == -signal.SIGKILL, status
    return now


with tempfile.TemporaryDirectory() as top:
    heard = pathlib.Path(top, "heard")
    heard.touch()
    os.chmod(top, 0o755)
    heard.chmod(0o666)  # hooks are nobody
    hook = pathlib.Path(top, "hook")
    hook.write_text(f"#!/bin/sh\n[ $VITALD_ALERT_STATUS = firing ] && echo $(date +%s%N) $VITALD_ALERT_NAME >>{heard}\nexit 0\n")
    hook.chmod(0o755)
    pathlib.Path(top, "rules.yaml").write_text(RULES)
    pathlib.Path(top, "vitald.yaml").write_text(f"notify: {{commands: [{{name: hook, command: [{hook}]}}]}}\n")

    def times(alert):
        return [int(t) for t, name in (line.split() for line in heard.read_text().splitlines()) if name == alert]

    if os.geteuid() != 0:
        skip("needs root: BPF and a cgroup")
    group = memory_cgroup()
    if not group:
        skip("no memory cgroup can be made here")
    try:
        with vitald(f"--rules.file={top}/rules.yaml", f"--config.file={top}/vitald.yaml", "--pipeline.interval=60s",
                    "--probe.oom_kills", "--collector.pressure.cpu-news=200ms") as (process, url):
            latencies = []
            for n in range(KILLS):
                known = len(times("Killed"))
                died = kill_one(group)
                wait_for("the hook of an OOM kill", 30, lambda: len(times("Killed")) > known, 0.005)
                latencies.append((times("Killed")[known] - died) / 1e6)
                time.sleep(0.2)
            print(f"{KILLS} OOM kills, from the death to the hook: median {percentile(latencies, .5):.0f} ms, "
                  f"p99 {percentile(latencies, .99):.0f} ms")
            assert percentile(latencies, .5) < 1000, latencies  # a busy machine; the figures are above

            hogs = [subprocess.Popen(["sh", "-c", "while :; do :; done"]) for _ in range(3 * os.cpu_count())]
            try:
                wait_for("the hook of tasks that wait", 40, lambda: times("Waiting"), 0.05)
            finally:
                for hog in hogs:
                    hog.kill()
                    hog.wait()
    finally:
        wait_for("an empty cgroup", 5, lambda: not (group / "cgroup.procs").read_text())
        group.rmdir()
