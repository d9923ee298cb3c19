#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""NVIDIA's GPUs through a library of ours that answers by script, in the worker of a real vitald: one that hangs costs its
own numbers; without a driver there is no worker."""

import os
import pathlib
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import get_json, metrics, vitald, wait_for  # noqa: E402

ONE = "driver -1 = 535.1\ncount -1 = 1\nuuid 0 = GPU-a\nname 0 = NVIDIA H200\nminor 0 = 0\nbus 0 = 00000000:0F:00.0\n"


def series(url, name, **labels):
    return [v for (n, have), v in metrics(url)[1].items() if n == name and labels.items() <= dict(have).items()]


with tempfile.TemporaryDirectory() as folder:
    script = pathlib.Path(folder, "script")

    def say(text):
        script.with_suffix(".new").write_text(text)
        script.with_suffix(".new").rename(script)

    say(ONE + f"power 0 = 71250\ncompute 0 = {os.getpid()}:4096\n")
    common = ["--web.max-age=0", "--collector.disable-defaults", "--collector.uname"]
    with vitald(*common, "--collector.nvidia", f"--collector.nvidia.library={os.environ['FAKE_NVML_LIBRARY']}",
                env={**os.environ, "FAKE_NVML": str(script)}) as (_, url):
        wait_for("watts", 20, lambda: series(url, "DCGM_FI_DEV_POWER_USAGE", gpu="0", UUID="GPU-a", device="nvidia0",
                                             modelName="NVIDIA H200") == [71.25])
        assert series(url, "vitald_owner_gpu_memory_bytes", gpu="0") == [4096]

        say(ONE + "power 0 = 60000\nxids -1 = 0:79\n")
        wait_for("the XID", 10, lambda: series(url, "DCGM_FI_DEV_XID_ERRORS", gpu="0") == [79])
        events = get_json(url + "/api/v1/events")["data"]["events"]
        assert [e["fields"]["xid"] for e in events if e["type"] == "gpu_xid"] == ["79"], events

        # A call that does not come back: scrapes do not wait, the worker is ended, and all is well when it answers again.
        say(ONE + "power 0 = sleep 600000 1\n")
        for _ in range(4):
            began = time.monotonic()
            assert series(url, "node_uname_info") == [1]
            assert time.monotonic() - began < 2, "a scrape waits for the GPU"
        wait_for("that it is late", 30, lambda: series(url, "node_scrape_collector_success", collector="nvidia") == [0])
        wait_for("its end", 30, lambda: series(url, "vitald_worker_deadline_kills_total", collector="nvidia")[0] >= 1)
        say(ONE + "power 0 = 50000\n")
        wait_for("watts again", 60, lambda: series(url, "DCGM_FI_DEV_POWER_USAGE", gpu="0") == [50])

    # One that was busy for a second of eight, while nobody asked: NVML has one sample of it and does not tell for how long.
    say(ONE + f"energy 0 = 1000\ncompute 0 = {os.getpid()}:4096\nsamples 0 = ! 6\n")
    with vitald(*common, "--collector.nvidia", f"--collector.nvidia.library={os.environ['FAKE_NVML_LIBRARY']}",
                env={**os.environ, "FAKE_NVML": str(script)}) as (_, url):
        wait_for("its memory", 20, lambda: series(url, "vitald_owner_gpu_memory_bytes", gpu="0") == [4096])
        say(ONE + f"energy 0 = 900000\ncompute 0 = {os.getpid()}:4096\nsamples 0 = {os.getpid()}:1000000:100\n")
        time.sleep(8)
        busy = series(url, "vitald_owner_gpu_utilization_ratio", gpu="0")
        assert len(busy) == 1 and 0.05 <= busy[0] <= 0.6, busy

    # Where there is no driver (a tree of our own): no worker and no error.
    os.makedirs(f"{folder}/proc")
    with vitald("--web.max-age=0", "--collector.disable-defaults", "--collector.self", f"--path.procfs={folder}/proc",
                f"--path.rootfs={folder}") as (process, url):
        assert not series(url, "vitald_worker_starts_total", collector="nvidia")
        assert "nvidia" not in {dict(labels).get("collector") for (name, labels), v in metrics(url)[1].items()
                                if name == "node_scrape_collector_success" and v == 0}
    print("a library that answers by script: watts, XIDs, owners; one call of ten minutes cost its own numbers, a second of "
          f"eight is {busy[0]:.2f}")
