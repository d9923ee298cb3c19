#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The real binary from start to end: scrape, filter, reload, check, --once, signals."""

import concurrent.futures
import contextlib
import gzip
import http.client
import os
import pathlib
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness  # noqa: E402
from harness import VITALD, get, metrics, parse, probes, vitald, wait_for  # noqa: E402


def run(*flags):
    return subprocess.run([VITALD, *map(str, flags)], capture_output=True, text=True, timeout=30)


@contextlib.contextmanager
def folder():
    with tempfile.TemporaryDirectory(prefix="vitald-test-") as path:
        yield pathlib.Path(path)


def scrape():
    with vitald() as (_, url):
        status, headers, body = get(url + "/metrics")
        assert status == 200 and headers["Content-Type"] == "text/plain; version=0.0.4; charset=utf-8", headers
        _, samples = harness.parse(body.decode())
        assert samples[("node_load1", ())] >= 0
        assert samples[("node_scrape_collector_success", (("collector", "loadavg"),))] == 1
        assert samples[("process_resident_memory_bytes", ())] > 1e6

        status, headers, packed = get(url + "/metrics", {"Accept-Encoding": "gzip"})
        assert status == 200 and headers["Content-Encoding"] == "gzip", headers
        assert b"node_load1 " in gzip.decompress(packed) and len(packed) < len(body) / 2

        _, some = metrics(url, "/metrics?collect[]=loadavg")
        assert ("node_load1", ()) in some and not any(n.startswith("node_filesystem") for n, _ in some)
        _, rest = metrics(url, "/metrics?exclude[]=loadavg")
        assert ("node_load1", ()) not in rest and any(n.startswith("node_filesystem") for n, _ in rest)
        assert get(url + "/metrics?collect[]=nonsense")[0] == 400
        assert get(url + "/metrics?collect[]=loadavg&exclude[]=self")[0] == 400

        for path, want in {"/": 200, "/-/healthy": 200, "/-/ready": 200, "/nonsense": 404, "/-/reload": 405}.items():
            assert get(url + path)[0] == want, path


def http_edges():
    with vitald() as (process, url):
        host = url.removeprefix("http://")
        connection = http.client.HTTPConnection(host, timeout=10)
        for method, want in (("HEAD", 200), ("GET", 200), ("POST", 405), ("GET", 200)):  # on one connection
            connection.request(method, "/metrics")
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == want, (method, answer.status)
            assert int(answer.headers["Content-Length"]) > 0 and (method != "HEAD" or body == b"")
        assert answer.headers["Connection"] != "close"

        for garbage in (b"\0" * 100, b"GET\r\n\r\n", b"GET / HTTP/9.9\r\n\r\n", b"GET /" + b"a" * 100_000):
            with socket.create_connection(host.split(":"), timeout=5) as s, contextlib.suppress(OSError):
                s.sendall(garbage)
                s.shutdown(socket.SHUT_WR)
                s.recv(1000)
        def answer_to(request):
            with socket.create_connection(host.split(":"), timeout=10) as s:
                s.sendall(request)
                got = b""
                with contextlib.suppress(ConnectionResetError):  # what was sent too much is not read
                    while chunk := s.recv(65536):
                        got += chunk
                return got.split(b" ", 2)[1], got

        end = b" HTTP/1.1\r\nHost: t\r\nConnection: close\r\n"
        for request, want in (
            (b"GET http://web1:9100/-/healthy" + end + b"\r\n", b"200"),  # through a proxy
            (b"GET http://web1:9100" + end + b"\r\n", b"200"),
            (b"GET /-/healthy HTTP/1.0\r\n\r\n", b"200"),
            (b"GET /metrics/" + end + b"\r\n", b"404"),
            (b"BREW /metrics" + end + b"\r\n", b"405"),
            (b"GET /metrics?collect[]=" + end + b"\r\n", b"400"),
            (b"GET /metrics?collect%5B%5D=loadavg&collect[]=loadavg" + end + b"\r\n", b"200"),
            (b"GET /metrics" + end + b"X: " + b"a" * 20_000 + b"\r\n\r\n", b"431"),
            (b"GET /" + b"a" * 20_000 + end + b"\r\n", b"414"),
            (b"POST /-/reload" + end + b"Content-Length: 100000\r\n\r\n" + b"a" * 100_000, b"413"),
            (b"POST /-/reload" + end + b"Content-Length: 3\r\n\r\nabc", b"200"),
            (b"GET / HTTP/2.0\r\n\r\n", b"505"),
        ):
            status, _ = answer_to(request)
            assert status == want, (request[:60], status)
        # One after the other on one connection, without waiting for answers.
        one = b"GET /metrics HTTP/1.1\r\nHost: t\r\n\r\n"
        _, rest = answer_to(one + one + b"GET /-/healthy" + end + b"\r\n")
        assert rest.count(b"HTTP/1.1 200 OK") == 3 and rest.endswith(b"vitald is healthy.\n"), rest[-200:]
        # Whoever asks for OpenMetrics first, as Prometheus does, gets that.
        accept = "application/openmetrics-text;version=1.0.0;q=0.6,text/plain;version=0.0.4;q=0.5,*/*;q=0.1"
        assert get(url + "/metrics", {"Accept": accept})[1]["Content-Type"].startswith(
            "application/openmetrics-text; version=1.0.0")
        # Clients that leave in the middle.
        for i in range(100):
            with socket.create_connection(host.split(":")) as s:
                s.sendall(one * 3)
                if i % 2:
                    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # RST
        # Until then this one may be one too many: 503.
        def in_flight():
            status, _, body = get(url + "/metrics")
            return parse(body.decode())[1][("promhttp_metric_handler_requests_in_flight", ())] if status == 200 else None
        wait_for("their scrapes to end", 5, lambda: in_flight() == 1)

        # A hundred clients that say half a request keep nobody else waiting.
        with contextlib.ExitStack() as stack:
            for _ in range(100):
                stack.enter_context(socket.create_connection(host.split(":"))).sendall(b"GET /metrics HT")
            assert get(url + "/metrics", timeout=2)[0] == 200
        assert process.alive()


