#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Programs that print metrics: they run at their intervals as whom they should, hang without harm, replace nobody's family,
and what is wrong with them is said by --config.check, vitald doctor and a metric."""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, get, metrics, vitald, wait_for  # noqa: E402

QUIET = ("--collector.disable-defaults", "--collector.self", "--collector.loadavg", "--collector.exec")


def sh(name, text, **more):
    return {"name": name, "command": ["/bin/sh", "-c", text], "every": "1s", **more}


def configured(folder, programs):
    path = pathlib.Path(folder, "vitald.yaml")
    path.write_text(json.dumps({"exec": programs}))
    return f"--config.file={path}"


def check(folder, text):
    path = pathlib.Path(folder, "check.yaml")
    path.write_text(text)
    done = subprocess.run([VITALD, f"--config.file={path}", "--config.check", *QUIET], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def wrong_settings(folder):
    for settings, want in {
        "name: a": "exec[0]: no 'command', expected a list: program and arguments",
        "command: [/bin/true]": "no 'name'",
        "name: a/b, command: [/bin/true]": "name 'a/b' found",
        "name: a, command: /bin/true": "expected a list: program and arguments (no shell)",
        "name: a, command: [true]": "'true' is not an absolute path",
        "name: a, command: [/bin/true], every: 1ms": "is outside 1s..",
        "name: a, command: [/bin/true], nice: 5": "exec[0].nice: unknown key",
    }.items():
        code, said = check(folder, "exec:\n  - {" + settings + "}\n")
        assert code == 1 and want in said and "check.yaml:2:" in said, (settings, code, said)
    code, said = check(folder, "exec:\n  - {name: a, command: [/no/such]}\n  - {name: b, command: [/etc/passwd]}\n"
                               "  - {name: c, command: [/bin/true], user: nosuchuser}\n")
    for place, want in (("2:", "/no/such"), ("3:", "not executable"), ("4:", "nosuchuser")):
        if place == "4:" and os.geteuid() != 0:
            continue
        assert any(f"check.yaml:{place}" in line and want in line for line in said.splitlines()), (place, want, said)
    assert code == 1
    code, said = check(folder, "exec:\n  - {name: a, command: [/bin/true]}\n")
    assert code == 0, said


def series(url):
    return metrics(url)[1]


def of(samples, name, program):
    return samples.get((name, (("program", program),)))


def runs(folder):
    programs = [
        sh("good", "echo '# TYPE app_jobs gauge'; echo \"app_jobs{who=\\\"$(id -un)\\\",name=\\\"$VITALD_EXEC\\\"} 4\""),
        sh("thief", "echo '# TYPE node_load1 counter'; echo 'node_load1 99'; echo 'thief_own 1'"),
        sh("hangs", "sleep 1000 & sleep 1000", timeout="500ms"),
        sh("fails", "echo no luck >&2; exit 7"),
        sh("twice", "echo '# TYPE app_jobs counter'; echo 'app_jobs 1'"),
        {"name": "gone", "command": ["/no/such/program"], "every": "1s"},
    ]
    flag = configured(folder, programs)
    secret = {**os.environ, "INFLUX_TOKEN": "s3cr3t"}
    with vitald(flag, "--web.max-age=0", *QUIET, env=secret) as (process, url):
        wait_for("first runs", 30, lambda: all(of(series(url), "vitald_exec_success", p["name"]) is not None for p in programs))
        samples = series(url)
        who = "nobody" if os.geteuid() == 0 else subprocess.run(["id", "-un"], capture_output=True, text=True).stdout.strip()
        assert samples[("app_jobs", (("name", "good"), ("who", who)))] == 4, [k for k in samples if k[0] == "app_jobs"]
        good = {p["name"]: of(samples, "vitald_exec_success", p["name"]) for p in programs}
        assert good == {"good": 1, "thief": 1, "hangs": 0, "fails": 0, "twice": 1, "gone": 0}, good
        # What others have stays theirs.
        assert samples[("node_load1", ())] != 99 and samples[("thief_own", ())] == 1
        assert ("app_jobs", ()) not in samples
        assert samples[("vitald_conflicts", ())] >= 1
        before = time.monotonic()
        for _ in range(20):
            assert get(url + "/metrics")[0] == 200
        assert time.monotonic() - before < 10  # one that hangs holds up no scrape
        wait_for("each again", 20, lambda: all(series(url).get(("vitald_exec_runs_total", (
            ("program", name), ("result", how))), 0) >= 2 for name, how in (
                ("good", "ok"), ("hangs", "timeout"), ("fails", "failed"), ("gone", "not_started"))))
        # None is left behind.
        left = subprocess.run(["pgrep", "-c", "-P", str(process.pid)], capture_output=True, text=True).stdout.strip()
        assert int(left or 0) <= 3, left
        # A reload takes one away and brings another one.
        configured(folder, [programs[0], sh("new", "echo new_one 1")])
        urllib.request.urlopen(urllib.request.Request(url + "/-/reload", method="POST"), timeout=20).close()
        wait_for("the new one", 20, lambda: ("new_one", ()) in series(url))
        assert of(series(url), "vitald_exec_success", "hangs") is None
        assert "s3cr3t" not in process.output()
    configured(folder, programs)
    said = subprocess.run([VITALD, "doctor", flag, *QUIET, "--state.directory="], capture_output=True, text=True, timeout=60).stdout
    line = next(text for text in said.splitlines() if "exec" in text and "programs good" in text)
    # What Configuration says of a program is said once.
    assert "fails: exit status 7: no luck" in said and "of others Configuration says why" in line and said.count("/no/such/program") == 1, said
    print("exec:", line.strip()[:150])


with tempfile.TemporaryDirectory() as top:
    pathlib.Path(top).chmod(0o755)
    wrong_settings(top)
    runs(top)
