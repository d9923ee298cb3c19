#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Too little of everything: address space, descriptors, processes, memory, CPU. vitald goes on, or ends and says why; it
does not abort, and takes no want of memory for a bug."""

import concurrent.futures
import os
import pathlib
import re
import resource
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, VITALD, free_port, get, skip_sanitized, wait_for  # noqa: E402

skip_sanitized("it needs terabytes of address space and several times the memory, which is what is taken away here")

MIB = 1 << 20
RULES = TOP / "deploy/rules/*.yaml"
BAD = re.compile(r"terminate called|bug, please report|Segmentation|double free|corrupt", re.I)
# Nobody else's, so that its processes can be counted.
USER = 61234
problems = []


def limited(kind, most, user=None):
    def apply():
        resource.setrlimit(kind, (most, most))
        if user:
            os.setgroups([])
            os.setgid(user)
            os.setuid(user)
    return apply


def scrape(url):
    try:
        return get(url + "/metrics", timeout=3)[0]
    except OSError:
        return None


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def run(name, before, folder, must_answer=False, changed=None, seconds=1.5, ready_cpu_s=None):
    """Starts, scrapes, reloads, scrapes, ends. Returns whether it lived until it was asked to end."""
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log, config = pathlib.Path(folder, name + ".log"), pathlib.Path(folder, name + ".yaml")
    config.write_text("")
    os.chmod(config, 0o644)
    with log.open("w") as out:
        process = subprocess.Popen([VITALD, f"--web.listen-address=127.0.0.1:{port}", "--state.directory=",
                                    f"--rules.file={RULES}", f"--config.file={config}"],
                                   stdin=subprocess.DEVNULL, stdout=out, stderr=out, preexec_fn=before, cwd="/")
    answered = 0
    began = time.monotonic()
    try:
        while process.poll() is None and (time.monotonic() - began < seconds or
                                          must_answer and not answered and time.monotonic() - began < 20):
            if scrape(url) == 200:
                answered += 1
                used = cpu_seconds(process.pid) if ready_cpu_s and answered == 1 else 0
                if used and used > ready_cpu_s:
                    problems.append(f"{name}: ready after {used:.2f} s of CPU time, expected {ready_cpu_s}")
                if ready_cpu_s:
                    print(f"{name}: ready after {time.monotonic() - began:.1f} s, {used:.2f} s of CPU time")
                    break
            time.sleep(0.1)
        if process.poll() is None:
            if changed:
                config.write_text(changed)
            process.send_signal(signal.SIGHUP)
            end = time.monotonic() + 0.7
            while time.monotonic() < end and process.poll() is None:
                answered += scrape(url) == 200
                time.sleep(0.1)
        lived = process.poll() is None
        if lived:
            process.send_signal(signal.SIGTERM)
        try:
            # At 5 % of a CPU the end of a process that loads probes takes seconds of the clock, most of them the kernel's.
            status = process.wait(20 if ready_cpu_s else 5)
        except subprocess.TimeoutExpired:
            problems.append(f"{name}: SIGTERM did not end it")
            status = 0
    finally:
        process.kill()
        process.wait()
    text = log.read_text(errors="replace")
    said = f"{name}: status {status}, {answered} answers; last words: {text.strip().splitlines()[-1:]}"
    if status < 0 or BAD.search(text):
        problems.append(said + "".join(f"\n    {line}" for line in text.splitlines() if BAD.search(line)))
    # One that is asked to end while it still starts may find just then that it cannot.
    elif not (lived and status == 0 or (not lived or answered == 0) and status in (1, 127) and "error" in text):
        problems.append(said)
    elif must_answer and answered == 0:
        problems.append(said)
    return lived, answered


def address_space(folder):
    """From what the loader does not manage up to what is enough; between, anything may fail."""
    # Below, libraries that are linked to abort before main().
    sizes = [36, 44, 48, 52, 56, 60, 64, 68, 72, 80, 120, 160]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        lived = list(pool.map(lambda m: run(f"v{m}", limited(resource.RLIMIT_AS, m * MIB), folder,
                                            must_answer=m >= 160)[0], sizes))
    print("address space, MiB, lived:", [m for m, alive in zip(sizes, lived) if alive])


def descriptors(folder):
    """With 24 and more it answers; with fewer it says so and ends, instead of listening for nothing."""
    counts = [12, 16, 20, 23, 24, 25, 32, 48, 64]
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        lived = list(pool.map(lambda n: run(f"n{n}", limited(resource.RLIMIT_NOFILE, n), folder,
                                            must_answer=n >= 24)[0], counts))
    for n, alive in zip(counts, lived):
        if alive != (n >= 24):
            problems.append(f"n{n}: {'lived' if alive else 'did not live'}")
        elif not alive and n >= 20 and "the limit of open files is" not in pathlib.Path(folder, f"n{n}.log").read_text():
            problems.append(f"n{n}: it does not say why")
    print("descriptors, lived:", [n for n, alive in zip(counts, lived) if alive])


HOOKS = "notify: {commands: [%s]}\n" % ", ".join("{name: h%d, command: [/bin/true]}" % i for i in range(8))


def processes(folder):
    """A reload brings eight receivers, each with a thread of its own, and there are few to be had."""
    if os.geteuid() != 0:
        print("processes: left out, they are counted per user, and only root can take one of its own")
        return
    for most in (1, 3, 4, 5, 6, 8):
        run(f"u{most}", limited(resource.RLIMIT_NPROC, most, USER), folder, changed=HOOKS, seconds=0.6)
    print("processes: 1 to 8")


def group(controller, name):
    top = pathlib.Path("/sys/fs/cgroup", controller)
    own = next((line.split(":", 2)[2] for line in pathlib.Path("/proc/self/cgroup").read_text().splitlines()
                if controller in line.split(":")[1].split(",")), None)
    folder = None if own is None else pathlib.Path(f"{top}{own.rstrip('/')}/vitald-limits-{os.getpid()}-{name}")
    try:
        folder.mkdir()
        return folder
    except (OSError, AttributeError) as error:
        print(f"{controller}: left out, no cgroup of v1 to be had: {error}")
        return None


def inside(folder):
    return lambda: (folder / "cgroup.procs").write_text(str(os.getpid()))


def cpu(folder):
    own = group("cpu", "cpu")
    if own is None:
        return
    try:
        (own / "cpu.cfs_period_us").write_text("100000")
        (own / "cpu.cfs_quota_us").write_text("5000")
        # 0.04 s, so within two seconds of such a cgroup; a build for tests takes longer, and a busy machine more. That the
        # kernel then checks the programs of all probes, about a second of CPU, nobody waits for.
        run("cpu5", inside(own), folder, must_answer=True, ready_cpu_s=0.2)
    finally:
        own.rmdir()


def memory(folder):
    own = group("memory", "memory")
    if own is None:
        return
    try:
        (own / "memory.limit_in_bytes").write_text(str(16 * MIB))
        lived, _ = run("m16", inside(own), folder, must_answer=True, seconds=3)
        peak = int((own / "memory.max_usage_in_bytes").read_text()) / MIB
        print(f"memory of 16 MiB: lived {lived}, peak {peak:.1f} MiB")
    finally:
        wait_for("an empty cgroup", 5, lambda: not (own / "cgroup.procs").read_text())
        own.rmdir()


def main():
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        for case in (address_space, descriptors, processes, cpu, memory):
            case(folder)
    print(f"{time.monotonic() - began:.1f} s")
    if problems:
        print("\n".join(problems))
        sys.exit(1)


main()
