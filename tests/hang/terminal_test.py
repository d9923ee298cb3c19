#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Samples as lines to a terminal that nobody reads (`docker run -t`): what is pushed elsewhere and scrapes go on, the
attempt fails in its time, and SIGTERM ends at once."""

import os
import pathlib
import pty
import signal
import subprocess
import sys
import tempfile
import time
import tty

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from frozen import scrapes_in_time  # noqa: E402
from harness import VITALD, answers, free_port, patience, wait_for  # noqa: E402


def main():
    ours, theirs = pty.openpty()
    tty.setraw(theirs)
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryFile() as log:
        config = pathlib.Path(folder, "vitald.yaml")
        config.write_text('push: {json_lines: [{name: out, path: "-", interval: 1s, timeout: 2s}]}\n')
        process = subprocess.Popen([VITALD, f"--web.listen-address=127.0.0.1:{port}", f"--config.file={config}",
                                    "--state.directory=", "--no-evidence.last-words"], stdout=theirs, stderr=log)
        try:
            os.close(theirs)
            wait_for("an answer", 20, lambda: answers(url + "/-/ready"))
            def failed(samples):
                return sum(v for (name, labels), v in samples.items()
                           if name == "vitald_delivery_failed_total" and dict(labels).get("destination") == "out")
            _, samples = scrapes_in_time(url, 20, failed)
            assert failed(samples), {k: v for k, v in samples.items() if "delivery" in k[0]}
            began = time.monotonic()
            process.send_signal(signal.SIGTERM)
            process.wait(10)
            took = time.monotonic() - began
            assert took < patience(2), took
            print(f"SIGTERM {took * 1000:.0f} ms")
        finally:
            process.kill()
            process.wait()
            os.close(ours)


main()
