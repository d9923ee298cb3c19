#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A FIFO where the kernel would have an attribute: opening or reading it plainly would wait forever."""

import os
import pathlib
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from frozen import scrapes_in_time  # noqa: E402
from harness import vitald  # noqa: E402


def main():
    with tempfile.TemporaryDirectory() as name:
        sysfs = pathlib.Path(name)
        for chip, temperature in (("hwmon0", None), ("hwmon1", "42000\n")):
            folder = sysfs / "class/hwmon" / chip
            folder.mkdir(parents=True)
            (folder / "name").write_text(f"chip{chip[-1]}\n")
            if temperature is None:
                os.mkfifo(folder / "temp1_input")
            else:
                (folder / "temp1_input").write_text(temperature)
        flags = ["--web.max-age=0", "--collector.disable-defaults", "--collector.loadavg", "--collector.hwmon",
                 f"--path.sysfs={sysfs}"]
        with vitald(*flags) as (_, url):
            for writer in (False, True):  # nobody has it open for writing, or somebody silent does
                held = os.open(sysfs / "class/hwmon/hwmon0/temp1_input", os.O_RDWR) if writer else None
                slowest, samples = scrapes_in_time(url, 1)
                temperatures = {dict(labels)["chip"]: v for (n, labels), v in samples.items()
                                if n == "node_hwmon_temp_celsius"}
                assert temperatures == {"chip1": 42}, temperatures
                print(f"{'a silent writer' if writer else 'no writer'}: slowest scrape {slowest * 1000:.0f} ms")
                if held is not None:
                    os.close(held)


main()