def concurrent_scrapes_share_collections():
    with vitald("--web.max-age=1h") as (_, url):
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: get(url + "/metrics"), range(200)))
        assert {status for status, _, _ in answers} == {200}
        assert len({body for _, _, body in answers}) == 1
    with vitald("--web.max-age=0") as (_, url):
        begin = metrics(url)[1][("vitald_cycles_total", ())]
        with concurrent.futures.ThreadPoolExecutor(16) as pool:
            answers = list(pool.map(lambda _: get(url + "/metrics"), range(200)))
        assert {status for status, _, _ in answers} == {200}
        cycles = metrics(url)[1][("vitald_cycles_total", ())] - begin
        print(f"  200 scrapes by 16 clients with --web.max-age=0: {cycles:.0f} collections")
        assert cycles <= 201


def reload():
    with folder() as tmp:
        config = tmp / "vitald.yaml"
        config.write_text("collectors: {loadavg: true}\n")
        with vitald(f"--config.file={config}") as (process, url):
            def has_load():
                return ("node_load1", ()) in metrics(url)[1]

            assert has_load()
            config.write_text("collectors: {loadavg: fals}\n")
            os.kill(process.pid, signal.SIGHUP)
            wait_for("a complaint", 5, lambda: f"{config}:1:23: collectors.loadavg: 'fals'" in process.output())
            assert has_load()
            with contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"))) as connection:
                connection.request("POST", "/-/reload")
                answer = connection.getresponse()
                assert answer.status == 500 and b"'fals' is neither true nor false" in answer.read()
                config.write_text("collectors: {loadavg: false}\n")
                connection.request("POST", "/-/reload")
                answer = connection.getresponse()
                assert answer.status == 200, answer.read()
                answer.read()
            wait_for("loadavg to be off", 5, lambda: get(url + "/metrics?collect[]=loadavg")[0] == 400)
            wait_for("no load", 5, lambda: not has_load())
            config.write_text("")
            os.kill(process.pid, signal.SIGHUP)
            wait_for("loadavg to be on again", 5, has_load)

            # What --config.check says of what is named, a reload says in the log, and goes on; a start, too.
            config.write_text("notify:\n  commands:\n    - {name: pager, command: [/nonexistent/pager]}\n"
                              "history:\n  keep:\n    - {match: node_load1, for: 1s}\n")
            os.kill(process.pid, signal.SIGHUP)
            wait_for("a word about the command", 5, lambda: f"{config}:3:7: notify.commands 'pager': /nonexistent/pager" in process.output())
            wait_for("and about the entry", 5, lambda: f"{config}:6:7: history.keep: 'node_load1 for 1s': so long" in process.output())
        with vitald(f"--config.file={config}") as (process, url):
            assert "a receiver does not work as it is configured" in process.output(), process.output()
            assert "a setting has no effect" in process.output(), process.output()
        done = run(f"--config.file={config}", "--config.check")
        assert done.returncode == 1 and f"warning: {config}:6:7: history.keep: 'node_load1 for 1s'" in done.stderr, done.stderr


