# SPDX-License-Identifier: Apache-2.0
"""Starts the real binary and its real peers on free ports of the loopback, and ends them again."""

import contextlib
import functools
import json
import os
import pathlib
import random
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request

TOP = pathlib.Path(__file__).resolve().parent.parent
VITALD = os.environ.get("VITALD", str(TOP / "build/release/vitald"))


def shared(relative):
    """A file of the shared test material beside the checkout, or None; VITALD_SHARED names another place."""
    places = [pathlib.Path(os.environ["VITALD_SHARED"])] if "VITALD_SHARED" in os.environ else []
    places += [folder / "shared" for folder in TOP.parents]
    return next((p / relative for p in places if (p / relative).exists()), None)


def virtual_machine():
    """The program that runs a command on another kernel: the lab beside the checkout, or else ours, which knows less."""
    return shared("lab/vm-run") or TOP / "tests/vm/run"


def skip(reason):
    """ctest shows exit status 77 as skipped; the reason is printed, never silent."""
    print(f"SKIPPED: {reason}", flush=True)
    sys.exit(77)


def which(program):
    """Where a program is, also of those that only root's PATH has; None: not installed."""
    return shutil.which(program, path=os.pathsep.join(os.get_exec_path() + ["/usr/sbin", "/sbin"]))


def need(*programs):
    for program in programs:
        if not which(program):
            skip(f"{program} is not installed; ./dev setup installs it")


def probes(by_default=False):
    """The names of all probes, from the list of collectors; `by_default`: of those that are not off by default."""
    rows = (line.split() for line in (TOP / "sensors/collectors.list").read_text().splitlines())
    return [row[0] for row in rows
            if len(row) > 1 and row[0] != "#" and row[1] == "bpf" and not (by_default and row[2] == "off")]


def free_port():
    """Below those that the kernel gives to outgoing connections: one of them would have it before who is started does."""
    lowest = int(pathlib.Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    for _ in range(100):
        port = random.SystemRandom().randrange(10_000, lowest) if lowest > 12_000 else 0
        with socket.socket() as s, contextlib.suppress(OSError):
            s.bind(("127.0.0.1", port))
            return s.getsockname()[1]
    raise AssertionError("no free port")


@functools.cache
def sanitizer():
    """`address`, `thread`, or none: which one the binary was built with, by the library it asks for."""
    with contextlib.suppress(OSError, subprocess.CalledProcessError):
        needed = subprocess.run(["readelf", "-d", VITALD], capture_output=True, text=True, check=True).stdout
        return next((name for library, name in (("libasan", "address"), ("libtsan", "thread")) if library in needed), None)
    return None


def skip_sanitized(why):
    """What would fail because of a sanitizer alone; the fault it would look for is looked for in other builds."""
    if sanitizer():
        skip(f"a binary with a sanitizer ({sanitizer()}): {why}")


def slower():
    """How many times as long what is no test of speed may take."""
    return 5 if sanitizer() else 1


def patience(seconds):
    """What must not take longer than `seconds`, and no test of speed: longer in proportion where more tasks want the CPUs than
    there are of them, and with a sanitizer."""
    return seconds * max(1.0, os.getloadavg()[0] / os.cpu_count()) * slower()


def wait_for(what, seconds, condition, pause=0.05):
    """Polls until `condition()` is true; a bound on failure, not a pause, and longer with a sanitizer."""
    seconds *= slower()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        value = condition()
        if value:
            return value
        time.sleep(pause)
    raise AssertionError(f"{what}: not within {seconds} s")


def get(url, headers=None, timeout=10):
    """(status, headers, body bytes); an HTTP error status is an answer like any other."""
    request = urllib.request.Request(url, headers=headers or {})
    try:
        with urllib.request.urlopen(request, timeout=timeout) as answer:
            return answer.status, answer.headers, answer.read()
    except urllib.error.HTTPError as error:
        return error.code, error.headers, error.read()


def get_json(url):
    status, _, body = get(url)
    assert status == 200, f"{url}: {status} {body[:200]!r}"
    return json.loads(body)


def answers(url, timeout=2):
    try:
        return get(url, timeout=timeout)[0] == 200
    except OSError:
        return False


class Process:
    """One started program; its output is kept for the error message."""

    def __init__(self, argv, **kwargs):
        self.log = tempfile.NamedTemporaryFile(prefix="vitald-test-", suffix=".log")
        self.process = subprocess.Popen(argv, stdout=self.log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL,
                                        **kwargs)
        self.pid = self.process.pid

    def output(self):
        return pathlib.Path(self.log.name).read_text(errors="replace")

    def alive(self):
        return self.process.poll() is None

    def stop(self, seconds=5):
        """SIGTERM, then SIGKILL; returns how long it took. A sanitizer looks for leaks in between."""
        began = time.monotonic()
        if self.alive():
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(seconds * slower())
            except subprocess.TimeoutExpired:
                self.process.kill()
                self.process.wait()
        # What UBSan finds in a worker, which is started anew: GCC's writes to no file of reports.
        assert not re.search(r"\.(cpp|h):\d+:\d+: runtime error: ", self.output()), self.output()
        return time.monotonic() - began


@contextlib.contextmanager
def running(argv, ready_url, seconds=20, pause=0.05, **kwargs):
    process = Process(argv, **kwargs)
    try:
        try:
            wait_for(f"{argv[0]} answering {ready_url}", seconds, lambda: not process.alive() or answers(ready_url), pause)
            assert process.alive(), f"{argv[0]} ended with {process.process.returncode}"
            yield process
        except BaseException:
            print(f"--- output of {' '.join(map(str, argv))}\n{process.output()}---", flush=True)
            raise
    finally:
        process.stop()


@contextlib.contextmanager
def vitald(*flags, **kwargs):
    """(process, base url)"""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    # Not the machine's own state: tests run at the same time, and one must not deliver what another left.
    state = [] if any(str(f).startswith("--state.directory") for f in flags) else ["--state.directory="]
    # Nor in the kernel's log of the machine: what fires in a test is no critical alert of it.
    if not any("evidence.last-words" in str(f) for f in flags):
        state.append("--no-evidence.last-words")
    with running([VITALD, f"--web.listen-address=127.0.0.1:{port}", *state, *map(str, flags)], url + "/-/ready", **kwargs) as p:
        wait_for_probes(p, url)
        wait_for("the report", 60, lambda: not p.alive() or "\n  series " in p.output())
        yield p, url


def wait_for_probes(process, url):
    """They come after the first answer."""
    wait_for("the probes", 60, lambda: not process.alive() or not some_start(url))


def some_start(url):
    try:
        return b">starting<" in get(url + "/", timeout=2)[2]
    except OSError:  # it asks for a certificate
        return False


SAMPLE = re.compile(r'^([a-zA-Z_:][a-zA-Z0-9_:]*)(\{.*\})? ([^ ]+)$')
LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')


def parse(text):
    """({name: type}, {(name, ((label, value), ...)): float}) of a text exposition; asserts on a line it can't read."""
    types, samples = {}, {}
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            types[name] = kind
        elif line and not line.startswith("#"):
            found = SAMPLE.match(line)
            assert found, f"not a sample: {line!r}"
            labels = tuple(sorted((k, v) for k, v in LABEL.findall(found[2] or "") if v))
            key = (found[1], labels)
            assert key not in samples, f"twice: {line!r}"
            samples[key] = float(found[3])
    return types, samples


def metrics(url, path="/metrics"):
    status, _, body = get(url + path)
    assert status == 200, f"{path}: {status} {body[:200]!r}"
    return parse(body.decode())
