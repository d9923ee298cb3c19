#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""errors_guest.py VITALD, inside the lab's virtual machine: errors of the hardware that are injected end as events, as alerts of
the shipped rules and as hooks that run: a machine check that was corrected, and pages of memory that are lost."""

import ctypes
import json
import mmap
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

from guest_harness import bad, check, of, scrape, started, wait_for

VITALD = sys.argv[1]
RULES = pathlib.Path(sys.argv[2])
PORT = 9118
INJECT = pathlib.Path("/sys/kernel/debug/mce-inject")
MADV_HWPOISON = 100


def ask(path):
    with urllib.request.urlopen(f"http://127.0.0.1:{PORT}{path}", timeout=60) as answer:
        return json.loads(answer.read())


def firing():
    return {a["labels"]["alertname"] for a in ask("/api/v1/alerts")["data"]["alerts"] if a["state"] == "firing"}


def hooks(log):
    return set(log.read_text().split()) if log.exists() else set()


def a_machine_check():
    """As mce-inject(8) does: what a bank says is put into the kernel's hands as if the processor had told it."""
    subprocess.run(["modprobe", "mce-inject"], check=True)
    if not INJECT.exists():
        subprocess.run(["mount", "-t", "debugfs", "debugfs", "/sys/kernel/debug"], check=True)
    for name, value in (("cpu", "0"), ("flags", "sw"), ("status", "0x9c00000000010090"), ("addr", "0x12345000"), ("bank", "4")):
        (INJECT / name).write_text(value + "\n")  # the bank's number injects; the last character is cut off


def a_lost_page():
    """Of a program that has not even touched it since: it is told by the kernel, and the page is given up."""
    child = os.fork()
    if child == 0:
        page = mmap.mmap(-1, mmap.PAGESIZE)
        page[:] = b"x" * mmap.PAGESIZE
        address = ctypes.addressof(ctypes.c_char.from_buffer(page))
        libc = ctypes.CDLL(None, use_errno=True)
        failed = libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(mmap.PAGESIZE), MADV_HWPOISON)
        os._exit(ctypes.get_errno() if failed else 0)
    status = os.waitpid(child, 0)[1]
    check(os.WIFEXITED(status) and os.WEXITSTATUS(status) == 0 or os.WIFSIGNALED(status), f"a page is poisoned: status {status:#x}")


with tempfile.TemporaryDirectory() as folder:
    log, hook, config = (pathlib.Path(folder) / name for name in ("log", "hook", "vitald.yaml"))
    hook.write_text(f'#!/bin/sh\necho "$VITALD_ALERT_NAME" >>{log}\n')
    hook.chmod(0o755)
    config.write_text(f"notify: {{commands: [{{name: told, command: [{hook}], user: root}}]}}\n")
    with started(VITALD, f"--config.file={config}", f"--web.listen-address=127.0.0.1:{PORT}", f"--state.directory={folder}",
                 "--collector.disable-defaults", "--collector.kernel_log", "--collector.meminfo", f"--rules.file={RULES}",
                 "--pipeline.interval=5s"):
        quiet = wait_for("the kernel's log is read", 120, lambda: (s := scrape(PORT)) and of(
            s, "vitald_kernel_log_news_total", kind="machine_check") is not None and s)
        check(bool(quiet) and of(quiet, "vitald_kernel_log_news_total", kind="memory_failure") == 0 and not firing(),
              "nothing has happened, and nothing fires")
        time.sleep(12)  # two turns of the rules: what grows, grows from 0
        a_machine_check()
        check(bool(wait_for("HostMachineCheck", 60, lambda: "HostMachineCheck" in firing())),
              "a corrected machine check of bank 4 is the alert HostMachineCheck")
        a_lost_page()
        check(bool(wait_for("HostMemoryLost", 60, lambda: {"HostMemoryLost", "HostMemoryOutOfUse"} <= firing())),
              "a page that is lost is the alerts HostMemoryLost and HostMemoryOutOfUse")
        found = scrape(PORT)
        check(of(found, "node_memory_HardwareCorrupted_bytes") == mmap.PAGESIZE,
              f"node_memory_HardwareCorrupted_bytes is {of(found, 'node_memory_HardwareCorrupted_bytes')}")
        events = {e["type"]: e["text"] for e in ask("/api/v1/events")["data"]["events"]}
        for kind in ("machine_check", "memory_failure"):
            check(kind in events, f"event {kind}: {events.get(kind)}")
        expected = {"HostMachineCheck", "HostMemoryLost", "HostMemoryOutOfUse"}
        check(bool(wait_for("the hooks", 60, lambda: expected <= hooks(log))), f"the hook ran for {sorted(hooks(log))}")
sys.exit(f"{len(bad)} things are not as they should be" if bad else 0)
