#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The real binary from start to end: scrape, filter, reload, check, --once, signals."""

import concurrent.futures
import contextlib
import gzip
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import harness  # noqa: E402
from harness import VITALD, get, metrics, vitald, wait_for  # noqa: E402


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
        (["doctor"], 0, "CAP_BPF", ""),
    ):
        done = run(*flags)
        assert done.returncode == code and out in done.stdout and err in done.stderr, (flags, done)


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


for test in (scrape, http_edges, concurrent_scrapes_share_collections, reload, rules, service_manager, ends_within_two_seconds,
             report, once, command_line, port_in_use, check):
    print(test.__name__, flush=True)
    test()
