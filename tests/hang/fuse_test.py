#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A file system whose server is frozen: statfs() of it does not come back."""

import http.client
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from frozen import FREEZE, THAW, scrapes_in_time  # noqa: E402
from harness import need, patience, skip, vitald, wait_for  # noqa: E402


def main():
    need("unshare", "mount")
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        skip("needs root and /dev/fuse: mounts a file system of its own")
    if os.environ.get("VITALD_TEST_NAMESPACE") != "1":
        os.environ["VITALD_TEST_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory() as folder:
        server = subprocess.Popen([sys.executable, pathlib.Path(__file__).with_name("fuse_server.py"), folder],
                                  stdout=subprocess.PIPE)
        try:
            assert server.stdout.readline() == b"mounted\n"
            check(server, folder)
            reload(server, folder)
            web_config(server, folder)
        finally:
            server.kill()  # the kernel then fails what waits for it
            server.wait()
            subprocess.run(["umount", "-l", folder], check=False)


def check(server, folder):
    def one(samples, name):
        found = [v for (n, labels), v in samples.items() if n == name and dict(labels)["mountpoint"] == folder]
        return found[0] if len(found) == 1 else None

    # What is mounted is read from the mount table of process 1, which is outside of our namespace.
    flags = ["--web.max-age=0", "--collector.disable-defaults", "--collector.loadavg", "--collector.filesystem",
             "--collector.filesystem.mount-timeout=1s"]
    with tempfile.TemporaryDirectory() as proc:
        for name in ("loadavg", "self"):
            os.symlink(f"/proc/{name}", f"{proc}/{name}")
        os.symlink("/proc/self", f"{proc}/1")
        with vitald(*flags, f"--path.procfs={proc}") as (_, url):
            slowest, samples = scrapes_in_time(url, 1)
            assert one(samples, "node_filesystem_size_bytes") == 4096 * 1000, samples
            server.send_signal(FREEZE)
            slowest, samples = scrapes_in_time(url, 10, lambda s: one(s, "node_filesystem_device_error") == 1)
            assert one(samples, "node_filesystem_device_error") == 1
            assert one(samples, "node_filesystem_size_bytes") is None
            slower, _ = scrapes_in_time(url, 2)
            print(f"frozen: slowest scrape {slowest * 1000:.0f} ms, then {slower * 1000:.0f} ms")
            server.send_signal(THAW)
            wait_for("the file system again", 20,
                     lambda: one(scrapes_in_time(url, 0.01)[1], "node_filesystem_size_bytes") == 4096 * 1000)


def reload(server, folder):
    with tempfile.TemporaryDirectory() as mine:
        config = pathlib.Path(mine, "vitald.yaml")
        config.write_text("")
        with vitald(f"--config.file={config}", "--collector.disable-defaults", "--collector.loadavg") as (process, url):
            config.unlink()
            config.symlink_to(f"{folder}/vitald.yaml")
            server.send_signal(FREEZE)
            asked = http.client.HTTPConnection(url.removeprefix("http://"), timeout=20)
            asked.request("POST", "/-/reload")
            os.kill(process.pid, signal.SIGHUP)
            slowest, _ = scrapes_in_time(url, 1)
            server.send_signal(THAW)  # there is no such file
            answer = asked.getresponse()
            assert answer.status == 500 and b"vitald.yaml: " in answer.read(), answer.status
            server.send_signal(FREEZE)
            os.kill(process.pid, signal.SIGHUP)
            scrapes_in_time(url, 1)
            took = process.stop()
            assert took < patience(2), took
            print(f"reload of a frozen file: slowest scrape {slowest * 1000:.0f} ms, SIGTERM {took * 1000:.0f} ms")
            server.send_signal(THAW)


def web_config(server, folder):
    """Certificates and users on a server that does not answer: what was in force stays, and nobody waits."""
    with tempfile.TemporaryDirectory() as mine:
        config = pathlib.Path(mine, "web.yaml")
        config.write_text("http_server_config: {headers: {X-Frame-Options: deny}}\n")
        with vitald(f"--web.config.file={config}", "--collector.disable-defaults", "--collector.loadavg") as (process, url):
            server.send_signal(FREEZE)
            config.with_suffix(".new").symlink_to(f"{folder}/web.yaml")
            config.with_suffix(".new").rename(config)
            slowest, _ = scrapes_in_time(url, 3)
            with urllib.request.urlopen(url + "/-/healthy", timeout=5) as answer:
                assert answer.headers["X-Frame-Options"] == "deny", answer.headers
            assert waits(process.pid), "nobody looks at the file"
            server.send_signal(THAW)  # there is no such file
            wait_for("a word about it", 10, lambda: "web.yaml: " in process.output())
            server.send_signal(FREEZE)
            scrapes_in_time(url, 2)
            took = process.stop()
            assert took < patience(2), took
            print(f"web configuration on a frozen server: slowest scrape {slowest * 1000:.0f} ms, "
                  f"SIGTERM {took * 1000:.0f} ms")
            server.send_signal(THAW)


def waits(pid):
    """Whether the thread that looks at the files waits for the server."""
    for task in pathlib.Path(f"/proc/{pid}/task").iterdir():
        if (task / "comm").read_text() == "web-config\n":
            return (task / "stat").read_text().rsplit(")", 1)[1].split()[0] in "DS" and "fuse" in (task / "stack").read_text()
    return False


main()
