#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The package below a real systemd with the unit as it is shipped: a virtual machine boots this machine's Debian, and
systemd_guest.py goes through the package's life in it."""

import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
from harness import TOP, need, probes, skip_sanitized  # noqa: E402
from packages import newer, package  # noqa: E402

BOUND_S = 900  # three minutes on a machine that has nothing else to do

need("dpkg-buildpackage", "dh", "dpkg-deb", "qemu-system-x86_64", "busybox", "depmod")
skip_sanitized("what ships has none, and its libraries are in no package or image")
with tempfile.TemporaryDirectory(prefix="vitald-systemd-") as scratch:
    folder = pathlib.Path(scratch)
    one = package(folder, "one")
    done = subprocess.run([TOP / "tests/vm/run", "--systemd", "--mem", "1800", "--timeout", str(BOUND_S), "--share", folder, "--",
                           sys.executable, HERE / "systemd_guest.py", one, newer(one, folder), ",".join(probes(by_default=True))],
                          capture_output=True, text=True, errors="replace", cwd=folder)
print(done.stdout, end="")
if done.returncode != 0:
    sys.exit(f"status {done.returncode}\n{done.stderr[-4000:]}")
