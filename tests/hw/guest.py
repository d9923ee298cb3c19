#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""guest.py VITALD, inside the lab's virtual machine: what vitald says of its hardware beside what sensors, ipmitool and
node_exporter say, value by value; then values are turned."""

import contextlib
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time

from guest_harness import bad, check, law, near, of, scrape, started, wait_for

VITALD = sys.argv[1]
PORT, THEIRS = 9118, 9119
COLLECTORS = ("hwmon", "sensors", "powersupplyclass", "energy_meters", "ipmi", "host_power", "energy", "utilization", "cpu")


def knob(name, value):
    subprocess.run(["knob", name, str(value)], check=True)


def beside_sensors(mine):
    theirs = json.loads(subprocess.run(["sensors", "-j"], check=True, capture_output=True, text=True).stdout)
    kinds = {"in": ("vitald_sensor_voltage_volts", 1), "fan": ("vitald_sensor_fan_rpm", 1),
             "temp": ("vitald_sensor_temperature_celsius", 1), "power": ("vitald_sensor_power_watts", 1),
             "energy": ("vitald_sensor_energy_joules_total", 1), "curr": ("vitald_sensor_current_amperes", 1),
             "humidity": ("vitald_sensor_humidity_ratio", 0.01)}
    chips = {}
    for (name, labels), _ in mine.items():
        if name == "vitald_sensor_info":
            labels = dict(labels)
            chips.setdefault(labels["libsensors_chip"], set()).add(labels["chip"])
    same, missing, kinds_seen = 0, [], set()
    for chip, features in theirs.items():
        for feature, values in features.items():
            if not isinstance(values, dict):
                continue
            for name, value in values.items():
                m = re.match(r"([a-z]+)(\d+)_(input|average)$", name)
                if not m or m[1] not in kinds or (m[3] == "average" and f"{m[1]}{m[2]}_input" in values):
                    continue
                family, scale = kinds[m[1]]
                got = [of(mine, family, chip=c, sensor=m[1] + m[2]) for c in chips.get(chip, ())]
                # Counters move between the two looks, and so do ibmaem's averages of one second.
                moves = m[1] == "energy" or m[3] == "average" and chip.startswith("aem")
                if any(v is not None and (moves or near(v, value * scale, 0.05)) for v in got):
                    same += 1
                    kinds_seen.add(m[1])
                else:
                    missing.append(f"{chip} {name}: {value * scale}, not {got}")
    for line in missing:
        print("  ", line)
    check(same > 20 and not missing, f"{same} readings of sensors -j are the same, of {', '.join(sorted(kinds_seen))}")


def beside_node_exporter(mine):
    exporter = shutil.which("prometheus-node-exporter")
    if not exporter:
        print("skipped  node_exporter is not installed")
        return
    with started(exporter, f"--web.listen-address=127.0.0.1:{THEIRS}", "--collector.disable-defaults", "--collector.hwmon",
                 "--collector.powersupplyclass"):
        theirs = wait_for("node_exporter answers", 60, lambda: scrape(THEIRS))
    # Its 1.5 has other chip names for some; series of both have to agree. What counts or is a second's average moves.
    moving = ("energy", "power_average", "power_watt", "freq", "capacity", "charge", "current")
    both = [k for k in theirs if k in mine and k[0].startswith(("node_hwmon", "node_power_supply"))
            and not any(word in k[0] for word in moving)]
    other = [k for k in both if not near(mine[k], theirs[k], 0.05)]
    for key in other:
        print("  ", key, mine[key], theirs[key])
    check(len(both) > 30 and not other, f"{len(both)} series of node_exporter are the same")


def beside_ipmitool(mine):
    def run(*argv):
        return subprocess.run(["ipmitool", *argv], capture_output=True, text=True).stdout

    units = {"degrees C": "ipmi_temperature_celsius", "RPM": "ipmi_fan_speed_rpm", "Volts": "ipmi_voltage_volts",
             "Amps": "ipmi_current_amperes", "Watts": "ipmi_power_watts"}
    same, other = 0, []
    for line in run("sensor").splitlines():
        name, value, unit, *_ = [part.strip() for part in line.split("|")]
        if unit not in units or value == "na":
            continue
        got = of(mine, units[unit], name=name)
        if got is not None and near(got, float(value), 0.03):
            same += 1
        else:
            other.append(f"{name}: {value} {unit}, not {got}")
    for line in other:
        print("  ", line)
    check(same >= 10 and not other, f"{same} sensors of ipmitool are the same")
    reading = re.search(r"Instantaneous power reading: *(\d+) Watts", run("dcmi", "power", "reading"))
    got = of(mine, "ipmi_dcmi_power_consumption_watts")
    check(bool(reading) and got is not None and near(got, float(reading[1]), 0.03),
          f"DCMI: {got} W, ipmitool says {reading and reading[1]}")


with tempfile.TemporaryDirectory() as state:
    argv = [VITALD, f"--web.listen-address=127.0.0.1:{PORT}", f"--state.directory={state}", "--collector.disable-defaults",
            "--probe.runq_latency", "--pipeline.interval=1s", "--history.without-rules",
            *(f"--collector.{name}" for name in COLLECTORS)]
    with started(*argv):
        # Each in a process of its own, which comes when it comes; ibmaem's averages take a second each.
        theirs = json.loads(subprocess.run(["sensors", "-j"], check=True, capture_output=True, text=True).stdout)

        def all_there():
            s = scrape(PORT)
            chips = {dict(labels)["libsensors_chip"]: dict(labels)["chip"] for (name, labels) in s if name == "vitald_sensor_info"}
            read = {dict(labels)["chip"] for (name, labels) in s if name == "vitald_sensor_read_seconds"}
            hwmon = {dict(labels)["chip"] for (name, labels) in s if name == "vitald_hwmon_read_seconds"}
            return (set(theirs) <= set(chips) and set(chips.values()) <= read & hwmon
                    and of(s, "ipmi_up", collector="ipmi") == 1 and s)

        first = wait_for("all chips and the BMC", 180, all_there)
        if not first:
            for (name, labels), value in scrape(PORT).items():
                if name in ("node_scrape_collector_success", "vitald_worker_deadline_kills_total", "vitald_worker_crashes_total"):
                    print("  ", name, dict(labels), value)
        if first:
            beside_sensors(first)
            beside_node_exporter(first)
            beside_ipmitool(first)

        # The platform's meter is turned.
        source = [dict(labels)["source"] for (name, labels) in scrape(PORT) if name == "vitald_host_power_watts"]
        check(source == ["acpi_power_meter"], f"the host's power comes from {source}")
        knob("power_mw", 712000)
        check(bool(wait_for("712 W", 90, lambda: of(scrape(PORT), "vitald_host_power_watts", source="acpi_power_meter") == 712)),
              "the platform's meter is at 712 W, and so is vitald_host_power_watts")

        # The BMC's sensors follow, and their state.
        knob("bmc.cpu_temp", 97)
        hot = wait_for("97 degrees", 90, lambda: (s := scrape(PORT)) and of(s, "ipmi_temperature_celsius", name="CPU1 Temp") == 97 and s)
        check(bool(hot) and of(hot, "ipmi_temperature_state", name="CPU1 Temp") == 2, "CPU1 Temp is at 97 degrees and critical")
        # And a chip's on the bus.
        knob("lm90_remote_c", 103)
        hot = wait_for("103 degrees", 60, lambda: (s := scrape(PORT)) and any(
            name == "vitald_sensor_temperature_celsius" and 103 <= v < 104 for (name, _), v in s.items()) and s)
        states = [dict(labels)["state"] for (name, labels), v in (hot or {}).items()
                  if name == "vitald_sensor_state" and v == 1 and dict(labels)["sensor"] == "temp2"]
        check("critical" in states, f"a chip at 103 degrees is critical: {states}")

        # RAPL: 180 W are 180 J a second, also through a wrap.
        def watts(seconds, **labels):
            def look():
                return time.monotonic(), of(scrape(PORT), "vitald_energy_joules_total", **labels)
            begin, before = look()
            time.sleep(seconds)
            end, after = look()
            return (after - before) / (end - begin) if None not in (before, after) else None

        knob("rapl.pkg_w", 180)
        time.sleep(5)
        got = watts(15, domain="package")
        check(got is not None and near(got, 180, 0.1), f"RAPL's package is at 180 W: {got}")
        knob("rapl.pkg_raw", 2**32 - 40_000_000)  # 2.4 kJ before its end: set forward, and then it wraps
        time.sleep(5)
        breaks = of(scrape(PORT), "vitald_energy_meter_breaks_total", domain="package", kind="reset")
        got = watts(20, domain="package")
        raw = int(open("/sys/class/powercap/intel-rapl-mmio:0/energy_uj").read())
        check(got is not None and near(got, 180, 0.1) and raw < 100_000_000_000,
              f"and through a wrap: {got} (the counter is at {raw} uJ; {breaks:.0f} time that it was set is told)")

        found = scrape(PORT)
        parts, counter = law(found)
        check(counter > 1000 and abs(parts - counter) <= 0.001 * counter,
              f"owners, idle, gone and unattributed are {parts:.6f} J, the counter {counter:.6f} J")
        owners = {dict(labels).get("owner"): v for (name, labels), v in found.items()
                  if name == "vitald_owner_energy_joules_total" and v > 0}
        print("   energy by owner:", owners, "idle", of(found, "vitald_package_idle_power_watts"))
sys.exit(f"{len(bad)} things are not as they should be" if bad else 0)
