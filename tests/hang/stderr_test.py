#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Standard error is a full pipe that nobody reads: scrapes, rules, reloads and SIGTERM go on, and what was dropped is
counted, and told once somebody reads again."""

import concurrent.futures
import fcntl
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, answers, free_port, get, metrics, patience, wait_for  # noqa: E402

REQUESTS, RELOADS = 4000, 300
# A field case asks for 60 s; what matters is that the queue (256 KiB) is full many times over.
DROPPED = ("vitald_log_dropped_total", ())
CYCLES = ("vitald_cycles_total", ())


def main():
    with tempfile.TemporaryDirectory() as name:
        config, rules = pathlib.Path(name, "vitald.yaml"), pathlib.Path(name, "rules.yaml")
        config.write_text("")
        # Fires and resolves all the time: each transition is a log line.
        rules.write_text("groups: [{name: g, rules: [{alert: Flips, expr: vitald_cycles_total % 2 == 1}]}]\n")
        for freed in (True, False):
            run(config, rules, freed)
            config.write_text("")


def run(config, rules, freed):
    reader, writer = os.pipe()
    fcntl.fcntl(writer, fcntl.F_SETPIPE_SZ, 4096)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    process = subprocess.Popen([VITALD, f"--web.listen-address=127.0.0.1:{port}", f"--config.file={config}",
                                f"--rules.file={rules}", "--pipeline.interval=100ms"],
                               stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=writer)
    os.close(writer)
    try:
        wait_for("an answer", 20, lambda: answers(url + "/-/ready"))
        before = metrics(url)[1]
        assert before[DROPPED] == 0, before[DROPPED]
        # Each of them is hundreds of lines of complaint.
        config.write_text("".join(f"unknown_key_number_{i}: a value that is somewhat longer\n" for i in range(400)))

        def scrape(_):
            began = time.monotonic()
            assert get(url + "/metrics")[0] == 200
            return time.monotonic() - began

        began = time.monotonic()
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            took = pool.map(scrape, range(REQUESTS))
            for _ in range(RELOADS):
                os.kill(process.pid, signal.SIGHUP)
                time.sleep(0.01)
            slowest = max(took)

        def dropped():
            os.kill(process.pid, signal.SIGHUP)
            return metrics(url)[1][DROPPED] > 0

        wait_for("lines that are dropped", 30, dropped)
        after = metrics(url)[1]
        cycles = after[CYCLES] - before[CYCLES]
        assert slowest < patience(2), slowest
        wait_for("rules to go on", 5, lambda: metrics(url)[1][CYCLES] > after[CYCLES])
        print(f"{REQUESTS} scrapes and {RELOADS} reloads in {time.monotonic() - began:.1f} s: slowest "
              f"{slowest * 1000:.0f} ms, {cycles:.0f} cycles, {after[DROPPED]:.0f} lines dropped")
        if freed:
            os.set_blocking(reader, False)
            text = b""

            def told():
                nonlocal text
                try:
                    while chunk := os.read(reader, 65536):
                        text += chunk
                except BlockingIOError:
                    pass
                return b"log lines were dropped" in text

            wait_for("the lines, and how many are missing", 10, told)
            assert text.endswith(b"\n"), text[-200:]
            for line in text.splitlines():
                whole = line.startswith((b"time=20", b"vitald ", b"  "))  # log lines and the report
                assert whole, line
        process.send_signal(signal.SIGTERM)
        began = time.monotonic()
        assert process.wait(5) == 0
        ended = time.monotonic() - began
        assert ended < patience(2), ended
        print(f"SIGTERM with standard error {'free' if freed else 'blocked'}: {ended * 1000:.0f} ms")
    finally:
        process.kill()
        process.wait()
        os.close(reader)


main()
