#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A guest that asks has its own energy: a vitald of the host writes the folder, and one that stands for the guest's reads it
back as powercap, by both of its collectors, while it grows."""

import json
import pathlib
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


with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    guests, asks = folder / "guests", folder / "guests/web"
    (folder / "text").mkdir()
    asks.mkdir(parents=True)
    asks.chmod(0o2750)
    used(folder, 100, 10)
    config = folder / "vitald.yaml"
    config.write_text("push: " + json.dumps({"guest_energy": [{"name": "guests", "path": str(guests), "interval": "200ms"}]}))
    host = vitald(f"--config.file={config}", "--state.directory=", "--collector.disable-defaults", "--collector.textfile",
                  f"--collector.textfile.directory={folder}/text", "--collector.self", "--web.max-age=100ms")
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
    assert not (guests / "db").exists(), "only who asks"
    for path in asks.rglob("*"):
        assert path.is_symlink() or path.stat().st_mode & 0o007 == 0, f"{path} is everybody's"
    print("a guest's own energy: read back as node_rapl_package_joules_total and vitald_energy_joules_total, 7.5 J and 3 J")
