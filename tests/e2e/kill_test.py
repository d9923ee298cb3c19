#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""kill -9 at random points while alerts fire and resolve against an Alertmanager, a webhook and a command: no transition
is lost, none comes without cause, what comes twice has the same key. Short in the suite; by hand:

    KILLS=200 SEED=7 VITALD=build/release/vitald python3 tests/e2e/kill_test.py

KILL_SIGNAL=TERM ends it properly instead (MIXED=1: in a third of the runs), RELOADS=1 reloads before each kill, CLOCK=1
steps the host's clock by an hour in a third of the runs, forth or back (package libfaketime; what an Alertmanager makes of
times that are not its own is not judged then). In a fifth of the runs the disk of the state
folder is full (where a tmpfs can be mounted); then an alert may be told again under a new number, and is not lost.
"""

import contextlib
import http.server
import json
import os
import pathlib
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, free_port, get_json, need, running, skip, which  # noqa: E402

need("prometheus-alertmanager")
KILLS = int(os.environ.get("KILLS", "6"))
SEED = int(os.environ.get("SEED", "1"))
SIGNAL = getattr(signal, "SIG" + os.environ.get("KILL_SIGNAL", "KILL"))
RELOADS, MIXED, CLOCK = (bool(os.environ.get(name)) for name in ("RELOADS", "MIXED", "CLOCK"))
FAKETIME = next(pathlib.Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
ALERTS = 5
chance = random.Random(SEED)
if CLOCK and FAKETIME is None:
    skip("libfaketime is not installed; ./dev setup installs it")

RULES = """
groups:
  - name: test
    interval: 100ms
    rules:
      - {alert: Test, expr: test_value > 0, labels: {severity: warning}}
"""
CONFIG = """
pipeline: {{interval: 100ms}}
rules: {{series_label: [instance=lab1], files: [rules.yaml]}}
notify:
  commands:
    - {{name: recorder, command: [{top}/hook], timeout: 5s}}
  alertmanagers:
    - {{name: am, urls: ["http://127.0.0.1:{am}"], resend_every: 2s, timeout: 2s}}
  webhooks:
    - {{name: hook, url: "http://127.0.0.1:{hook}/", timeout: 2s}}
