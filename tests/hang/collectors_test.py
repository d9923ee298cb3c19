#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A driver that does not answer, a textfile directory on a dead server and a frozen libvirtd at once: every other
number moves at each scrape, the three are named, and all comes back by itself. VITALD_HANG_SECONDS: how long."""

import os
import pathlib
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "virt"))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from frozen import FREEZE, THAW, timed_scrape  # noqa: E402
from guests import enter_namespace, libvirtd  # noqa: E402
from harness import VITALD, patience, skip, vitald, wait_for  # noqa: E402

SECONDS = float(os.environ.get("VITALD_HANG_SECONDS", "6"))
STUCK = ("drm", "drm_gpus", "libvirt", "textfile")  # a worker asks the same attribute of the card
MOVES = [("node_time_seconds", ()), ("process_cpu_seconds_total", ()), ("vitald_cycles_total", ()),
         ("vitald_snapshot_timestamp_seconds", ())]


def success(samples):
    return {dict(labels)["collector"]: v for (n, labels), v in samples.items() if n == "node_scrape_collector_success"}


def serve(folder, *file):
    server = subprocess.Popen([sys.executable, pathlib.Path(__file__).with_name("fuse_server.py"), folder, *file],
                              stdout=subprocess.PIPE)
    assert server.stdout.readline() == b"mounted\n"
    return server


def main():
    if not os.access("/dev/fuse", os.R_OK | os.W_OK):
        skip("needs root and /dev/fuse: mounts file systems of its own")
    enter_namespace()
    with tempfile.TemporaryDirectory() as name, libvirtd() as daemon:
        device = pathlib.Path(name, "sys/class/drm/card0/device")
        texts = pathlib.Path(name, "texts")
        device.mkdir(parents=True)
        texts.mkdir()
        servers = []
        try:
            servers += [serve(device, "uevent", "DRIVER=amdgpu\n"), serve(texts)]
            pathlib.Path(device, "uevent").read_text()  # its FLUSH is the only one; see fuse_server.py
            check(f"{name}/sys", texts, servers, daemon)
        finally:
            for server in servers:
                server.kill()  # the kernel then fails what waits for it
                server.wait()
            for folder in (device, texts):
                subprocess.run(["umount", "-l", folder], check=False)


def check(sysfs, texts, servers, daemon):
    hook = f"1000{os.getpid()}"  # it sleeps so long, and is found by that
    config, rules = texts.parent / "vitald.yaml", texts.parent / "rules.yaml"
    config.write_text(f"notify: {{commands: [{{name: slow, command: [/bin/sleep, '{hook}'], timeout: 1h}}]}}\n")
    rules.write_text("groups: [{name: g, rules: [{alert: Always, expr: vector(1)}]}]\n")
    flags = ["--web.max-age=0", f"--path.sysfs={sysfs}", "--collector.drm", "--collector.libvirt",
             f"--collector.textfile.directory={texts}", f"--config.file={config}", f"--rules.file={rules}"]

    def hooks():
        return subprocess.run(["pgrep", "-f", f"^/bin/sleep {hook}$"], capture_output=True, text=True).stdout.split()

    def freeze():
        for server in servers:
            server.send_signal(FREEZE)
        daemon.freeze()

    def thaw():
        for server in servers:
            server.send_signal(THAW)
        daemon.thaw()

    with vitald(*flags) as (agent, url):
        def all_work():
            got = success(timed_scrape(url)[1])
            return all(got.get(c) == 1 for c in STUCK) and got

        before = wait_for("all three", 30, all_work)
        said = len(agent.output())
        freeze()
        took, last = [], {}
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            seconds, samples = timed_scrape(url)
            took.append(seconds)
            for key in MOVES:
                assert key not in last or samples[key] > last[key], (key, samples[key], last[key])
            last = samples
            time.sleep(0.1)
        failed = {c for c, v in success(last).items() if v == 0 and before[c] == 1}
        assert failed == set(STUCK), failed
        age = {dict(labels)["collector"]: v for (n, labels), v in last.items() if n == "vitald_collector_age_seconds"}
        assert age["drm"] > SECONDS / 2 and age["cpu"] < 1, age
        took.sort()
        p99 = took[int(len(took) * 0.99)]
        print(f"{len(took)} scrapes in {SECONDS:.0f} s: median {took[len(took) // 2] * 1000:.1f} ms, "
              f"p99 {p99 * 1000:.0f} ms, slowest {took[-1] * 1000:.0f} ms")
        # The first scrape that meets them waits for both and for libvirtd; no other one does.
        assert took[-2] <= 0.6 and took[-1] < 3, took[-5:]
        text = agent.output()[said:]
        for collector in ("drm", "textfile"):
            lines = [line for line in text.splitlines() if f"collector={collector} " in line and "hangs" in line]
            assert len(lines) == 1, lines
        thaw()

        def again():
            if not daemon.alive():  # see libvirtd_test.py
                daemon.start()
            return all_work()

        wait_for("all three again", 60, again)

        freeze()
        wait_for("them to hang again", 20, lambda: not all_work())
        assert len(hooks()) == 1
        ended = agent.stop()
        print(f"SIGTERM while they hang: {ended * 1000:.0f} ms")
        assert ended < patience(2), ended
        assert not hooks() and "what waits is lost" in agent.output(), agent.output()[-2000:]

    # From the start, too.
    with vitald(*flags) as (agent, url):
        wait_for("numbers", 10, lambda: success(timed_scrape(url)[1]).get("cpu") == 1)
        got = success(timed_scrape(url)[1])
        assert got["drm"] == 0 and got["textfile"] == 0, got
        ended = agent.stop()
        assert ended < patience(2), ended
    began = time.monotonic()
    once = subprocess.run([VITALD, "--once", *flags], capture_output=True, text=True, timeout=60)
    print(f"--once while they hang: {time.monotonic() - began:.1f} s")
    assert once.returncode == 0 and "\nnode_load1 " in once.stdout, once.stderr
    assert 'node_scrape_collector_success{collector="drm"} 0\n' in once.stdout
    thaw()


main()
