#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""energy_guest.py VITALD, inside the lab's virtual machine: whose the energy of a processor was whose truth is known. It takes
40 W idle and 80 W more for each CPU that is busy; the tasks of two units share a CPU three to one."""

import contextlib
import mmap
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time

from guest_harness import bad, check, law, near, of, scrape, started, wait_for

VITALD = sys.argv[1]
PORT = 9118
IDLE_W, BUSY_W = 40, 80
INTERVAL_S, KNOWN_S, LOAD_S = 5, 120, 20
WEIGHTS = {"heavy.service": 300, "light.service": 100}
CGROUPS = pathlib.Path("/sys/fs/cgroup/system.slice")
CPUS = os.cpu_count()
REGISTER = 0x593c  # of the device of the lab that stands for a processor's power: energy, in 2^-14 J
loads = []  # how many CPUs were busy, each half second


def register():
    """Of the package's energy, which nobody else writes to from now on: the lab's own loop starts a dozen programs a second,
    and here that is half a CPU."""
    stopped = False
    while not stopped:
        for each in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if (each / "cmdline").read_bytes().split(b"\0")[:2] == [b"sleep", b"0.25"]:
                    os.kill(int((each / "stat").read_text().rpartition(")")[2].split()[1]), signal.SIGSTOP)
                    stopped = True
    with open("/sys/bus/pci/devices/0000:00:1a.0/resource", encoding="ascii") as bars:
        bar = int(bars.readline().split()[0], 16)
    page = mmap.mmap(os.open("/dev/mem", os.O_RDWR | os.O_SYNC), mmap.PAGESIZE, offset=bar + REGISTER // mmap.PAGESIZE * mmap.PAGESIZE)
    return memoryview(page).cast("I"), REGISTER % mmap.PAGESIZE // 4


def idle_seconds():
    with open("/proc/stat", encoding="ascii") as f:
        fields = f.readline().split()
    return (int(fields[4]) + int(fields[5])) / os.sysconf("SC_CLK_TCK")


def draw(words, word):
    """What the processor takes follows its load. The register is written often: a reading is as old as the last time."""
    joules = words[word] / 2**14
    begin, idle, busy, counted = time.monotonic(), idle_seconds(), 0, time.monotonic()
    while True:
        time.sleep(0.1)
        now = time.monotonic()
        if now > begin + 0.5:
            idle_now = idle_seconds()
            busy = min(CPUS, max(0, CPUS - (idle_now - idle) / (now - begin)))
            loads.append(busy)
            begin, idle = now, idle_now
        joules += (IDLE_W + BUSY_W * busy) * (now - counted)
        words[word] = int(joules * 2**14) % 2**32
        counted = now


def by_owner(found):
    out = {"gone": of(found, "vitald_gone_owners_energy_joules_total"),
           "unattributed": of(found, "vitald_unattributed_energy_joules_total", package="0")}
    for (name, labels), v in found.items():
        if name == "vitald_owner_energy_joules_total":
            labels = dict(labels)
            out["idle" if labels["mode"] == "idle" else labels["owner"]] = v
    return out


def busy_units():
    """Starts them and ends them; gives the CPU time that each has used, as the kernel has it."""
    tasks = []
    for unit, weight in WEIGHTS.items():
        (CGROUPS / unit).mkdir()
        (CGROUPS / unit / "cpu.weight").write_text(str(weight))
        script = f"echo $$ >{CGROUPS / unit}/cgroup.procs; while :; do :; done"
        tasks.append(subprocess.Popen(["taskset", "-c", "1", "sh", "-c", script]))
    time.sleep(LOAD_S)
    for task in tasks:
        task.kill()
        task.wait()
    usage = {unit: (CGROUPS / unit / "cpu.stat").read_text().split()[1] for unit in WEIGHTS}
    time.sleep(2.5 * INTERVAL_S)
    return {unit: int(v) / 1e6 for unit, v in usage.items()}


CGROUPS.mkdir(exist_ok=True)
for parent in (CGROUPS.parent, CGROUPS):
    (parent / "cgroup.subtree_control").write_text("+cpu")
threading.Thread(target=draw, args=register(), daemon=True).start()
with tempfile.TemporaryDirectory() as state, started(
        VITALD, f"--web.listen-address=127.0.0.1:{PORT}", f"--state.directory={state}", "--collector.disable-defaults",
        "--collector.energy_meters", "--collector.energy", "--probe.runq_latency", "--bpf.budget=0",  # little of an emulated CPU
        f"--pipeline.interval={INTERVAL_S}s", "--history.without-rules"):
    wait_for("the meter", 60, lambda: of(scrape(PORT), "vitald_energy_joules_total", domain="package"))
    begin, watts = time.monotonic(), None
    while not watts and time.monotonic() < begin + KNOWN_S:
        time.sleep(INTERVAL_S)
        watts = of(scrape(PORT), "vitald_package_idle_power_watts")
    load = sorted(loads)[len(loads) // 2] / CPUS
    if not watts and load > 0.15:
        print(f"SKIPPED: this machine has too much to do: the emulated one was busy for {load:.0%} of its time with nothing to do")
        sys.exit(77)
    check(bool(watts), f"idle power is known after {time.monotonic() - begin:.0f} s of {load:.1%} load: {watts} W")
    if watts:
        before, at = scrape(PORT), time.monotonic()
        used = busy_units()
        after, took = scrape(PORT), time.monotonic() - at
        old, new = by_owner(before), by_owner(after)
        grown = {name: v - old.get(name, 0) for name, v in new.items()}
        print(f"   joules of {took:.1f} s:", {name: round(v, 3) for name, v in grown.items()}, "CPU seconds:", used)
        heavy, light = (grown.get(unit, 0) for unit in WEIGHTS)
        parts, counter = (a - b for a, b in zip(law(after), law(before)))
        check(counter > 1000 and abs(parts - counter) < 0.001, f"owners, idle, gone and unattributed are {parts:.6f} J, the counter {counter:.6f} J")
        check(near(heavy * used["light.service"], light * used["heavy.service"], 0.05),
              f"the units' energy is {heavy:.1f} to {light:.1f} J, their CPU time {used['heavy.service']:.2f} to {used['light.service']:.2f} s")
        for unit in WEIGHTS:
            check(near(grown.get(unit, 0), BUSY_W * used[unit], 0.15), f"{unit}: {grown.get(unit, 0):.1f} J, in truth {BUSY_W * used[unit]:.1f} J")
        check(near(grown["idle"], IDLE_W * took, 0.15), f"idle: {grown['idle']:.1f} J, in truth {IDLE_W * took:.1f} J")
        check(grown["unattributed"] == 0, f"unattributed: {grown['unattributed']} J more, {new['unattributed']:.1f} J from before it was known")
        watts = of(after, "vitald_package_idle_power_watts")
        check(near(watts, IDLE_W, 0.1), f"idle power: {watts:.2f} W, in truth {IDLE_W} W")
sys.exit(f"{len(bad)} things are not as they should be" if bad else 0)
