#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A guest that asks has its own energy: a vitald of the host writes the folder, and one that stands for the guest's reads it
back as powercap, by both of its collectors, while it grows."""

import ctypes
import json
import os
import pathlib
import platform
import shutil
import struct
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import metrics, vitald, wait_for  # noqa: E402


def used(folder, web, memory):
    """As the collector `energy` shows it where there is a meter; this machine may have none."""
    labels = 'mode="active",owner_kind="guest",owner="web",guest="web"'
    text = (f"# TYPE vitald_owner_energy_joules_total counter\nvitald_owner_energy_joules_total{{{labels}}} {web}\n"
            f"# TYPE vitald_owner_dram_energy_joules_total counter\nvitald_owner_dram_energy_joules_total{{{labels}}} {memory}\n")
    new = folder / "text/new"
    new.write_text(text)
    new.rename(folder / "text/energy.prom")


def of(url, family, **labels):
    found = [v for (name, have), v in metrics(url)[1].items() if name == family and set(labels.items()) <= set(have)]
    assert len(found) <= 1, found
    return found[0] if found else None


def as_below_the_unit():
    """UMask=0077, no right to give files away, and RestrictSUIDSGID=yes: who asks fchmod for those bits is refused."""
    os.umask(0o077)
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(24, 0, 0, 0, 0)  # PR_CAPBSET_DROP, CAP_CHOWN; refused to who has it not
    if platform.machine() != "x86_64":
        return
    load, equal, bits, ret = 0x20, 0x15, 0x45, 0x06
    steps = [(load, 0, 0, 0), (equal, 0, 3, 91), (load, 0, 0, 24), (bits, 0, 1, 0o6000), (ret, 0, 0, 0x00050001), (ret, 0, 0, 0x7fff0000)]
    code = ctypes.create_string_buffer(b"".join(struct.pack("<HBBI", *step) for step in steps))

    class Program(ctypes.Structure):
        _fields_ = [("size", ctypes.c_ushort), ("code", ctypes.c_void_p)]

    program = Program(len(steps), ctypes.addressof(code))
    assert libc.prctl(38, 1, 0, 0, 0) == 0 and libc.prctl(22, 2, ctypes.byref(program), 0, 0) == 0


GROUP = 64055 if os.geteuid() == 0 else os.getegid()


def folder_of_guest(path):
    path.mkdir(parents=True)
    os.chown(path, -1, GROUP)
    path.chmod(0o2750)


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    guests, asks = folder / "guests", folder / "guests/web"
    (folder / "text").mkdir()
    folder_of_guest(asks)
    used(folder, 100, 10)
    config = folder / "vitald.yaml"
    config.write_text("push: " + json.dumps({"guest_energy": [{"name": "guests", "path": str(guests), "interval": "200ms"}]}))
    host = vitald(f"--config.file={config}", "--state.directory=", "--collector.disable-defaults", "--collector.textfile",
                  f"--collector.textfile.directory={folder}/text", "--collector.self", "--web.max-age=100ms",
                  preexec_fn=as_below_the_unit)
    with host as (_, host_url):
        wait_for("the guest's folder", 20, (asks / "intel-rapl:0/energy_uj").exists)
        wait_for("the memory's zone", 20, (asks / "intel-rapl:0:0/energy_uj").exists)
        guest = vitald("--state.directory=", "--collector.disable-defaults", "--collector.rapl", "--collector.energy_meters",
                       f"--path.sysfs={asks}", "--web.max-age=0s")
        with guest as (_, url):
            assert of(url, "node_rapl_package_joules_total", index="0") == 0, "it begins when it asks"
            assert of(url, "node_rapl_dram_joules_total", index="0") == 0
            first = of(url, "vitald_energy_joules_total", domain="package")
            assert first == 0, first
            # More than once: the guest's reader keeps up with files that are replaced.
            for step in (1, 2, 3):
                used(folder, 100 + 2.5 * step, 10 + step)
                wait_for(f"step {step}", 20, lambda step=step: of(url, "node_rapl_package_joules_total", index="0") == 2.5 * step
                         and of(url, "node_rapl_dram_joules_total", index="0") == step)
            wait_for("energy_meters", 20, lambda: of(url, "vitald_energy_joules_total", domain="package") == 7.5
                     and of(url, "vitald_energy_joules_total", domain="dram") == 3)
            assert of(url, "vitald_energy_joules_total", domain="package", source="powercap") == 7.5
        assert of(host_url, "vitald_push_sent_samples_total", destination="guests") > 0
        may_read = sorted(str(p.relative_to(asks)) for p in asks.rglob("*") if not p.is_symlink() and p.stat().st_gid == GROUP
                          and p.stat().st_mode & 0o070 == (0o050 if p.is_dir() else 0o040))
        zone = ["", "/energy_uj", "/max_energy_range_uj", "/name"]
        assert may_read == sorted(["class", *(z + f for z in ("intel-rapl:0", "intel-rapl:0:0") for f in zone)]), may_read
        # Made anew, as with a guest: whole again.
        shutil.rmtree(asks)
        folder_of_guest(asks)
        used(folder, 110, 20)
        wait_for("the folder made anew", 20, lambda: all((asks / "class/powercap/intel-rapl:0" / f).exists() for f in
                                                         ("name", "max_energy_range_uj", "energy_uj")))
    assert not (guests / "db").exists(), "only who asks"
    for path in asks.rglob("*"):
        assert path.is_symlink() or path.stat().st_mode & 0o007 == 0, f"{path} is everybody's"
    print("a guest's own energy: read back as node_rapl_package_joules_total and vitald_energy_joules_total, 7.5 J and 3 J")