def rules():
    good = ("groups: [{name: g, rules: [{alert: Always, expr: vector(1) > 0},"
            " {record: load:double, expr: node_load1 * 2}]}]\n")
    with folder() as tmp:
        file = tmp / "rules.yaml"
        file.write_text(good)
        with vitald(f"--rules.file={file}", "--pipeline.interval=100ms") as (process, url):
            def names(path="/api/v1/rules"):
                groups = harness.get_json(url + path)["data"]["groups"]
                return [rule["name"] for group in groups for rule in group["rules"]]

            assert names() == ["Always", "load:double"], names()
            assert names("/api/v1/rules?type=record") == ["load:double"]
            assert get(url + "/api/v1/rules?type=x")[0] == 400
            wait_for("the alert", 5, lambda: harness.get_json(url + "/api/v1/alerts")["data"]["alerts"])
            wait_for("its series", 5, lambda: any(n == "ALERTS" for n, _ in metrics(url)[1]))
            assert ("load:double", ()) in metrics(url)[1]
            # Cycles come by themselves now.
            begin = metrics(url)[1][("vitald_cycles_total", ())]
            wait_for("cycles", 10, lambda: metrics(url)[1][("vitald_cycles_total", ())] > begin + 10)

            file.write_text("groups: [{name: g, rules: [{alert: Always, expr: vector(1 > 0}]}]\n")
            os.kill(process.pid, signal.SIGHUP)
            wait_for("a complaint", 5, lambda: f"{file}:1:" in process.output())
            assert names() == ["Always", "load:double"], names()
            file.write_text(good.replace("Always", "Renamed"))
            os.kill(process.pid, signal.SIGHUP)
            wait_for("the new rules", 5, lambda: names() == ["Renamed", "load:double"])
        assert run(f"--rules.file={file}", "--config.check").returncode == 0
        file.write_text("groups: 1\n")
        done = run(f"--rules.file={file}", "--config.check")
        assert done.returncode == 1 and done.stderr.startswith(f"{file}:1:"), done
        done = run(f"--rules.file={file}", "--once")
        assert done.returncode == 1 and f"{file}:1:" in done.stderr, done


def few_descriptors():
    def limited(number):
        return lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (number, number))

    def failed(samples):
        return {dict(labels)["collector"] for (name, labels), value in samples.items()
                if name == "node_scrape_collector_success" and not value}

    with vitald() as (_, url):
        usual = failed(metrics(url)[1])
    with vitald(preexec_fn=limited(64)) as (process, url), contextlib.ExitStack() as stack:
        host = url.removeprefix("http://").split(":")
        for _ in range(100):  # nor do these take the last ones
            stack.enter_context(socket.create_connection(host))
        for _ in range(5):
            _, samples = metrics(url)
        assert failed(samples) <= usual | set(probes()), failed(samples) - usual
        assert ("node_memory_MemTotal_bytes", ()) in samples and ("node_load1", ()) in samples
        text = wait_for("the report", 10, lambda: "\n  series" in process.output() and process.output())
        assert "\n  open files  the limit of open files is low" in text and "level=WARN" in text, text
    for number in (32, 512, 1024):
        with vitald(preexec_fn=limited(number)) as (process, url):
            metrics(url)
            _, samples = metrics(url)
            assert ("node_memory_MemTotal_bytes", ()) in samples
            assert (number < 512) == ("limit of open files" in process.output()), process.output()

    # The limit falls while it runs, below what is open already, and rises again.
    with vitald() as (process, url), contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"))) as kept:
        metrics(url)
        kept.request("GET", "/-/ready")
        kept.getresponse().read()
        hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)[1]
        files = len(os.listdir(f"/proc/{process.pid}/fd"))
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (190, hard))  # probes hold some 150 for good
        wait_for("a scrape", 10, lambda: harness.answers(url + "/metrics"))
        assert ("node_memory_MemTotal_bytes", ()) in metrics(url)[1]
        assert len(os.listdir(f"/proc/{process.pid}/fd")) < files
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (hard, hard))
        wait_for("files kept open again", 30,
                 lambda: metrics(url) and len(os.listdir(f"/proc/{process.pid}/fd")) > files * 0.9)


