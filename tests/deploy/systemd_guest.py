#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""systemd_guest.py OLD.deb NEW.deb PROBE,..., as root of a machine that is thrown away: the package below a real systemd, with the
unit as it is shipped: installed, looked at, reloaded, killed, upgraded with a changed configuration, removed, purged."""

import json
import os
import pathlib
import re
import subprocess
import sys
import time
import urllib.request

OLD, NEW, PROBES = sys.argv[1:3] + [set(sys.argv[3].split(","))]
URL = "http://127.0.0.1:9100"
ETC = pathlib.Path("/etc/vitald")
BEGIN = time.monotonic()
bad = []


def run(*argv, ok=True):
    done = subprocess.run(argv, capture_output=True, text=True, stdin=subprocess.DEVNULL, timeout=600,
                          env=os.environ | {"DEBIAN_FRONTEND": "noninteractive"})
    if ok and done.returncode != 0:
        raise AssertionError(f"{argv}: exit status {done.returncode}\n{done.stdout}{done.stderr}\n{journal()}")
    return done.stdout.strip()


def journal(*more):
    return subprocess.run(["journalctl", "-u", "vitald", "--no-pager", "-o", "cat", *more], capture_output=True, text=True).stdout


def check(good, text):
    print(f"{'ok' if good else 'NOT OK':8} {time.monotonic() - BEGIN:4.0f} s  {text}", flush=True)
    if not good:
        bad.append(text)


def wait_for(what, seconds, condition, say=lambda: ""):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if value := condition():
            return value
        time.sleep(0.5)
    raise AssertionError(f"{what}: not within {seconds} s {say()}\n{journal()[-3000:]}")


def get(path):
    try:
        with urllib.request.urlopen(URL + path, timeout=20) as answer:
            return answer.read().decode()
    except OSError:
        return ""


def properties(*names):
    lines = run("systemctl", "show", "vitald", "-p", ",".join(names)).splitlines()
    return dict(line.split("=", 1) for line in lines)


def pid():
    return properties("MainPID")["MainPID"]


def status_of(process):
    lines = pathlib.Path(f"/proc/{process}/status").read_text().splitlines()
    return {k: v.strip() for k, v in (line.split(":", 1) for line in lines)}


def probes():
    """{name: what vitald says of it}: "up", "shed" (beyond --bpf.budget), or why it is not. An emulated kernel takes
    longer to check a program than vitald waits; until it has, the collector is not on and the probe has no row."""
    found = {}
    for labels, value in re.findall(r"^vitald_probe_up\{(.*)\} (\S+)", get("/metrics"), re.M):
        labels = dict(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels))
        found[labels["probe"]] = "up" if float(value) == 1 else "shed" if labels["hook"] == "shed" else labels["reason"]
    return found


def not_made():
    """{name: state and why} of those that have no row yet. Those of guests have none where there is no KVM, and while
    nobody has it open."""
    agent = get("/api/v1/agent")
    states = {c["name"]: f"{c['state']}: {c['text']}" for c in json.loads(agent)["data"]["collectors"]} if agent else {}
    missing = {name: states.get(name, "not known") for name in sorted(PROBES - set(probes()))}
    return {name: state for name, state in missing.items() if "no KVM here" not in state and "waiting for the first guest" not in state}


# 1. Installed: it runs at once, as its user, with its three capabilities, all probes and the shipped rules.
pathlib.Path("/usr/sbin/policy-rc.d").unlink(missing_ok=True)
run("dpkg", "--no-triggers", "-i", OLD)  # that of man pages takes minutes here
wait_for("the first answer", 300, lambda: get("/-/ready"))
wait_for("each probe's row", 600, lambda: not not_made(), not_made)
up = probes()
shed = sorted(p for p, v in up.items() if v == "shed")  # one per cent of a CPU is little of an emulated one
off = {p: v for p, v in up.items() if v not in ("up", "shed")}
check(not off and len(shed) < len(up), f"{len(up)} probes on Linux {os.uname().release}, beyond the budget: {shed}, not up: {off}")
status = status_of(pid())
user = run("id", "-u", "vitald")
check(status["Uid"].split()[0] == user and int(user) < 1000, f"user {user}, process {status['Uid']}")
check(int(status["CapEff"], 16) == 1 << 39 | 1 << 38 | 1 << 2, f"capabilities {status['CapEff']}")
check(status["NoNewPrivs"] == "1" and status["Seccomp"] == "2", f"no_new_privs {status['NoNewPrivs']}, seccomp {status['Seccomp']}")
groups = json.loads(get("/api/v1/rules"))["data"]["groups"]
wrong = [r["name"] for g in groups for r in g["rules"] if r["health"] not in ("ok", "unknown")]
check(len(groups) >= 9 and not wrong, f"{len(groups)} groups of rules, in trouble: {wrong}")
check("node_memory_MemTotal_bytes" in get("/metrics"), "node_exporter's port has node_exporter's numbers")
told = [line for line in journal().splitlines() if re.search(r"level=(WARN|ERROR)", line)]
refused = [line for line in journal().splitlines() if re.search(r"not permitted|[Pp]ermission denied", line)]
check(not refused, f"nothing is refused to it: {refused[:5]}")
print(f"warnings in the journal: {len(told)}", *told[:10], sep="\n  ", flush=True)
figures = properties("MemoryCurrent", "MemoryPeak", "CPUUsageNSec", "TasksCurrent", "Type", "WatchdogUSec")
print("figures:", figures, "RSS", status["VmRSS"], flush=True)

# 2. A changed configuration with a hook is in force after a reload, and the hook runs below the unit's restrictions.
configuration = (ETC / "vitald.yaml").read_text()
changed = "# changed by the administrator\n"
(ETC / "rules/own.yaml").write_text("thresholds: [{metric: node_load1, op: '>=', value: 0, severity: none, for: 0s}]\n")
hook = pathlib.Path("/usr/local/bin/own-hook")
hook.write_text("#!/bin/sh\necho \"$VITALD_ALERT_NAME $(id -un) $(grep CapEff /proc/self/status)\" >/run/vitald/hook\n")
hook.chmod(0o755)
(ETC / "vitald.yaml").write_text(configuration + f"notify: {{commands: [{{name: own, command: [{hook}]}}]}}\n" + changed)
before = pid()
run("systemctl", "reload", "vitald")
ran = wait_for("the hook", 300, lambda: pathlib.Path("/run/vitald/hook").exists() and pathlib.Path("/run/vitald/hook").read_text())
check(ran.split() == ["node_load1", "vitald", "CapEff:", "0" * 16], f"the hook says: {ran.strip()}")
check(pid() == before, "a reload keeps the process")

# 3. A mistake in it stops nothing, and the journal says where it is.
(ETC / "vitald.yaml").write_text("rulez: {}\n")
run("systemctl", "reload", "vitald", ok=False)
wait_for("the mistake in the journal", 300, lambda: "rulez" in journal())
check(pid() == before and get("/-/healthy") != "", "a mistake in the configuration leaves what was in force")
(ETC / "vitald.yaml").write_text(configuration + changed)
run("systemctl", "reload", "vitald")

# 4. Killed, it comes back.
run("systemctl", "kill", "-s", "KILL", "--kill-who=main", "vitald")
wait_for("another process", 300, lambda: pid() not in ("0", before) and get("/-/ready"))
check(True, "killed, it is started again")

# 5. Upgraded: the changed file stays, the new version runs.
before = pid()
run("dpkg", "--no-triggers", "--force-confdef", "--force-confold", "-i", NEW)
wait_for("the new process", 300, lambda: pid() not in ("0", before) and get("/-/ready"))
check((ETC / "vitald.yaml").read_text().endswith(changed) and (ETC / "vitald.yaml.dpkg-dist").exists(), "the changed file stays")
check(run("systemctl", "is-enabled", "vitald") == "enabled", "enabled")

# 6. Removed and purged.
run("dpkg", "--no-triggers", "-r", "vitald")
check(run("systemctl", "is-active", "vitald", ok=False) != "active" and get("/-/healthy") == "", "removed, it does not run")
state = pathlib.Path("/var/lib/vitald")
check(state.exists(), "its state is kept")
run("dpkg", "--no-triggers", "-P", "vitald")

check(not state.exists() and not (ETC / "vitald.yaml").exists(), "purged, nothing of it is left")
sys.exit(1 if bad else 0)
