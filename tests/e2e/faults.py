# SPDX-License-Identifier: Apache-2.0
"""Faults that a test or a measurement puts upon this machine, each taken back when its `with` ends."""

import contextlib
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time

CGROUPS = pathlib.Path("/sys/fs/cgroup")
HOG = "while True: pass"
# A process that finds no program to run ends at once: nothing of Python's memory is copied for it, which would make it no
# storm where others want the CPUs.
FORKS = """
import contextlib, os
while True:
    with contextlib.suppress(FileNotFoundError):
        os.posix_spawn("/nowhere", ["nowhere"], {})
"""
FSYNCS = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
while True:
    os.pwrite(fd, b"x" * 65536, 0)
    os.fsync(fd)
"""
EATS = """
import time
held = []
while True: held.append(bytearray(b"x" * (4 << 20)))
"""


class Missing(Exception):
    """This machine cannot have the fault; the text says why."""


@contextlib.contextmanager
def cgroup(name, **limits):
    """A folder for a unit of this name in the hierarchy of owners, and one with limits where that is another: version 1.

    Gives a function that puts the process that calls it in. `limits` are files of version 1, controller_file=value.
    """
    if (CGROUPS / "cgroup.controllers").exists():
        raise Missing("limits are set by version 1 of cgroups here, and this machine has version 2 only")
    folders = [CGROUPS / "unified/system.slice" / f"{name}.service"]
    for key, value in limits.items():
        controller, file = key.split("_", 1)
        folder = CGROUPS / controller / f"{name}.service"
        if not folder.parent.exists():
            raise Missing(f"there is no controller {controller}")
        folders.append(folder)
    try:
        for folder in folders:
            folder.mkdir(parents=True, exist_ok=True)
        for key, value in limits.items():
            controller, file = key.split("_", 1)
            (CGROUPS / controller / f"{name}.service" / f"{controller}.{file}").write_text(str(value))

        def enter():
            for folder in folders:
                (folder / "cgroup.procs").write_text(str(os.getpid()))
    except OSError as error:
        remove(folders)
        raise Missing(f"no cgroups of our own here: {error}") from error
    try:
        yield enter
    finally:
        remove(folders)


def remove(folders):
    """Once their processes are gone."""
    for folder in folders:
        for _ in range(100):
            try:
                folder.rmdir()
                break
            except FileNotFoundError:
                break
            except OSError:
                time.sleep(0.05)


@contextlib.contextmanager
def programs(count, code, *arguments, enter=None, nice=0):
    """So many Python programs at the same time."""

    def begin():
        if enter:
            enter()
        if nice:
            os.setpriority(os.PRIO_PROCESS, 0, nice)

    started = [subprocess.Popen([sys.executable, "-c", code, *map(str, arguments)], preexec_fn=begin,
                                stderr=subprocess.DEVNULL) for _ in range(count)]
    try:
        yield started
    finally:
        for p in started:
            with contextlib.suppress(ProcessLookupError):
                p.send_signal(signal.SIGKILL)
        for p in started:
            p.wait()


@contextlib.contextmanager
def hog():
    with cgroup("vitald-hog") as enter, programs(3 * os.cpu_count(), HOG, enter=enter):
        yield


@contextlib.contextmanager
def throttle():
    with cgroup("vitald-throttled", cpu_cfs_period_us=100000, cpu_cfs_quota_us=10000) as enter, programs(2, HOG, enter=enter):
        yield


@contextlib.contextmanager
def fsync_storm(folder):
    with contextlib.ExitStack() as stack:
        enter = stack.enter_context(cgroup("vitald-fsync"))
        for i in range(12):
            stack.enter_context(programs(1, FSYNCS, folder / f"storm{i}", enter=enter))
        yield


@contextlib.contextmanager
def oom():
    """Takes more memory than it may have, again and again."""
    with cgroup("vitald-oom", memory_limit_in_bytes=32 << 20) as enter:
        stop = threading.Event()

        def again():
            while not stop.is_set():
                with programs(1, EATS, enter=enter) as (p,):
                    with contextlib.suppress(subprocess.TimeoutExpired):
                        p.wait(5)
                stop.wait(0.5)

        thread = threading.Thread(target=again)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()


@contextlib.contextmanager
def fork_storm():
    with cgroup("vitald-forks") as enter, programs(2 * os.cpu_count(), FORKS, enter=enter, nice=-15):
        yield


@contextlib.contextmanager
def full_filesystem():
    """A small one, all of it taken."""
    folder = tempfile.mkdtemp(prefix="vitald-full-")
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=8m", "vitald-full", folder]).returncode != 0:
        os.rmdir(folder)
        raise Missing("no file system may be mounted here")
    try:
        with contextlib.suppress(OSError), open(f"{folder}/all", "wb") as out:
            while True:
                out.write(bytes(1 << 16))
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)
        os.rmdir(folder)


@contextlib.contextmanager
def unread_datagrams():
    """Somebody sends to a socket that nobody reads."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as receiver, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sender:
        receiver.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        receiver.bind(("127.0.0.1", 0))
        stop = threading.Event()

        def send():
            while not stop.is_set():
                for _ in range(50):
                    sender.sendto(bytes(1000), receiver.getsockname())
                time.sleep(0.05)

        thread = threading.Thread(target=send)
        thread.start()
        try:
            yield
        finally:
            stop.set()
            thread.join()
