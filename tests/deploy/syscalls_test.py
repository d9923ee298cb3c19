#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The unit's SystemCallFilter= has every system call that vitald, its workers and what starts its hooks make: one that is
new and refused would be an error on each host, and none here."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, VITALD, free_port, metrics, need, running, skip_sanitized, wait_for, wait_for_probes  # noqa: E402

need("strace", "systemd-analyze")
skip_sanitized("it makes system calls of its own")


def groups():
    """{"@clock": {"adjtimex", ...}}"""
    text = subprocess.run(["systemd-analyze", "syscall-filter", "--no-pager"], capture_output=True, text=True, check=True).stdout
    found, current = {}, None
    for line in re.sub(r"\x1b\[[0-9;]*m", "", text).splitlines():
        if line.startswith("@"):
            current = found.setdefault(line.strip(), set())
        elif current is not None and re.match(r"\s+[@\w-]+$", line):
            current.add(line.strip())
    return found


def flat(names, known):
    out = set()
    for name in names:
        out |= flat(known[name], known) if name.startswith("@") else {name}
    return out


def allowed():
    known, out = groups(), set()
    for line in re.findall(r"^SystemCallFilter=(.*)", (TOP / "deploy/systemd/vitald.service").read_text(), re.M):
        words = flat(line.removeprefix("~").split(), known)
        out = out - words if line.startswith("~") else out | words
    return out


def used(trace):
    """Of vitald's own processes: a hook's program is somebody else's, and is asked about when it is configured."""
    calls, hooks = {}, set()
    for line in trace.read_text(errors="replace").splitlines():
        found = re.match(r"(\d+) +(?:<\.\.\. )?(\w+)(\(| resumed)", line)
        if not found:
            continue
        pid, call = found[1], found[2]
        if call == "execve" and "/bin/true" in line:
            hooks.add(pid)
        elif pid not in hooks:
            calls.setdefault(call, line)
    return calls


with tempfile.TemporaryDirectory(prefix="vitald-syscalls-") as scratch:
    folder = pathlib.Path(scratch)
    (folder / "rules.yaml").write_text("thresholds: [{metric: node_load1, op: '>=', value: 0, severity: none, for: 0s}]\n")
    (folder / "vitald.yaml").write_text(f"rules: {{files: [{folder}/rules.yaml]}}\npipeline: {{interval: 1s}}\n"
                                        "notify: {commands: [{name: h, command: [/bin/true]}]}\n")
    off = re.findall(r"--\[no-\](collector\.\w+) .*default: disabled", subprocess.run(
        [VITALD, "--help"], capture_output=True, text=True, check=True).stdout)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    flags = [f"--web.listen-address=127.0.0.1:{port}", f"--config.file={folder}/vitald.yaml",
             f"--state.directory={folder}/state", "--web.max-age=0", *(f"--{c}" for c in off if c != "collector.disable-defaults")]
    rights, program = [], VITALD
    if os.geteuid() == 0:  # as the unit: root asks for more, to run a hook as somebody else
        need("setpriv")
        some = "-all,+bpf,+perfmon,+dac_read_search"
        rights = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", f"--inh-caps={some}", f"--ambient-caps={some}"]
        program = folder / "vitald"
        subprocess.run(["cp", VITALD, program], check=True)
        os.chown(folder, 65534, 65534)
    with running([*rights, "strace", "-f", "-qq", "-o", folder / "trace", program, *flags], url + "/-/ready", seconds=60) as strace:
        wait_for_probes(strace, url)
        ran = lambda: any(n == "vitald_hook_runs_total" and v > 0 for (n, _), v in metrics(url)[1].items())  # noqa: E731
        wait_for("a hook to run", 30, ran)
        (pid,) = [int(p) for p in pathlib.Path(f"/proc/{strace.pid}/task/{strace.pid}/children").read_text().split()]
        os.kill(pid, 1)  # reload
        (folder / "rules.yaml").write_text("groups: []\n")
        subprocess.run(["curl", "-s", "-X", "POST", url + "/-/reload"], capture_output=True)
        os.kill(pid, 15)
        wait_for("the end", 10, lambda: not strace.alive())
    calls = used(folder / "trace")

may = allowed()
missing = {c: line for c, line in calls.items() if c not in may}
print(f"{len(calls)} system calls used, {len(may)} allowed")
for call, line in missing.items():
    print(f"SystemCallFilter= lacks {call}: {line[:160]}")
sys.exit(1 if missing or len(calls) < 40 else 0)
