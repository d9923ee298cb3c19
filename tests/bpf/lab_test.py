#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Probes on Debian's own kernels, in virtual machines (the lab beside the checkout, or tests/vm): the oldest and the newest
that the shipped programs are tried on, with known answers and a disk that is unplugged (this machine may have no driver for
one). Emulated, so nothing here looks at times."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness  # noqa: E402

PROGRAM = sys.argv[1]
# The lab has kernels that the mirror does not have yet.
KERNELS = ("6.1", "7.3" if harness.shared("lab/vm-run") else "6.12")
TESTS = tuple(f"Probes.{t}" for t in (
    "AllAttachTogether", "BpfProgramsOfOthers", "PageFaultsOfOwners", "RowsOfRemovedDisksAreUsedAgain", "OomKill",
    "OomKillNamesTheLimitThatWasAsked", "CausesOfDeath", "ShortLivedCgroup", "WritebackPauses"))
TESTS += ("Cgroups.IteratorSaysWhatFilesSay", "Guests.ExitsByReason", "Guests.Halts")
BOUND_S = 600

harness.need("qemu-system-x86_64", "busybox", "depmod")
lab = harness.virtual_machine()

failed = []
for kernel in KERNELS:
    with tempfile.TemporaryDirectory(prefix="vitald-lab-") as folder:
        done = subprocess.run(
            [lab, "--timeout", str(BOUND_S), "--kernel", kernel, "--share", folder, "--",
             "env", "VITALD_MACHINE_IS_OURS=1", PROGRAM, "--gtest_filter=" + ":".join(TESTS)],
            capture_output=True, text=True, errors="replace", cwd=folder)
    rows = dict(re.findall(r"^\[ +(?:OK|FAILED|SKIPPED) +\] (\w+\.\w+) \((\d+ ms)\)", done.stdout, re.MULTILINE))
    good = set(re.findall(r"^\[ +OK \] (\w+\.\w+)", done.stdout, re.MULTILINE))
    print(f"Linux {kernel}: " + ", ".join(f"{t} {'ok' if t in good else 'NOT OK'} {rows.get(t, '')}" for t in TESTS), flush=True)
    if done.returncode != 0 or good != set(TESTS):
        failed.append(kernel)
        print(done.stdout[-6000:], done.stderr[-3000:], sep="\n")
sys.exit(f"not all of it holds on Linux {', '.join(failed)}" if failed else 0)