def service_manager():
    with folder() as tmp, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as s:
        s.bind(str(tmp / "notify"))
        s.settimeout(10)
        with vitald(env={**os.environ, "NOTIFY_SOCKET": str(tmp / "notify")}) as (process, _):
            assert s.recv(100) == b"READY=1"
            os.kill(process.pid, signal.SIGHUP)
            assert s.recv(100).startswith(b"RELOADING=1\nMONOTONIC_USEC=")
            assert s.recv(100) == b"READY=1"
            process.stop()
            assert s.recv(100) == b"STOPPING=1"


def ends_within_two_seconds():
    for number in (signal.SIGTERM, signal.SIGINT):
        with vitald() as (process, url), contextlib.closing(http.client.HTTPConnection(url.removeprefix("http://"))) as c:
            c.request("GET", "/-/healthy")  # an open connection is no reason to stay
            c.getresponse().read()
            began = time.monotonic()
            os.kill(process.pid, number)
            assert process.process.wait(5) == 0
            assert time.monotonic() - began < 2


def report():
    with vitald("--no-collector.loadavg") as (process, url):
        text = wait_for("the report", 5, lambda: "series" in process.output() and process.output())
        assert f"listening   {url}/metrics" in text, text
        assert "loadavg off: --no-collector.loadavg" in text, text
        for head in ("collectors", "probes", "rules", "alerts"):
            assert f"\n  {head}" in text, text


def once():
    done = run("--once")
    assert done.returncode == 0, done.stderr
    _, samples = harness.parse(done.stdout)
    assert ("node_load1", ()) in samples
    with open("/dev/full", "w") as full:
        assert subprocess.run([VITALD, "--once"], stdout=full, stderr=subprocess.DEVNULL).returncode == 1


def command_line():
    for flags, code, out, err in (
        (["--version"], 0, "vitald, version 0.", ""),
        (["--help"], 0, "--web.listen-address", ""),
        (["--colector.loadavg"], 1, "", "unknown long flag '--colector.loadavg'; did you mean 'collector.loadavg'?"),
        (["--web.listen-address=nonsense"], 1, "", "'nonsense', expected host:port"),
        (["worker", "nonsense"], 1, "", "'nonsense' is no collector"),
        (["--dump-metrics-docs"], 0, "| `node_load1` | gauge |", ""),
        (["--dump-flags-docs"], 0, "| `--collector.loadavg` | `collectors.loadavg.enabled` | `true` |", ""),
        (["doctr"], 1, "", "unknown command 'doctr'; did you mean 'doctor'?; try --help\n"),
        (["woker", "libvirt"], 1, "", "vitald: error: unknown command 'woker'; did you mean 'worker'?; try --help\n"),
    ):
        done = run(*flags)
        assert done.returncode == code and out in done.stdout and err in done.stderr, (flags, done)


def doctor():
    def look(*flags, before=()):
        done = subprocess.run([*before, VITALD, "doctor", "--state.directory=", *flags], capture_output=True, text=True)
        assert done.returncode == ("\n  FIX " in done.stdout), done
        assert "CAP_BPF" in done.stdout, done
        return done

    quiet = [f"--no-probe.{p}" for p in ("runq_latency", "block_latency", "oom_kills", "direct_reclaim")]
    here = look(*quiet)
    assert "note  state " in here.stdout and "FIX   CAP_BPF" not in here.stdout, here.stdout
    # What the configuration asks for by name, and does not get.
    done = look(*quiet, "--collector.textfile.directory=/nope")
    assert done.returncode == 1 and "  FIX   textfile\n" in done.stdout, done.stdout
    assert "left out: /nope: No such file or directory (ENOENT)" in done.stdout, done.stdout
    if not os.path.exists("/proc/drbd"):
        assert "  FIX   drbd " in look(*quiet, "--collector.drbd").stdout
        assert "  note  drbd " in here.stdout, here.stdout
    done = look(*quiet, "--web.external-url=nonsense")
    assert "  FIX   --web.external-url: 'nonsense'" in done.stdout, done.stdout
    # Few descriptors are shared out as the daemon does it: all numbers are there, and the limit is the finding.
    few = look(before=["prlimit", "--nofile=64:64"])
    assert "EMFILE" not in few.stdout + few.stderr, few
    assert re.search(r"  FIX   open files +hard limit 64", few.stdout), few.stdout
    if os.geteuid() == 0 and shutil.which("setpriv"):
        done = look(before=["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"])
        for probe in ("runq_latency", "oom_kills"):
            assert re.search(rf"  FIX   {probe} +off: .*CAP_BPF", done.stdout), done.stdout


