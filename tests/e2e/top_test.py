#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`vitald top` in a terminal that is resized, in one that can do nothing and in a pipe; it leaves a terminal as it was."""

import fcntl
import http.server
import json
import os
import pathlib
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, free_port, get, patience, vitald, wait_for  # noqa: E402


class Terminal:
    """A program in a terminal of this size; `screen` is all that it has written."""

    def __init__(self, argv, columns, rows, term="xterm"):
        self.screen = ""
        self.parent, child = pty.openpty()
        self.resize(columns, rows, tell=False)
        self.before = termios.tcgetattr(child)
        self.child = child
        self.process = subprocess.Popen(argv, stdin=child, stdout=child, stderr=child, start_new_session=True,
                                        env={**os.environ, "TERM": term})
        os.set_blocking(self.parent, False)

    def resize(self, columns, rows, tell=True):
        fcntl.ioctl(self.parent, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        if tell:
            self.process.send_signal(signal.SIGWINCH)

    def read(self):
        try:
            self.screen += os.read(self.parent, 1 << 16).decode(errors="replace")
        except BlockingIOError:
            pass
        return self.screen

    def last(self):
        """What was drawn last."""
        return self.read().rpartition("\x1b[H")[2]

    def press(self, keys):
        os.write(self.parent, keys.encode())

    def ends(self):
        """Its exit status; the terminal is as it was."""
        end = time.monotonic() + 20
        while self.process.poll() is None and time.monotonic() < end:
            self.read()
            time.sleep(0.02)
        self.read()
        assert termios.tcgetattr(self.child) == self.before, "the terminal is another than before"
        os.close(self.child)
        os.close(self.parent)
        return self.process.wait(1)


began = time.time()
with vitald("--history.without-rules", "--pipeline.interval=1s") as (_, url):
    top = [VITALD, "top", f"--url={url}", "--interval=500ms"]
    wait_for("a verdict", 30, lambda: subprocess.run([VITALD, "verdict", f"--url={url}"], capture_output=True).returncode in (0, 2), 0.5)

    # A history of three seconds before a longer window explains nothing, and says so.
    wait_for("a window", 30, lambda: time.time() > began + 10, 0.2)
    status, _, said = get(f"{url}/api/v1/explain?start={began + 3:.0f}&baseline=20m")
    assert status == 400 and b"before the window of" in said, (status, said)

    t = Terminal(top, 100, 30)
    wait_for("a screen", 20, lambda: "OWNERS" in t.last(), 0.1)
    assert "\x1b[?1049h" in t.screen and "CPU*" in t.last(), t.last()
    t.press("\x1b[C")
    wait_for("sorted by waiting", 20, lambda: "WAIT*" in t.last(), 0.1)
    t.press("\x1b[D")
    wait_for("sorted by CPU again", 20, lambda: "CPU*" in t.last(), 0.1)
    t.resize(30, 5)
    wait_for("a small screen", 20, lambda: 0 < t.last().count("\r\n") <= 4 and "OWNERS" not in t.last(), 0.1)
    t.press("q")
    assert t.ends() == 0
    assert t.screen.endswith("\x1b[?25h\x1b[?1049l"), repr(t.screen[-40:])

    for how in ("\x03", signal.SIGTERM):
        t = Terminal(top, 80, 24)
        wait_for("a screen", 20, lambda: "VERDICT" in t.last(), 0.1)
        if isinstance(how, str):
            t.press(how)
        else:
            t.process.send_signal(how)
        assert t.ends() == 0, how

    # A terminal that can do nothing, and no terminal: one look, as text.
    t = Terminal(top, 80, 24, term="dumb")
    assert t.ends() == 0
    assert "vitald top" in t.screen and "\x1b" not in t.screen, t.screen
    piped = subprocess.run([*top, "--once"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    assert piped.returncode == 0 and piped.stdout.startswith("vitald top") and "\x1b" not in piped.stdout, piped
    assert subprocess.run([VITALD, "top", "--interval=1"], capture_output=True).returncode == 1

    registration = subprocess.run([VITALD, "registration", f"--url={url}"], capture_output=True, text=True, timeout=20)
    assert registration.returncode == 0 and '"endpoint_url"' in registration.stdout, registration
    help_ = subprocess.run([VITALD, "registration", "--help"], capture_output=True, text=True, timeout=20)
    assert help_.returncode == 0 and help_.stdout.startswith("usage: vitald registration"), help_


class Stub(http.server.BaseHTTPRequestHandler):
    """A vitald of which `answers` are there, by the path's end; the others hang."""
    answers = {}
    hang = threading.Event()

    def do_GET(self):
        name = self.path.split("?")[0].rpartition("/")[2]
        if name not in self.answers:
            return self.hang.wait(60)
        body = json.dumps({"status": "success", "data": self.answers[name]}).encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


stub = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Stub)
stub.daemon_threads = True
threading.Thread(target=stub.serve_forever, daemon=True).start()
top = [VITALD, "top", f"--url=http://127.0.0.1:{stub.server_port}"]


def fires(name, severity, **more):
    return {"labels": {"alertname": name}, "annotations": {}, "state": "firing", "severity": severity,
            "activeAt": "2026-01-01T10:00:00Z", "firedAt": "2026-01-01T10:05:00Z", **more}


# Which alerts are told, since when, and that nobody hears of some.
def alerts_of(*alerts):
    Stub.answers = {"utilization": {"name": "x"}, "verdict": None, "query": {"result": []}, "alerts": {"alerts": alerts}}
    out = subprocess.run([*top, "--once"], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    assert out.returncode == 0, out
    return out.stdout.partition("ALERTS   ")[2].split("OWNERS")[0].splitlines()


assert alerts_of(fires("Watchdog", "none")) == ["0 firing"]
assert alerts_of(fires("A", "warning", silencedBy=["1"], inhibitedBy=["2"]), fires("B", "critical", inhibitedBy=["2"]),
                 fires("C", "warning", silencedBy=[], inhibitedBy=[])) == [
    "3 firing, 2 muted", "  warning  C since 2026-01-01T10:05:00Z", "  critical B since 2026-01-01T10:05:00Z (inhibited)",
    "  warning  A since 2026-01-01T10:05:00Z (silenced, inhibited)"]

# It can be left at once while what it asks hangs, all of it or a part.
for answers in ({}, {"utilization": {"name": "x"}}):
    Stub.answers = answers
    for how in ("q", "\x03", signal.SIGTERM):
        t = Terminal(top, 80, 24)
        wait_for("it is there", 20, lambda: "\x1b[?1049h" in t.read(), 0.05)
        time.sleep(0.3)  # it asks
        begin = time.monotonic()
        if isinstance(how, str):
            t.press(how)
        else:
            t.process.send_signal(how)
        assert t.ends() == 0, how
        took = time.monotonic() - begin
        assert took < patience(2), (answers, how, took)
# And shows what there is within seconds, whatever hangs, and what has not answered: no line of alerts would say that none fires.
there = {"utilization": {"name": "x"}, "verdict": None, "query": {"result": []}, "alerts": {"alerts": [fires("A", "critical")]}}
told = {"utilization": ("MEM  [", "GAUGES   not answered"), "verdict": ("VERDICT  not known", "VERDICT  not answered"),
        "alerts": ("ALERTS   1 firing", "ALERTS   not answered"), "query": ("OWNERS   none", "OWNERS   not answered")}
for some in (("utilization",), ("alerts",), ("verdict", "query", "alerts")):
    Stub.answers = {name: there[name] for name in some}
    t = Terminal(top, 80, 24)
    wait_for("a screen", 10, lambda: "VERDICT" in t.last(), 0.1)
    time.sleep(0.2)  # all of it
    for name, (known, unanswered) in told.items():
        want, other = (known, unanswered) if name in some else (unanswered, known)
        assert want in t.last() and other not in t.last(), (some, name, t.last())
    t.press("q")
    assert t.ends() == 0
Stub.hang.set()
stub.shutdown()

gone = f"--url=http://127.0.0.1:{free_port()}"
for command in ("top", "verdict", "registration"):
    refused = subprocess.run([VITALD, command, gone], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    assert refused.returncode == 1 and "is vitald running there?" in refused.stderr, refused
print("top: in a terminal, resized, dumb, and in a pipe")
