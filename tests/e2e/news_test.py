#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""From what the kernel announces to the start of a hook, though the rules' next turn is far away: an OOM kill, a task that
hangs, a disk that fails, and tasks that wait for a CPU."""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import get_json, metrics, skip, vitald, wait_for  # noqa: E402

KILLS = int(os.environ.get("VITALD_TEST_KILLS", "12"))
LINES = int(os.environ.get("VITALD_TEST_LINES", "12"))

# Each kill is an alert of its own. A minute between turns: who hears of it earlier was not told by a timer.
RULES = """
groups:
  - name: announced
    rules:
      - {alert: Killed, expr: 'count_values("kills", sum(vitald_owner_oom_kills_total))'}
      - {record: waited, expr: 'rate(node_pressure_cpu_waiting_seconds_total[30s])'}
  - name: the kernel's log
    rules:
      - {alert: Hung, expr: 'count_values("lines", vitald_kernel_log_news_total{kind="hung_task"} > 0)'}
      - {alert: DiskFails, expr: 'vitald_kernel_log_disk_errors_total{device=~"loop.*"} > 0'}
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


def lines_of_the_log(url, hooks):
    """The kernel's words, though written by us: when they were written, until the hook that hears of each."""
    try:
        log = open("/dev/kmsg", "w")
    except OSError as e:
        print(f"no line can be written to the kernel's log: {e}")
        return
    latencies = []
    comm = f"vitald t{os.getpid()}"  # another run may write, too, and a task may hang
    assert len(comm) <= 15
    with log:
        for n in range(LINES):
            known = len(hooks("Hung"))
            log.write(f"<3>INFO: task {comm}:{n + 1} blocked for more than 122 seconds.\n")
            log.flush()
            said = time.time_ns()
            wait_for("the hook of a task that hangs", 30, lambda: len(hooks("Hung")) > known, 0.005)
            latencies.append((hooks("Hung")[known] - said) / 1e6)
            time.sleep(1.1)  # of many in a row only so many bring a cycle of their own
    print(f"{LINES} lines of the kernel's log, from the line to the hook: median {percentile(latencies, .5):.0f} ms, "
          f"p99 {percentile(latencies, .99):.0f} ms")
    assert percentile(latencies, .5) < 1000, latencies
    events = [e for e in get_json(f"{url}/api/v1/events?limit=1000")["data"]["events"]
              if e["type"] == "hung_task" and e["fields"]["comm"] == comm]
    assert len(events) == LINES, events
    fields = events[0]["fields"]
    assert (fields["comm"], fields["pid"], fields["said_by"]) == (comm, "1", "program"), events[0]


def disk_that_fails(folder, hooks):
    """A loop device whose file is cut: reading beyond is an error of the device, which the kernel's log has."""
    image = pathlib.Path(folder, "disk")
    image.write_bytes(bytes(1 << 20))
    made = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True)
    if made.returncode != 0:
        print(f"no loop device can be made: {made.stderr.strip()}")
        return
    device = made.stdout.strip()
    try:
        os.truncate(image, 4096)
        began = time.time_ns()
        read = subprocess.run(["dd", f"if={device}", "of=/dev/null", "bs=4096", "skip=16", "count=1", "iflag=direct"],
                              capture_output=True)
        assert read.returncode != 0, "a disk that has lost its data was read"
        wait_for("the hook of a disk that fails", 30, lambda: hooks("DiskFails"), 0.005)
        print(f"an error of {device}, from the read to the hook: {(hooks('DiskFails')[0] - began) / 1e6:.0f} ms")
    finally:
        subprocess.run(["losetup", "--detach", device], check=True)


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

            if os.access("/dev/kmsg", os.R_OK):
                # From 0 on, so that the first error is a growth.
                counts = metrics(url)[1]
                for disk in os.listdir("/sys/block"):
                    key = ("vitald_kernel_log_disk_errors_total", (("device", disk),))
                    assert (counts.get(key) == 0) == (not re.fullmatch(r"(fd|loop|ram|sr|zram)\d+", disk)), (disk, counts.get(key))
                lines_of_the_log(url, times)
                disk_that_fails(top, times)
            else:
                print("the kernel's log cannot be read here")

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
