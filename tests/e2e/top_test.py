#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`vitald top` in a terminal that is resized, in one that can do nothing and in a pipe; it leaves a terminal as it was."""

import fcntl
import os
import pathlib
import pty
import signal
import struct
import subprocess
import sys
import termios
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, free_port, vitald, wait_for  # noqa: E402


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


with vitald("--history.without-rules", "--pipeline.interval=1s") as (_, url):
    top = [VITALD, "top", f"--url={url}", "--interval=500ms"]
    wait_for("a verdict", 30, lambda: subprocess.run([VITALD, "verdict", f"--url={url}"], capture_output=True).returncode in (0, 2), 0.5)

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

gone = f"--url=http://127.0.0.1:{free_port()}"
for command in ("top", "verdict", "registration"):
    refused = subprocess.run([VITALD, command, gone], capture_output=True, text=True, timeout=20, stdin=subprocess.DEVNULL)
    assert refused.returncode == 1 and "is vitald running there?" in refused.stderr, refused
print("top: in a terminal, resized, dumb, and in a pipe")
