#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files and programs on a server that does not answer, named by the configuration: SIGTERM ends at once whatever is
waited for, the log says what that is, one dead path costs itself and no reload, and one dead program costs itself."""

import contextlib
import http.client
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from frozen import FREEZE, THAW, scrapes_in_time  # noqa: E402
from harness import VITALD, Process, free_port, need, skip, vitald, wait_for  # noqa: E402

END_S = 2.0
QUIET = ["--collector.disable-defaults", "--collector.loadavg", "--no-evidence.last-words"]


def main():
    need("unshare", "mount")
    if os.geteuid() != 0 or not os.access("/dev/fuse", os.R_OK | os.W_OK):
        skip("needs root and /dev/fuse: mounts a file system of its own")
    if os.environ.get("VITALD_TEST_NAMESPACE") != "1":
        os.environ["VITALD_TEST_NAMESPACE"] = "1"
        os.execvp("unshare", ["unshare", "--mount", "--propagation", "private", sys.executable, *sys.argv])
    with tempfile.TemporaryDirectory() as mine, frozen() as dead:
        os.chmod(mine, 0o755)
        start(pathlib.Path(mine))
        reload_at_start(pathlib.Path(mine))
        courtesy(dead, pathlib.Path(mine))
        once()
        reload(dead, pathlib.Path(mine))
        programs(dead, pathlib.Path(mine))
        hooks(dead, pathlib.Path(mine))


@contextlib.contextmanager
def frozen():
    """A folder whose server does not answer. Of its own for each process of those that wait at the same time: one that
    waits for a lock of the folder, which another one has, could not be killed."""
    with tempfile.TemporaryDirectory() as dead:
        server = subprocess.Popen([sys.executable, pathlib.Path(__file__).with_name("fuse_server.py"), dead, "a", "#!/bin/sh\n"],
                                  stdout=subprocess.PIPE)
        try:
            assert server.stdout.readline() == b"mounted\n"
            server.send_signal(FREEZE)
            yield dead
        finally:
            server.kill()  # the kernel then fails what waits for it
            server.wait()
            subprocess.run(["umount", "-l", dead], check=False)


def written(path, text):
    path.write_text(text)
    return path


def start(mine):
    """What a start reads, before it answers: all at the same time, since each has to wait until its log says so."""
    cases = [("--config.file", "/a"), ("--web.config.file", "/a"), ("--rules.file", "/*.yaml"), ("--checks.file", "/a"),
             ("--verdict.file", "/a"), ("--state.directory", "/state"), ("--web.config.file", None), ("--path.procfs", "")]
    with contextlib.ExitStack() as stack:
        began = []
        for flag, name in cases:
            dead = stack.enter_context(frozen())
            value = f"{dead}{name}"
            if name is None:
                value = written(mine / "web.yaml", f"tls_server_config: {{cert_file: {dead}/c.pem, key_file: {dead}/k.pem}}\n")
            state = [] if flag == "--state.directory" else ["--state.directory="]
            process = Process([VITALD, f"--web.listen-address=127.0.0.1:{free_port()}", *QUIET, *state, f"{flag}={value}"])
            stack.callback(process.stop, 1)
            began.append((flag, process))
        for flag, process in began:
            wait_for(f"a word about {flag}", 20, lambda: "waits for files" in process.output() and flag in process.output())
            assert process.alive(), (flag, process.output())
        for flag, process in began:
            took = process.stop()
            assert took < END_S, (flag, took)
            assert process.process.returncode in (0, -signal.SIGTERM), (flag, process.output())
    print(f"{len(cases)} starts that wait: each says so, and ends", flush=True)


def reload_at_start(mine):
    """SIGHUP while the configuration or the rules are read, which may have changed since."""
    for flag, text in (("--rules.file", "groups: []\n"), ("--config.file", "log: {level: info}\n")):
        slow = mine / f"slow{flag}"
        slow.mkdir()
        with contextlib.ExitStack() as stack:
            server = subprocess.Popen([sys.executable, pathlib.Path(__file__).with_name("fuse_server.py"), slow, "a", text],
                                      stdout=subprocess.PIPE)
            stack.callback(subprocess.run, ["umount", "-l", slow], check=False)
            stack.callback(server.kill)
            assert server.stdout.readline() == b"mounted\n"
            server.send_signal(FREEZE)
            process = Process([VITALD, f"--web.listen-address=127.0.0.1:{free_port()}", *QUIET, "--state.directory=",
                               f"{flag}={slow}/a"])
            stack.callback(process.stop, 1)
            wait_for(f"a word about {flag}", 20, lambda: "waits for files" in process.output())
            process.process.send_signal(signal.SIGHUP)
            time.sleep(0.1)
            assert process.alive(), process.output()
            server.send_signal(THAW)
            wait_for("the reload", 10, lambda: "configuration reloaded" in process.output())
    print("SIGHUP during the start: it is a reload then", flush=True)


def courtesy(dead, mine):
    """What only might not work as it is configured keeps nobody from starting."""
    hook = written(mine / "hook.yaml", f"notify: {{commands: [{{name: h, command: [{dead}/hook]}}]}}\n"
                                       f"push: {{json_lines: [{{name: l, path: {dead}/lines}}]}}\n")
    for flag in (f"--config.file={hook}", f"--collector.textfile.directory={dead}/*"):
        with vitald(*QUIET, flag) as (process, url):
            scrapes_in_time(url, 1)
            wait_for(f"a word about {flag}", 15, lambda: "waits for files" in process.output())
            took = process.stop()
            assert took < END_S, (flag, took)
    print("starts with programs and patterns that are dead: they answer", flush=True)


def once():
    with contextlib.ExitStack() as stack:
        runs = []
        for flag, name in (("--rules.file", "/*.yaml"), ("--path.procfs", ""), ("--path.sysfs", "")):
            dead = stack.enter_context(frozen())
            run = Process([VITALD, "--once", "--state.directory=", "--no-evidence.last-words", f"{flag}={dead}{name}"])
            stack.callback(run.stop, 1)
            runs.append((flag, run))
        began = time.monotonic()
        unread = subprocess.Popen([VITALD, "--once", "--state.directory="], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        stack.callback(unread.kill)
        for flag, run in runs:
            wait_for(f"--once {flag}", 25 - (time.monotonic() - began), lambda: not run.alive())
            samples = "\nnode_load1 " in run.output()
            assert samples or run.process.returncode == 1, (flag, run.process.returncode, run.output()[-300:])
            print(f"--once {flag}: {time.monotonic() - began:.1f} s, status {run.process.returncode}", flush=True)
        time.sleep(max(0, 21 - (time.monotonic() - began)))
        text = unread.communicate(timeout=10)[0]
        assert unread.returncode == 0 and len(text) > 1 << 16 and text.endswith(b"\n"), (unread.returncode, len(text))
        print(f"--once whose {len(text)} bytes nobody read for 21 s: all are there", flush=True)


def ask_reload(url, timeout):
    asked = http.client.HTTPConnection(url.removeprefix("http://"), timeout=timeout)
    asked.request("POST", "/-/reload")
    answer = asked.getresponse()
    return answer.status, answer.read().decode()


def reload(dead, mine):
    """A path that is dead costs what is there, or its own reload, and none that follows."""
    config = written(mine / "vitald.yaml", "web: {max_age: 1s}\n")
    with vitald(*QUIET, f"--config.file={config}") as (process, url):
        config.write_text(f"collectors: {{textfile: {{directory: ['{dead}/*']}}}}\n")
        status, text = ask_reload(url, 12)
        assert status == 200, (status, text)
        wait_for("a word about it", 10, lambda: "waits for files" in process.output())
        config.write_text(f"rules: {{files: ['{dead}/*.yaml']}}\n")
        status, text = ask_reload(url, 25)
        assert status == 500 and dead in text, (status, text)
        scrapes_in_time(url, 0.5)
        config.write_text("web: {max_age: 2s}\n")
        status, text = ask_reload(url, 12)
        assert status == 200, (status, text)
        took = process.stop()
        assert took < END_S, took
    print(f"reloads of dead paths: the next one is in force, SIGTERM {took * 1000:.0f} ms", flush=True)


def programs(dead, mine):
    good = written(mine / "good", "#!/bin/sh\necho good_runs 1\n")
    good.chmod(0o755)
    config = written(mine / "exec.yaml", f"exec:\n  - {{name: good, command: [{good}], every: 1s, timeout: 1s}}\n"
                                         f"  - {{name: dead, command: [{dead}/a], every: 1s, timeout: 1s, user: root}}\n")

    def value(samples, name, **labels):
        return samples.get((name, tuple(sorted(labels.items()))))

    with vitald("--web.max-age=0", *QUIET, "--collector.exec", f"--config.file={config}") as (process, url):
        def both(samples):
            return (value(samples, "vitald_exec_runs_total", program="dead", result="timeout") or 0) >= 2 and \
                   (value(samples, "vitald_exec_runs_total", program="good", result="ok") or 0) >= 3
        _, samples = scrapes_in_time(url, 15, both)
        assert both(samples), {k: v for k, v in samples.items() if "exec" in k[0]}
        assert value(samples, "vitald_exec_success", program="dead") == 0, samples
        assert value(samples, "vitald_exec_success", program="good") == 1, samples
        assert any(name == "good_runs" for name, _ in samples)
        took = process.stop()
        assert took < END_S, took


def hooks(dead, mine):
    rules = written(mine / "rules.yaml",
                    "groups: [{name: g, interval: 1s, rules: [{alert: Flips, expr: vitald_cycles_total % 4 > 1}]}]\n")
    config = written(mine / "hooks.yaml", f"notify: {{commands: [{{name: dead, command: [{dead}/a], user: root, timeout: 1s}}]}}\n")
    with vitald("--web.max-age=0", *QUIET, "--collector.self", "--pipeline.interval=1s", f"--rules.file={rules}",
                f"--config.file={config}") as (process, url):
        # One at least: where another thread looks at the same name, the kernel cannot kill who waits for that, and there
        # is never a second one beside it.
        def late(samples):
            return samples.get(("vitald_hook_runs_total", (("hook", "dead"), ("result", "timeout"))), 0) >= 1
        _, samples = scrapes_in_time(url, 20, late)
        assert late(samples), {k: v for k, v in samples.items() if "hook" in k[0]}
        assert "did not even start" in process.output(), process.output()
        took = process.stop()
        assert took < END_S, took


main()
