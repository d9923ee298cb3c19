# SPDX-License-Identifier: Apache-2.0
"""What the benchmarks of scrapes share: an exporter's CPU time, memory, latency and system calls, seen from outside."""

import glob
import gzip
import http.client
import os
import pathlib
import re
import signal
import statistics
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))  # for harness


class Exporter:
    def __init__(self, pid, url):
        self.pid = pid
        self.connection = http.client.HTTPConnection(url.removeprefix("http://"), timeout=30)

    def family(self):
        """The process and its workers."""
        pids = [self.pid]
        for pid in pids:
            for children in glob.glob(f"/proc/{pid}/task/*/children"):
                pids += map(int, pathlib.Path(children).read_text().split())
        return pids

    def cpu_ns(self):
        # The kernel's encoding of another process's CPU clock (MAKE_PROCESS_CPUCLOCK, CPUCLOCK_SCHED).
        return sum(time.clock_gettime_ns((~pid << 3) | 2) for pid in self.family())

    def rss_kib(self):
        text = pathlib.Path(f"/proc/{self.pid}/status").read_text()
        return int(re.search(r"VmRSS:\s+(\d+)", text)[1])

    def pss_kib(self):
        """Of the process and its workers; what they share is counted once."""
        return sum(int(re.search(r"^Pss:\s+(\d+)", pathlib.Path(f"/proc/{pid}/smaps_rollup").read_text(), re.M)[1])
                   for pid in self.family())

    def descriptors(self):
        """As many as the process that has most has open."""
        return max(len(os.listdir(f"/proc/{pid}/fd")) for pid in self.family())

    def one(self, encoding):
        began = time.perf_counter_ns()
        self.connection.request("GET", "/metrics", headers={"Accept-Encoding": encoding, "Accept": "text/plain;version=0.0.4"})
        answer = self.connection.getresponse()
        body = answer.read()
        took = time.perf_counter_ns() - began
        assert answer.status == 200, answer.status
        return body, took

    def scrape(self, encoding, count):
        """(CPU ns a scrape, [latency ns])"""
        before = self.cpu_ns()
        took = [self.one(encoding)[1] for _ in range(count)]
        return (self.cpu_ns() - before) / count, took


def series_in(body):
    text = gzip.decompress(body) if body.startswith(b"\x1f\x8b") else body
    return sum(1 for line in text.splitlines() if line and not line.startswith(b"#"))


def text_of(values, unit=1e3):
    low, middle, high = statistics.quantiles(values, n=4)
    return f"{middle / unit:8.0f} ({low / unit:.0f}-{high / unit:.0f})"


def percentile(values, p):
    return sorted(values)[min(len(values) - 1, int(len(values) * p))]


def wrk(url, clients, seconds):
    """(scrapes/s, p99 in ms)"""
    out = subprocess.run(["wrk", "-t1", f"-c{clients}", f"-d{seconds}s", "--latency", url + "/metrics"],
                         capture_output=True, text=True, check=True).stdout
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", out)[1])
    number, unit = re.search(r"99%\s+([\d.]+)(us|ms|s)", out).groups()
    return rate, float(number) * {"us": 1e-3, "ms": 1, "s": 1e3}[unit]


def system_calls(exporter, count):
    """Per scrape: (all, failed, {name: calls}), of all threads and workers."""
    pids = [p for pid in exporter.family() for p in ("-p", str(pid))]
    with tempfile.NamedTemporaryFile("r") as out:
        with subprocess.Popen(["strace", "-f", "-q", "-c", "-o", out.name, *pids], stderr=subprocess.DEVNULL) as tracer:
            time.sleep(1)  # until it has attached to all threads
            exporter.scrape("identity", count)
            tracer.send_signal(signal.SIGINT)
            tracer.wait(10)
        # % time, seconds, usecs/call, calls, [errors], name
        rows = [line.split() for line in out.read().splitlines()[2:] if not line.startswith("-")]
    rows = [row for row in rows if row and row[-1] != "total"]
    failed = sum(int(row[4]) for row in rows if len(row) == 6)
    calls = {row[-1]: int(row[3]) / count for row in rows}
    return sum(calls.values()), failed / count, calls


def goal(text, value, limit):
    print(f"  {text:58} {value:7.3g}   goal <= {limit:<5.3g}  {'met' if value <= limit else 'MISSED'}")