def addresses():
    port = harness.free_port()
    for address, where in ((f"[::1]:{port}", f"[::1]:{port}"), (f"localhost:{port}", f"localhost:{port}")):
        if "::" in address and not os.path.exists("/proc/net/if_inet6"):
            continue
        with harness.running([VITALD, f"--web.listen-address={address}"], f"http://{where}/-/ready"):
            done = run(f"--web.listen-address={address}")
            assert done.returncode == 1 and "another program listens there" in done.stderr, done
    # Every address, as node_exporter's default: it is in use when only one of them is.
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        done = run(f"--web.listen-address=:{s.getsockname()[1]}")
        assert done.returncode == 1 and "another program listens there" in done.stderr, done


def port_in_use():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        done = run(f"--web.listen-address=127.0.0.1:{s.getsockname()[1]}")
        assert done.returncode == 1 and "another program listens there" in done.stderr, done


def check():
    with folder() as tmp:
        config = tmp / "vitald.yaml"
        config.write_text("web: {max_age: 2s}\n")
        done = run(f"--config.file={config}", "--config.check")
        assert (done.returncode, done.stdout) == (0, "configuration is good\n"), done
        done = run(f"--config.file={harness.TOP / 'deploy/vitald.yaml'}", "--config.check")
        assert (done.returncode, done.stdout) == (0, "configuration is good\n"), done
        config.write_text("web: {max_age: 2}\nlog: {levl: info}\n")
        done = run(f"--config.file={config}", "--config.check", "--xyzzy")
        assert done.returncode == 1 and done.stderr == (
            "unknown long flag '--xyzzy'; try --help\n"
            f"{config}:1:16: web.max_age: '2' is not a duration; write e.g. 500ms, 15s, 5m\n"
            f"{config}:2:7: log.levl: unknown key; did you mean 'level'?\n"), done.stderr
        done = run(f"--config.file={config}")
        assert done.returncode == 1 and "levl" in done.stderr and "max_age" in done.stderr, done
        assert run(f"--config.file={tmp}/nothing.yaml", "--config.check").returncode == 1

        # All that is wrong in one run, each where it is written and by the name that it has there.
        (tmp / "web.yaml").write_text("basic_auth_users:\n  alice: hunter2\n  'eve:x': " + "$2b$10$" + "a" * 53 + "\n")
        (tmp / "rules.yaml").write_text("groups: [{name: g, rules: [{alert: A, exp: up == 0}]}]\n")
        config.write_text(f"""web:
  external_url: nonsense
  listen_address: ["127.0.0.1:x", "127.0.0.1:0"]
rules:
  external_label: [site=a, "a b=c"]
  series_label: job
  files: [rules.yaml, no/*.yaml]
state: {{directory: state}}
collectors: {{netdev: {{device_include: a, device_exclude: b}}}}
notify: {{commands: [{{name: pager, command: [/nonexistent/page]}}]}}
""")
        flags = [f"--config.file={config}", f"--web.config.file={tmp}/web.yaml", "--rules.external-label=9=x"]
        done = run(*flags[:2], "--config.check")
        said = done.stderr.replace(f"{config}:", "FILE:").replace(str(tmp), "TMP").splitlines()
        for line in (
            "FILE:2:17: web.external_url: 'nonsense' is no URL that a path can follow, expected e.g. "
            "https://monitor.example:9100/vitald",
            "FILE:3:20: web.listen_address: '127.0.0.1:x', expected host:port, [IPv6]:port, :port or vsock://:port",
            "FILE:5:28: rules.external_label: 'a b=c': 'a b' is no name of a label, expected letters, digits and _, and no "
            "digit in front",
            "FILE:6:17: rules.series_label: 'job' is not NAME=VALUE, expected e.g. job=node",
            "FILE:8:20: state.directory: 'state' is not an absolute path, expected one: a service starts in /; give a folder "
            "of vitald's own that it can make or write, or an empty value to keep nothing",
            "FILE:9:58: netdev: collectors.netdev.device_exclude and collectors.netdev.device_include are mutually exclusive: "
            "give one of them",
            "FILE:10:21: notify.commands 'pager': /nonexistent/page: No such file or directory (ENOENT), expected a program",
            "TMP/web.yaml:2:10: basic_auth_users.alice: not a bcrypt hash, expected $2b$..., e.g. of: htpasswd -nBC 10 NAME",
            "TMP/web.yaml:3:12: basic_auth_users.eve:x: a name with a colon, expected none: nobody could log in with it",
            "TMP/rules.yaml:1:39: unknown key 'exp', expected 'expr'?",
        ):
            assert line in said, (line, said)
        assert done.returncode == 1 and not any("no expr" in line for line in said), said
        assert "no folder 'TMP/no', expected one with rule files" in "\n".join(said), said
        # The command line wins, and is what is told of.
        said = run(*flags, "--config.check").stderr
        assert "--rules.external-label: '9=x'" in said and "a b=c" not in said, said
        # The start says the same.
        said = run(f"--config.file={config}", "--web.listen-address=127.0.0.1:0").stderr
        assert f"vitald: error: {config}:2:17: web.external_url: 'nonsense'" in said, said

        # One scalar of many megabytes is refused for its size, before a parser sees it.
        for flag, size, limit in (("config.file", 1 << 20, 1 << 20), ("web.config.file", 1 << 20, 1 << 20),
                                  ("rules.file", 4 << 20, 4 << 20)):
            config.write_text("a: " + "x" * size)
            began = time.monotonic()
            done = run(f"--{flag}={config}", "--config.check")
            assert time.monotonic() - began < 2, flag
            assert done.returncode == 1 and f"{config}: {size + 3} bytes, expected at most {limit}\n" in done.stderr, done


