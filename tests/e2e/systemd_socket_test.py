#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--web.systemd-socket: the sockets of a service manager are served, and --web.listen-address is not opened."""

import os
import pathlib
import socket
import subprocess
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, free_port, get, running  # noqa: E402

# What systemd does: sockets from descriptor 3 on, LISTEN_PID of the process that exec() makes.
LAUNCH = """
import os, sys
os.environ.update(LISTEN_FDS=sys.argv[1], LISTEN_PID=str(os.getpid()), LISTEN_FDNAMES="a:b")
os.execv(sys.argv[2], sys.argv[2:])
"""


def launch(count, *flags):
    return [sys.executable, "-c", LAUNCH, str(count), VITALD, "--web.systemd-socket", *flags]


def at_three_and_four(one, other):
    """Puts them where systemd would; runs between fork and exec. Out of the way first, they may lie there now."""
    high = [os.dup(fd) for fd in (one, other)]
    high = [os.dup2(fd, 100 + i) for i, fd in enumerate(high)]
    for i, fd in enumerate(high):
        os.dup2(fd, 3 + i, inheritable=True)


with socket.create_server(("127.0.0.1", 0)) as tcp, socket.socket(socket.AF_UNIX) as not_listening:
    url = f"http://127.0.0.1:{tcp.getsockname()[1]}"
    other = free_port()
    second = socket.create_server(("127.0.0.1", 0))
    with running(launch(2, f"--web.listen-address=127.0.0.1:{other}"), url + "/-/ready", close_fds=False,
                 preexec_fn=lambda: at_three_and_four(tcp.fileno(), second.fileno())) as process:
        assert get(url + "/metrics")[0] == 200
        assert get(f"http://127.0.0.1:{second.getsockname()[1]}/metrics")[0] == 200
        with socket.socket() as s:
            assert s.connect_ex(("127.0.0.1", other)) != 0, "--web.listen-address was opened as well"
        environment = pathlib.Path(f"/proc/{process.pid}/environ").read_bytes()
        assert b"LISTEN_FDS=2" in environment  # what exec() was given, so the test tried what it says
    second.close()

    done = subprocess.run([VITALD, "--web.systemd-socket"], capture_output=True, text=True, timeout=20)
    assert done.returncode == 1 and "no sockets from the service manager" in done.stderr, done.stderr

    done = subprocess.run(launch(1), capture_output=True, text=True, timeout=20, close_fds=False,
                          preexec_fn=lambda: at_three_and_four(not_listening.fileno(), not_listening.fileno()))
    assert done.returncode == 1 and "descriptor 3 is no listening stream socket" in done.stderr, done.stderr
print("two sockets of the service manager served")
