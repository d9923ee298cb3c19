#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Remote write while everything goes wrong in turn: the server away, slow, cutting connections, answering 500, 429, 413 and
400, taking a part, vitald killed again and again, the disk full once. What was made has arrived or is counted, in order,
and twice at most what was under way when it was killed.
`--seconds 1800 --kills 20`, or COUNTING_SECONDS and COUNTING_KILLS, run it longer than the suite does."""

import argparse
import contextlib
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import free_port, metrics, vitald, wait_for  # noqa: E402
from push_test import QUIET, config, counted  # noqa: E402
from remote_write import Receiver  # noqa: E402

SERIES = 60
words = argparse.ArgumentParser()
words.add_argument("--seconds", type=float, default=float(os.environ.get("COUNTING_SECONDS", 30)))
words.add_argument("--kills", type=int, default=int(os.environ.get("COUNTING_KILLS", 3)))
words.add_argument("--seed", type=int, default=7)
asked = words.parse_args()
chance = random.Random(asked.seed)


class Server:
    """One receiver after the other on one port; what all of them took is one sum."""

    def __init__(self):
        self.port, self.up = free_port(), None
        self.taken = self.doubles = self.requests = 0
        self.last = {}
        self.problems = []

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/api/v1/write"

    def start(self):
        if self.up:
            return
        self.up = Receiver(port=self.port)
        self.up.series = self.last  # in order over all of them

    def stop(self):
        if not self.up:
            return
        with self.up.lock:
            self.up.answers = ["drop"] * 20  # connections that are there
        self.up.stop()
        time.sleep(0.3)
        with self.up.lock:
            self.taken += self.up.taken
            self.doubles += self.up.doubles
            self.requests += len(self.up.requests)
            self.problems += self.up.problems
            self.last = {k: v[-50:] for k, v in self.up.series.items()}
        self.up = None


def drained(url, seconds=60):
    """Nothing waits: also not what an earlier run has left on the disk."""
    last = {}

    def look():
        last.update(counted(url, "r"))
        return last["waiting"] == 0
    try:
        wait_for("nothing waits", seconds, look)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last}") from error
    return last


FAULTS = ("none", "away", "500", "429", "400", "413", "partial", "cut", "slow")


def fault(server, what):
    """About a second of it."""
    if what == "away":
        server.stop()
        time.sleep(1)
        server.start()
        return
    up = server.up
    with up.lock:
        up.answers = {"500": [500] * 3, "503": [503], "429": [(429, {"Retry-After": "1"})], "400": [400],
                      "partial": [("partial", 20)] * 2,
                      "cut": ["drop"] * 3}.get(what, [])
        up.most_series = 25 if what == "413" else None
        up.delay = 0.3 if what == "slow" else 0
    time.sleep(1)
    with up.lock:
        up.most_series, up.delay = None, 0


@contextlib.contextmanager
def small_disk(folder):
    """A file system of 2 MiB, where that can be had."""
    place = pathlib.Path(folder, "state")
    place.mkdir()
    mounted = os.geteuid() == 0 and subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=2m,mode=755", "tmpfs", str(place)], capture_output=True).returncode == 0
    try:
        yield place, mounted
    finally:
        if mounted:
            subprocess.run(["umount", "-l", str(place)], check=True)


def full_disk(server, flags, state):
    """Memory goes on, and says so; nothing below the bound is lost."""
    server.stop()
    with vitald(*flags) as (_, url):
        wait_for("some wait", 20, lambda: counted(url, "r")["waiting"] >= 3)
        filler = pathlib.Path(state, "filler")
        with contextlib.suppress(OSError), open(filler, "wb") as file:
            while True:
                file.write(b"x" * 4096)
                file.flush()
        failing = ("vitald_delivery_disk_failing", (("data_type", "samples"), ("destination", "r")))
        wait_for("it says so", 30, lambda: metrics(url)[1].get(failing) == 1)
        before = counted(url, "r")
        wait_for("it goes on", 20, lambda: counted(url, "r")["made"] >= before["made"] + 3 * SERIES)
        server.start()
        numbers = drained(url)
        assert numbers["dropped"] == 0, numbers
        filler.unlink(missing_ok=True)
        server.stop()  # it is written to again when something waits
        wait_for("the disk is well", 60, lambda: metrics(url)[1].get(failing) == 0)
        server.start()
        numbers = drained(url)
        assert numbers["dropped"] == 0, numbers
    return numbers


with tempfile.TemporaryDirectory() as top, small_disk(top) as (state, is_small):
    pathlib.Path(top).chmod(0o755)
    text = pathlib.Path(top, "text")
    text.mkdir()
    (text / "t.prom").write_text("".join(f"test_number{{n=\"{n}\"}} {n}\n" for n in range(SERIES)))
    server = Server()
    server.start()
    flags = [config(top, {"name": "r", "url": server.url, "interval": "500ms", "timeout": "5s"}), f"--state.directory={state}",
             f"--collector.textfile.directory={text}", "--web.max-age=0", *QUIET]
    made = dropped = sent = lives = kills = 0
    seen = dict.fromkeys(FAULTS, 0)
    begin, end = time.monotonic(), time.monotonic() + asked.seconds
    while time.monotonic() < end or kills < asked.kills:
        lives += 1
        kill = kills < asked.kills * min(1, (time.monotonic() - begin) / asked.seconds * 1.2)  # all over the time
        with vitald(*flags) as (process, url):
            for _ in range(chance.randint(1, 3)):
                what = chance.choice(FAULTS)
                seen[what] += 1
                fault(server, what)
            numbers = counted(url, "r") if kill else drained(url)
            if kill:
                kills += 1
                os.kill(process.pid, signal.SIGKILL)
                process.process.wait()
        made += numbers["made"]
        dropped += numbers["dropped"]
        sent += numbers["sent"]
    if is_small:
        numbers = full_disk(server, flags, state)
        made += numbers["made"]
    with vitald(*flags) as (_, url):  # what is left on the disk
        numbers = drained(url)
        made += numbers["made"]
        dropped += numbers["dropped"]
    with vitald(*flags) as (_, url):  # nothing waited at the start, so it can be counted to the last sample
        for what in FAULTS:
            fault(server, what)
        last = {}

        def all_of_it():
            last.clear()
            last.update(counted(url, "r"))
            return last["waiting"] == 0 and last["sent"] + last["dropped"] == last["made"]
        try:
            wait_for("sent and dropped are what was made", 60, all_of_it)
        except AssertionError as error:
            raise AssertionError(f"{error}: {last}") from error
        made += last["made"]
        dropped += last["dropped"]
    server.stop()
    arrived = server.taken + server.doubles
    # A kill loses what was not sent yet while the server was there: two pushes at most.
    may_be_lost = kills * 2 * (SERIES + 400)
    assert not server.problems, server.problems[:5]
    assert arrived >= made - dropped - may_be_lost, (arrived, made, dropped, may_be_lost)
    assert server.doubles <= kills * (SERIES + 400), (server.doubles, kills)
    assert kills == asked.kills
    print(f"{lives} runs, {kills} killed, {'a disk that was full, ' if is_small else ''}"
          f"faults {seen}: {made:.0f} samples made, {arrived} arrived in order ({server.doubles} of them twice), "
          f"{dropped:.0f} refused and counted, {server.requests} requests; counted to the last: {last}")