def state_directory():
    usable = ("vitald_state_directory_usable", ())
    with folder() as tmp:
        flag = f"--state.directory={tmp}/state"
        with vitald(flag) as (first, url):
            assert metrics(url)[1][usable] == 1 and f"  state       {tmp}/state\n" in first.output(), first.output()
            assert (tmp / "state").stat().st_mode & 0o7777 == 0o700
            # A second one with it does not start; where the environment names it, it does without.
            used = f"{tmp}/state is in use by process {first.pid}, expected to have it alone: one folder for each vitald"
            done = run(flag, "--web.listen-address=127.0.0.1:0")
            assert done.returncode == 1 and f"error: --state.directory: {used}; give" in done.stderr, done.stderr
            port = harness.free_port()
            other = [VITALD, f"--web.listen-address=127.0.0.1:{port}"]
            environment = {**os.environ, "STATE_DIRECTORY": f"{tmp}/state:/nonexistent"}
            with harness.running(other, f"http://127.0.0.1:{port}/-/ready", env=environment) as second:
                harness.wait_for("the report", 20, lambda: "\n  series " in second.output())
                assert metrics(f"http://127.0.0.1:{port}")[1][usable] == 0
                assert f"nothing is kept over a restart: {used} ($STATE_DIRECTORY)" in second.output(), second.output()
            assert run(flag, "--once").returncode == 0  # has no use for it
        with vitald(flag) as (_, url):  # the lock ended with the process
            assert metrics(url)[1][usable] == 1
        done = run("--state.directory=state", "--config.check")
        assert done.returncode == 1 and "--state.directory: 'state' is not an absolute path" in done.stderr, done
    with vitald() as (process, url):  # the harness says: none
        assert metrics(url)[1][usable] == 0
        assert "  state       nothing is kept over a restart: --state.directory is empty\n" in process.output()


for test in (scrape, http_edges, concurrent_scrapes_share_collections, reload, rules, few_descriptors, service_manager, ends_within_two_seconds,
             report, state_directory, once, command_line, doctor, addresses, port_in_use, check):
    print(test.__name__, flush=True)
    test()
