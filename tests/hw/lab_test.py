#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""lab_test.py VITALD PROGRAM SECONDS [ARGUMENT...]: runs PROGRAM (guest.py, energy_guest.py) in one virtual machine of the lab
beside the checkout, which has the drivers of a stock kernel and hardware whose values are turned; errors_guest.py in one
without that hardware. Emulated, so nothing here looks at how long something takes."""

import pathlib
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
import harness  # noqa: E402

VITALD, PROGRAM, BOUND_S, *ARGUMENTS = sys.argv[1:]
HARDWARE = [] if PROGRAM == "errors_guest.py" else ["--hwmon"]

lab = harness.shared("lab/vm-run")
if not lab:
    harness.skip("no VM lab (shared/lab/vm-run) beside the checkout: there is no hardware to ask")
harness.need("sensors", "qemu-system-x86_64", "strip")

with tempfile.TemporaryDirectory(prefix="vitald-lab-") as folder:
    # What is for debuggers is most of the file, and each worker reads it from the host's file system.
    program = str(pathlib.Path(folder) / "vitald")
    subprocess.run(["strip", "-o", program, VITALD], check=True)
    done = subprocess.run(
        [lab, *HARDWARE, "--mem", "1500", "--timeout", BOUND_S, "--share", folder, "--",
         sys.executable, str(HERE / PROGRAM), program, *ARGUMENTS],
        capture_output=True, text=True, errors="replace", cwd=folder)
print(done.stdout, end="")
if done.returncode == 77:
    sys.exit(77)
if done.returncode != 0:
    sys.exit(f"status {done.returncode}\n{done.stderr[-4000:]}")
