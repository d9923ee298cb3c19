#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Writes cmake/hot_functions.txt: the functions that run once vitald has started, which the linker lays side by side.

Runs build/release/vitald under valgrind (callgrind), started and warm, twice: while it is only scraped as Prometheus does,
and while it is scraped in every format, judges the shipped rules and answers two queries. What the first needs stands
before what only the second does, so that a scrape touches few pages: fifteen seconds after the last one the CPU has
forgotten where they are. In both what takes most of the time is first. `./dev order` runs it; a name that no longer exists
costs nothing, a function that is new stands behind the others.
"""

import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
OUT = ROOT / "cmake" / "hot_functions.txt"
PORT = 19113
WARM_S, RECORDED_ROUNDS, ROUND_S = 40, 12, 5
FORMATS = [
    {"Accept-Encoding": "gzip"},
    {"Accept": "text/plain;version=0.0.4"},
    {"Accept": "application/openmetrics-text;version=1.0.0,text/plain;q=0.5", "Accept-Encoding": "gzip"},
    {"Accept": "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"},
]
PATHS = ["/-/healthy", "/api/v1/alerts", "/api/v1/query?query=rate(node_cpu_seconds_total[1m])"]


def ask(path: str, headers: dict[str, str] | None = None) -> None:
    request = urllib.request.Request(f"http://127.0.0.1:{PORT}{path}", headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            answer.read()
    except urllib.error.HTTPError as e:
        if e.code != 503:  # which it may say while it runs fifty times slower beside a compiler
            raise


def wait_for_answer(process: subprocess.Popen) -> None:
    for _ in range(300):
        if process.poll() is not None:
            sys.exit(f"vitald ended with {process.returncode}")
        try:
            return ask("/metrics")
        except OSError:
            time.sleep(1)
    sys.exit("vitald did not answer within 5 minutes")


def record(binary: pathlib.Path, profile: pathlib.Path, flags: list[str], formats: list[dict[str, str]],
           paths: list[str]) -> None:
    process = subprocess.Popen(
        ["valgrind", "--tool=callgrind", "--demangle=no", "--instr-atstart=no", f"--callgrind-out-file={profile}",
         str(binary), f"--web.listen-address=127.0.0.1:{PORT}", *flags, "--bpf.budget=0", "--log.level=error"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for_answer(process)
        end = time.monotonic() + WARM_S
        while time.monotonic() < end:
            for headers in formats:
                ask("/metrics", headers)
            time.sleep(ROUND_S)
        subprocess.run(["callgrind_control", "-i", "on", str(process.pid)], check=True, stdout=subprocess.DEVNULL)
        for _ in range(RECORDED_ROUNDS):
            for headers in formats:
                ask("/metrics", headers)
            for path in paths:
                ask(path)
            time.sleep(ROUND_S)
        subprocess.run(["callgrind_control", "-i", "off", str(process.pid)], check=True, stdout=subprocess.DEVNULL)
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(120)


def costs(profile: pathlib.Path) -> tuple[dict[str, int], dict[str, int]]:
    """Instructions that each function of vitald's own binary ran itself, and how often functions were called (the callgrind
    format: names are given once, `fn=(12) name`, then by number; a line after `calls=` is the callee's)."""
    names: dict[str, str] = {}
    cost: dict[str, int] = {}
    calls: dict[str, int] = {}
    function, callee, ours, of_callee = "", "", False, False
    objects: dict[str, str] = {}
    for line in profile.read_text(errors="replace").splitlines():
        if found := re.match(r"(c?)ob=\((\d+)\)(?: (.*))?", line):
            objects.setdefault(found[2], found[3] or "")
            if not found[1]:
                ours = objects[found[2]].endswith("/vitald")
        elif found := re.match(r"(c?)fn=\((\d+)\)(?: (.*))?", line):
            names.setdefault(found[2], (found[3] or "").split("'")[0])
            if found[1]:
                callee = names[found[2]]
            else:
                function = names[found[2]]
        elif found := re.match(r"calls=(\d+)", line):
            of_callee = True
            calls[callee] = calls.get(callee, 0) + int(found[1])
        elif found := re.match(r"[+\-*\d]\S* (\d+)$", line):
            if not of_callee and ours:
                cost[function] = cost.get(function, 0) + int(found[1])
            of_callee = False
    return cost, calls


def main() -> None:
    binary = pathlib.Path(os.environ.get("VITALD", ROOT / "build/release/vitald"))
    with tempfile.TemporaryDirectory() as folder:
        scrape, all_of_it = pathlib.Path(folder, "scrape"), pathlib.Path(folder, "all")
        record(binary, scrape, ["--state.directory="], FORMATS[:2], [])
        record(binary, all_of_it, [f"--rules.file={ROOT}/deploy/rules/*.yaml", f"--state.directory={folder}"], FORMATS,
               PATHS)
        scrape_cost, calls = costs(scrape)
        hot = {name: n for name, n in {**costs(all_of_it)[0], **scrape_cost}.items() if re.fullmatch(r"[\w.$]+", name)}
        in_scrape = {name for name in scrape_cost if calls.get(name, 0) >= RECORDED_ROUNDS}
    symbols = subprocess.run(["nm", "-S", "--defined-only", str(binary)], check=True, capture_output=True, text=True)
    sizes = {p[3]: int(p[1], 16) for line in symbols.stdout.splitlines() if len(p := line.split()) == 4}
    known = sorted((name for name in hot if name in sizes), key=lambda name: (name not in in_scrape, -hot[name], name))
    OUT.write_text("".join(f"{name}\n" for name in known))
    print(f"{len(known)} functions, {sum(sizes[n] for n in known):,} bytes, "
          f"{sum(sizes[n] for n in known if n in in_scrape):,} of them a scrape's")


if __name__ == "__main__":
    main()