"""
HOOK = """#!/bin/sh
echo "$VITALD_ALERT_LABELS $VITALD_ALERT_STATUS $VITALD_ALERT_TRANSITION" >> {top}/told
"""


class Webhook(http.server.ThreadingHTTPServer):
    daemon_threads = True
    dead = False

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.told, self.lock = [], threading.Lock()
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        with contextlib.suppress(ValueError, OSError):
            message = json.loads(body)
            if not self.server.dead:
                with self.server.lock:
                    self.server.told += [(a["labels"]["n"], a["status"], a["transition"]) for a in message["alerts"]]
            self.send_response(503 if self.server.dead else 200)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_):
        pass


def once(told):
    """Without what came twice with the same key, in the order of first arrival."""
    seen, out = set(), []
    for n, status, number in told:
        if (n, status, number) not in seen:
            seen.add((n, status, number))
            out.append((n, status, number))
    return out


with tempfile.TemporaryDirectory() as top, contextlib.ExitStack() as stack:
    folder = pathlib.Path(top)
    folder.chmod(0o755)
    (folder / "state").mkdir()
    full = None
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "none", f"{top}/state"], capture_output=True).returncode == 0:
        stack.callback(subprocess.run, ["umount", "-l", f"{top}/state"], check=True)
        full = folder / "state/filler"
    else:
        print("no tmpfs can be mounted: the disk is never full")
    (folder / "textfiles").mkdir()
    (folder / "rules.yaml").write_text(RULES)
    (folder / "told").touch()
    (folder / "told").chmod(0o666)
    (folder / "hook").write_text(HOOK.format(top=top))
    (folder / "hook").chmod(0o755)
    hook = Webhook()
    am_port = free_port()
    am = f"http://127.0.0.1:{am_port}"
    (folder / "vitald.yaml").write_text(CONFIG.format(top=top, am=am_port, hook=hook.server_port))
    (folder / "alertmanager.yaml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")
    stack.enter_context(running([which("prometheus-alertmanager"), f"--config.file={top}/alertmanager.yaml",
                                 f"--storage.path={top}/am", f"--web.listen-address=127.0.0.1:{am_port}",
                                 "--cluster.listen-address="], am + "/-/ready", 30))
    wanted = [0] * ALERTS  # what each alert's cause is now

    def write():
        (folder / "t.tmp").write_text("".join(f'test_value{{n="{n}"}} {v}\n' for n, v in enumerate(wanted)))
        os.rename(folder / "t.tmp", folder / "textfiles/t.prom")

    def by_command():
        out = []
        for line in (folder / "told").read_text().splitlines():
            labels, status, number = line.rsplit(" ", 2)
            out.append((json.loads(labels)["n"], status, int(number)))
        return out

    def by_webhook():
        with hook.lock:
            return list(hook.told)

    port = free_port()
    url = f"http://127.0.0.1:{port}"
    log = open(folder / "log", "w", encoding="utf-8")

    # What a step of the wall clock is to a program: CLOCK_REALTIME is another one, the other clocks go on.
    ahead, steps = 0, 0
    environment = dict(os.environ)
    if CLOCK:
        environment.update(LD_PRELOAD=str(FAKETIME), FAKETIME_TIMESTAMP_FILE=f"{top}/clock", FAKETIME_NO_CACHE="1",
                           FAKETIME_DONT_FAKE_MONOTONIC="1", FAKETIME_DONT_RESET="1", NO_FAKE_STAT="1")

    def set_clock():
        (folder / "clock.tmp").write_text(f"{ahead:+d}\n")
        os.rename(folder / "clock.tmp", folder / "clock")

    def start():
        return subprocess.Popen([VITALD, f"--web.listen-address=127.0.0.1:{port}", f"--config.file={top}/vitald.yaml",
                                 "--collector.disable-defaults", "--collector.textfile", "--collector.self",
                                 f"--collector.textfile.directory={top}/textfiles", f"--state.directory={top}/state",
                                 "--web.max-age=0", "--no-evidence.last-words"], stdout=log, stderr=log,
                                stdin=subprocess.DEVNULL, env=environment)

    def firing():
        """What the host itself says; None: it does not answer."""
        try:
            alerts = get_json(url + "/api/v1/alerts?state=firing")["data"]["alerts"]
        except (OSError, AssertionError, ValueError):
            return None
        return {int(a["labels"]["n"]) for a in alerts}

    causes = [0] * ALERTS     # how often each was made to fire, and the host was seen to know it for some rounds
    uncertain = [0] * ALERTS  # ... or not
    fulls = 0

    def settle(seconds):
        """Waits until the host says what the causes are, and has had time to tell it; False: it did not."""
        end = time.monotonic() + seconds
        want = {n for n, v in enumerate(wanted) if v}
        while time.monotonic() < end:
            if firing() == want:
                time.sleep(0.25)
                return firing() == want
            time.sleep(0.03)
        return False

    write()
    set_clock()
    process = start()
    for kill in range(KILLS):
        hook.dead = chance.random() < 0.3
        is_full = full is not None and kill % 5 == 4
        if is_full:
            fulls += 1
            with contextlib.suppress(OSError), open(full, "wb") as f:
                while True:
                    f.write(b"x" * 65536)
                    f.flush()
        for _ in range(chance.randint(1, 3)):
            before = list(wanted)
            for n in range(ALERTS):
                if chance.random() < 0.4:
                    wanted[n] = 1 - wanted[n]
            write()
            if CLOCK and chance.random() < 0.2:
                ahead = 0 if ahead else chance.choice((-3600, 3600))
                steps += 1
                set_clock()
            # Half of the time the kill comes at any point, the other half when all of it is known.
            known = chance.random() < 0.5 and settle(20)
            for n in range(ALERTS):
                if wanted[n] and not before[n]:
                    (causes if known else uncertain)[n] += 1
            if not known:
                time.sleep(chance.random() * 0.6)
        if RELOADS:
            process.send_signal(signal.SIGHUP)
            time.sleep(chance.random() * 0.2)
        process.send_signal(signal.SIGTERM if MIXED and chance.random() < 1 / 3 else SIGNAL)
        process.wait()
        if full is not None:
            full.unlink(missing_ok=True)
        process = start()
    hook.dead = False
    assert settle(60), f"the host says {firing()}, the causes are {wanted}"
    for n in range(ALERTS):  # all is over in the end
        wanted[n] = 0
    write()
    assert settle(60), firing()

    def complete(told):
        last = {}
        for n, status, _ in once(told()):
            last[n] = status
        return all(last.get(str(n), "resolved") == "resolved" for n in range(ALERTS))

    end = time.monotonic() + 90
    while time.monotonic() < end and not (complete(by_command) and complete(by_webhook)):
        time.sleep(0.2)
    process.terminate()
    process.wait()
    problems = []
    for name, told in (("command", by_command()), ("webhook", by_webhook())):
        unique = once(told)
        again = 0
        for n in range(ALERTS):
            mine = [(status, number) for which_one, status, number in unique if which_one == str(n)]
            # By number: a receiver that was away hears things late, and in order.
            numbers = [number for _, number in mine]
            if numbers != sorted(numbers):
                problems.append(f"{name}: alert {n} is told out of order: {mine}")
            states = [status for status, _ in mine]
            repeated = sum(a == b for a, b in zip(states, states[1:])) + (states[:1] == ["resolved"])
            again += repeated
            if states and states[-1] != "resolved":
                problems.append(f"{name}: alert {n} was never told to be over: {mine}")
            count = states.count("firing")
            if count < causes[n]:
                problems.append(f"{name}: alert {n} fired {causes[n]} times for sure and was told {count} times: {mine}")
            if count - repeated > causes[n] + uncertain[n]:
                problems.append(f"{name}: alert {n} fired {causes[n] + uncertain[n]} times at most and was told {count} times")
        if again > 0 and fulls == 0:
            problems.append(f"{name}: {again} transitions without cause")
        print(f"{name}: {len(told)} told, {len(unique)} different, {again} again under a new number ({fulls} times the disk was full)")
    left = [a for a in get_json(am + "/api/v2/alerts")]
    if left and not CLOCK:
        problems.append(f"Alertmanager still has {[a['labels'] for a in left]}")
    print(f"{KILLS} kills (seed {SEED}): {sum(causes)} certain and {sum(uncertain)} uncertain times that an alert fired"
          + (f", {steps} steps of the clock" if CLOCK else ""))
    if problems:
        print((folder / "log").read_text()[-6000:])
    assert not problems, "\n".join(problems)
