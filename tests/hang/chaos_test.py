#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Clients that leave, pipeline, send half of everything, guess lengths, read slowly, ask queries, make and end silences and
reload, all at once, while rules, hooks and pushes are at work: vitald lives, answers everybody who asks properly, before and
after, and ends in time in the midst of it. Short in the suite; by hand, also with a binary that sanitizers watch:

    SECONDS_LONG=60 SEED=7 VITALD=build/asan/vitald python3 tests/hang/chaos_test.py

Each client draws what it does from SEED and its own number; who meets whom is up to the machine.
"""

import base64
import contextlib
import ctypes
import ctypes.util
import json
import os
import pathlib
import random
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, Process, free_port, need, parse, patience, slower, wait_for  # noqa: E402

need("openssl")
SEED = int(os.environ.get("SEED", "1"))
SECONDS = float(os.environ.get("SECONDS_LONG", "5"))  # for each of two vitalds
CLIENTS = int(os.environ.get("CLIENTS", "24"))

RULES = """
groups:
  - name: chaos
    interval: 200ms
    rules:
      - {record: chaos:cpu:rate, expr: "sum by (mode) (rate(node_cpu_seconds_total[2s]))"}
      - {alert: Always, expr: node_load1 >= 0, labels: {severity: warning}, annotations: {summary: "{{ $value }}"}}
      - {alert: Flaps, expr: "vitald_cycles_total % 4 < 2", labels: {severity: critical}}
      - {alert: Many, expr: "node_cpu_seconds_total >= 0", labels: {severity: info}}
"""
HOOK = "#!/bin/sh\ncat >/dev/null\nexit $(($$ % 2))\n"
CONFIG = """
pipeline: {{interval: 200ms}}
history: {{retention: 60s, save_interval: 1s}}
rules: {{files: [rules.yaml]}}
evidence: {{last_words: false, span: 5s}}
inhibit_rules: [{{source_matchers: [alertname="Flaps"], target_matchers: [alertname="Many"]}}]
notify:
  commands: [{{name: hook, command: [{top}/hook, x], at_once: 4, retries: 1}}]
  webhooks: [{{name: web, url: "http://127.0.0.1:{odd}/hook", timeout: 500ms}}]
  alertmanagers: [{{name: am, urls: ["http://127.0.0.1:{odd}"], resend_every: 300ms, timeout: 500ms}}]
push:
  remote_write: [{{name: rw, url: "http://127.0.0.1:{odd}/write", interval: 1s, timeout: 500ms}}]
  influx: [{{name: in, url: "http://127.0.0.1:{odd}", database: b, interval: 1s, timeout: 500ms}}]
  otlp: [{{name: ot, url: "http://127.0.0.1:{odd}/v1/metrics", interval: 1s, timeout: 500ms}}]
"""
USER, PASSWORD = "alice", "secret"


class Odd:
    """What vitald tells of alerts and pushes to: takes it, refuses it, sends back half of an answer, or leaves."""

    def __init__(self):
        self.socket = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.socket.getsockname()[1]
        self.random = random.Random(SEED)
        threading.Thread(target=self.run, daemon=True).start()

    def run(self):
        while True:
            try:
                peer, _ = self.socket.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(peer, self.random.randrange(1 << 30)), daemon=True).start()

    def serve(self, peer, seed):
        draw = random.Random(seed)
        with contextlib.suppress(OSError, ValueError), peer:
            peer.settimeout(3)
            while True:
                head = b""
                while b"\r\n\r\n" not in head:
                    got = peer.recv(65536)
                    if not got:
                        return
                    head += got
                head, _, body = head.partition(b"\r\n\r\n")
                if b"100-continue" in head.lower():
                    peer.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
                length = next((int(line.split(b":")[1]) for line in head.split(b"\r\n")
                               if line.lower().startswith(b"content-length:")), 0)
                if draw.random() < 0.1:
                    return reset(peer)
                while len(body) < length:
                    got = peer.recv(1 << 20)
                    if not got:
                        return
                    body += got
                answer = draw.choice([
                    b"HTTP/1.1 204 No Content\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
                    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}", b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n",
                    b"HTTP/1.1 400 No\r\nContent-Length: 5\r\n\r\nbad\n\n", b"HTTP/1.1 413 Big\r\nContent-Length: 0\r\n\r\n",
                    b"HTTP/1.1 429 Wait\r\nRetry-After: 1\r\nContent-Length: 0\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Le",
                    b"HTTP/1.1 301 There\r\nLocation: /other\r\nContent-Length: 0\r\n\r\n", b"\0\1\2", b"",
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffff\r\n" + b"x" * 5000,
                    b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000 + b"\r\n"])
                peer.sendall(answer)
                if draw.random() < 0.3:
                    return


def reset(connection):
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    connection.close()


def authority():
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days",
                    "2", "-subj", "/CN=localhost", "-keyout", TOP / "key", "-out", TOP / "crt"], check=True, capture_output=True)


def write_anew(path, text):
    """As configuration management does: a new file in its place."""
    fresh = path.with_name(f"{path.name}.{threading.get_ident()}")
    fresh.write_text(text)
    fresh.rename(path)


class Client:
    """One who does one odd thing after the other until `stop`."""

    def __init__(self, number, target):
        self.random, self.target, self.done = random.Random(f"{SEED}.{number}"), target, {}
        self.waits = 2 * slower()
        self.context = ssl.create_default_context()
        self.context.check_hostname, self.context.verify_mode = False, ssl.CERT_NONE
        self.does = [self.leave, self.pipeline, self.half_head, self.half_handshake, self.bad_length, self.chunks,
                     self.slow_reader, self.query, self.query, self.reload, self.silence, self.acknowledge, self.callback,
                     self.event, self.watch, self.endpoint, self.endpoint, self.scrape, self.scrape, self.noise, self.suspended]

    def run(self, stop):
        while not stop.is_set():
            what = self.random.choice(self.does)
            # Whatever comes back, a cut connection among it: only what vitald is afterwards counts.
            with contextlib.suppress(OSError, ssl.SSLError, ValueError):
                what()
            self.done[what.__name__] = self.done.get(what.__name__, 0) + 1

    def raw(self, receive_buffer=0):
        connection = socket.socket()
        if receive_buffer:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        connection.settimeout(self.waits)
        connection.connect(("127.0.0.1", self.target.port))
        return connection

    def connect(self, receive_buffer=0):
        connection = self.raw(receive_buffer)
        return self.context.wrap_socket(connection) if self.target.tls else connection

    def part(self, connection):
        """One of the ways to leave."""
        way = self.random.randrange(4)
        if way == 0:
            reset(connection)
        elif way == 1:
            connection.close()
        elif way == 2:
            with connection:
                connection.shutdown(socket.SHUT_WR)
                connection.recv(self.random.choice([1, 1000, 100_000]))
        else:
            with connection:
                time.sleep(self.random.random() / 20)
                connection.recv(self.random.choice([1, 1000, 100_000]))

    def head(self, method, path, *fields):
        lines = [f"{method} {path} HTTP/1.1", "Host: t", *fields]
        if self.target.tls and self.random.random() < 0.95:
            password = PASSWORD if self.random.random() < 0.95 else f"wrong{self.random.random()}"
            lines.append("Authorization: Basic " + base64.b64encode(f"{USER}:{password}".encode()).decode())
        return "\r\n".join(lines).encode() + b"\r\n\r\n"

    def say(self, *what, receive_buffer=0):
        connection = self.connect(receive_buffer)
        try:
            for part in what:
                connection.sendall(part)
        finally:
            self.part(connection)

    def ask(self, method, path, body=None, *fields):
        """The body of the answer; with `Connection: close`."""
        text = b"" if body is None else body if isinstance(body, bytes) else json.dumps(body).encode()
        fields = (*fields, "Connection: close", f"Content-Length: {len(text)}")
        with self.connect() as connection:
            connection.sendall(self.head(method, path, *fields) + text)
            got = b""
            while chunk := connection.recv(1 << 16):
                got += chunk
        return got.partition(b"\r\n\r\n")[2]

    def path(self):
        draw = self.random
        path = draw.choice(self.target.paths).replace("{id}", draw.choice(["0", "x", "%2e%2e", "a" * 300]))
        path = path.replace("{name}", draw.choice(["__name__", "mode", "U__x"])).replace("{vm_id}", "1")
        return path + draw.choice(["", "?limit=1", "?limit=-1", "?match[]=up&start=0", "?type=alert", "?filter=a%3D~%22.*%22",
                                   "?collect[]=cpu", "?exclude[]=cpu", "?window=1s", "?" + "a=b&" * draw.randrange(200)])

    def leave(self):
        connection = self.raw()
        reset(connection) if self.random.random() < 0.5 else connection.close()

    def pipeline(self):
        self.say(b"".join(self.head("GET", self.random.choice(["/metrics", "/", self.path()]))
                          for _ in range(self.random.randrange(2, 20))))

    def half_head(self):
        head = self.head(self.random.choice(["GET", "POST"]), self.path(), "X-Y: " + "z" * self.random.randrange(20_000))
        self.say(head[:self.random.randrange(1, len(head))])

    def half_handshake(self):
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        session = self.context.wrap_bio(incoming, outgoing)
        connection = self.raw()
        with contextlib.suppress(ssl.SSLWantReadError):
            session.do_handshake()
        hello = outgoing.read()
        if self.random.random() < 0.5:
            connection.sendall(hello[:self.random.randrange(1, len(hello))])
        else:
            connection.sendall(hello)
            incoming.write(connection.recv(1 << 16))
            with contextlib.suppress(ssl.SSLError):
                session.do_handshake()
            rest = outgoing.read()
            connection.sendall(rest[:self.random.randrange(len(rest) + 1)])
            if self.random.random() < 0.3:
                connection.sendall(self.random.randbytes(100))
        self.part(connection)

    def bad_length(self):
        fields = self.random.choice([["Content-Length: -1"], ["Content-Length: x"], ["Content-Length: 99999999999999999999"],
                                     ["Content-Length: 5", "Content-Length: 6"], ["Content-Length: "],
                                     ["Content-Length: 10", "Transfer-Encoding: chunked"], ["Content-Length: 1000000"],
                                     ["Content-Length: 60000"], ["Content-Length: 0x10"]])
        method = self.random.choice(["GET", "POST", "PUT", "DELETE"])
        self.say(self.head(method, self.path(), *fields), b"a" * self.random.randrange(70_000))

    def chunks(self):
        parts = [b"5\r\nhello\r\n", b"0\r\n\r\n", b"fffffffff\r\n", b"-1\r\n", b"1000\r\n" + b"b" * 4096 + b"\r\n", b"5\nhello\n",
                 b"zz\r\n", b"2;x=y\r\nhi\r\n", b"0\r\nX: y\r\n\r\n"]
        body = [self.random.choice(parts) for _ in range(self.random.randrange(1, 30))]
        self.say(self.head("POST", self.path(), "Transfer-Encoding: chunked"), *body)

    def slow_reader(self):
        connection = self.connect(receive_buffer=2048)
        try:
            connection.sendall(self.head("GET", "/metrics") * self.random.randrange(1, 8))
            for _ in range(self.random.randrange(6)):
                connection.recv(512)
                time.sleep(0.05)
        finally:
            self.part(connection)

    def query(self):
        draw, now = self.random, time.time()
        query = draw.choice(["node_load1", "{__name__=~%22.%2B%22}", "rate(node_cpu_seconds_total[5s])", "ALERTS",
                             "sum(rate(node_cpu_seconds_total[1m]))by(mode)", "count({__name__=~%22.%2B%22})by(__name__)",
                             "max_over_time(node_load1[1m:1s])", "quantile_over_time(0.9,node_load1[1m])", "topk(3,ALERTS)",
                             "node_load1/on()group_left()node_load5", "absent(x)", "label_replace(up,%22a%22,%22$1%22,%22b%22,%22(.*)%22)",
                             "x[", "((((((", "predict_linear(node_load1[1m],60)", "sort_desc(chaos:cpu:rate)"])
        span = draw.choice([0, 1, 30, 3600, 10**9])
        path = draw.choice([f"/api/v1/query?query={query}",
                            f"/api/v1/query_range?query={query}&start={now - span}&end={now}&step={draw.choice(['1', '0.1', '0', '-1', '1e9'])}",
                            f"/api/v1/explain?start={now - 3}&end={now}&baseline=2s", f"/api/v1/parse_query?query={query}",
                            f"/api/v1/format_query?query={query}", f"/api/v1/query_exemplars?query={query}&start=0&end={now}",
                            "/api/v1/series?match[]={__name__=~%22.%2B%22}", "/api/v1/labels", "/api/v1/label/mode/values",
                            f"/api/v1/query_metrics?metric=node_load1,node_cpu_seconds_total&start={now - span}&aggregation=max"])
        if draw.random() < 0.5:
            self.ask("GET", path)
        else:
            self.say(self.head("GET", path))

    def reload(self):
        draw = self.random
        if draw.random() < 0.3:
            write_anew(TOP / "vitald.yaml", draw.choice(self.target.configs))
        if draw.random() < 0.3:
            write_anew(TOP / "rules.yaml", draw.choice([RULES, RULES.replace("200ms", "1s"), "groups: []\n", "groups: {", RULES]))
        if draw.random() < 0.3 and self.target.tls:
            write_anew(TOP / "web.yaml", self.target.web + draw.choice(["", "# x\n", "no_such: key\n", "  min_version: TLS13\n"]))
        way = draw.randrange(3)
        if way == 0:
            self.target.process.process.send_signal(signal.SIGHUP)
        elif way == 1:
            self.ask("POST", "/-/reload")
        else:
            self.say(self.head("POST", "/-/reload", "Content-Length: 0") * draw.randrange(1, 4))

    def silence(self):
        now = time.time()
        body = {"matchers": [{"name": "alertname", "value": self.random.choice(["Always", "Many", "Fl.*", "("]),
                              "isRegex": self.random.random() < 0.5}], "createdBy": "c", "comment": "c",
                "startsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now)),
                "endsAt": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + self.random.choice([1, 60, -60])))}
        made = self.ask("POST", "/api/v2/silences", body, "Content-Type: application/json")
        if self.random.random() < 0.9:
            with contextlib.suppress(KeyError, TypeError):
                self.ask("DELETE", "/api/v2/silence/" + json.loads(made)["silenceID"])

    def acknowledge(self):
        alerts = json.loads(self.ask("GET", "/api/v1/alerts"))["data"]["alerts"]
        if not alerts:
            return
        uuid = self.random.choice(alerts)["uuid"]
        self.ask("POST", f"/api/v1/alerts/{uuid}/acknowledgement", {"by": "c", "duration": "1s"}, "Content-Type: application/json")
        self.ask("GET", f"/api/v1/alerts/{uuid}/evidence")
        self.ask("DELETE", f"/api/v1/alerts/{uuid}/acknowledgement")

    def callback(self):
        body = {"event_type": self.random.choice(["*", "alert_firing", "odd"]), "url": f"http://127.0.0.1:{self.target.odd.port}/c"}
        made = self.ask("POST", "/api/v1/callbacks", body, "Content-Type: application/json")
        with contextlib.suppress(KeyError, TypeError):
            self.ask("DELETE", f"/api/v1/callbacks/{json.loads(made)['id']}")

    def event(self):
        self.ask("POST", "/api/v1/events", {"type": self.random.choice(["odd", "odd2", "oom_kill"]), "text": "x", "value": 1,
                                            "labels": {"a": "b"}}, "Content-Type: application/json")

    def watch(self):
        self.say(self.head("GET", f"/api/v1/events/watch?after={self.random.randrange(50)}", "Accept: text/event-stream"))

    def endpoint(self):
        self.ask(self.random.choice(["GET", "GET", "GET", "HEAD", "POST", "OPTIONS", "DELETE"]), self.path())

    def scrape(self):
        accept = self.random.choice(["text/plain", "application/openmetrics-text;version=1.0.0", "*/*", "application/json",
                                     "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"])
        self.ask("GET", "/metrics", None, f"Accept: {accept}", f"Accept-Encoding: {self.random.choice(['gzip', 'zstd', 'br', 'identity'])}")

    def noise(self):
        head = bytearray(self.head("GET", self.path(), "X-A: b", "X-A: c"))
        for _ in range(self.random.randrange(1, 10)):
            head[self.random.randrange(len(head))] = self.random.randrange(256)
        self.say(self.random.choice([bytes(head), self.random.randbytes(500), b"\r\n" * 100 + bytes(head), b"GET / HTTP/2.0\r\n\r\n"]))

    def suspended(self):
        """Many at once that wait for the same collection, and leave before it comes."""
        together = []
        try:
            for _ in range(10):
                together.append(self.connect())
                together[-1].sendall(self.head("GET", "/metrics"))
        finally:
            for connection in together:
                reset(connection)


class Target:
    def __init__(self, tls, odd):
        self.tls, self.odd, self.port = tls, odd, free_port()
        self.web = (f"tls_server_config: {{cert_file: {TOP}/crt, key_file: {TOP}/key}}\n"
                    f"basic_auth_users: {{{USER}: {hash_of(PASSWORD)}}}\n")
        good = CONFIG.format(top=TOP, odd=odd.port)
        self.configs = [good, good.replace("influx:", "no_such:"), good.replace("200ms", "300ms"),
                        good.partition("push:")[0], good.partition("notify:")[0], "pipeline: {interval: 1s}\n", good, good]
        write_anew(TOP / "vitald.yaml", good)
        write_anew(TOP / "rules.yaml", RULES)
        write_anew(TOP / "web.yaml", self.web)
        flags = [f"--web.config.file={TOP}/web.yaml"] if tls else []
        self.process = Process([VITALD, f"--web.listen-address=127.0.0.1:{self.port}", f"--config.file={TOP}/vitald.yaml",
                                f"--state.directory={TOP}/state{int(tls)}", *flags], cwd=TOP)
        docs = subprocess.run([VITALD, "--dump-api-docs"], capture_output=True, text=True, check=True).stdout
        self.paths = [line.split("`")[1] for line in docs.splitlines() if line.startswith("| `/")]


def hash_of(password):
    crypt = ctypes.CDLL(ctypes.util.find_library("crypt"))
    crypt.crypt.restype = ctypes.c_char_p
    return crypt.crypt(password.encode(), b"$2b$04$abcdefghijklmnopqrstuu").decode()


def chaos(tls, odd):
    target = Target(tls, odd)
    name = "TLS" if tls else "plain"
    asks = Client("asks", target)
    asks.random.random = lambda: 0.5  # its password is right
    asks.waits = patience(15)

    def healthy():
        with contextlib.suppress(OSError, ssl.SSLError):
            return b"vitald is healthy" in asks.ask("GET", "/-/healthy")
        return False

    stop, threads = threading.Event(), []
    try:
        wait_for("vitald to answer", 60, lambda: not target.process.alive() or healthy())
        assert target.process.alive(), "vitald ended at its start"
        clients = [Client(f"{name}{n}", target) for n in range(CLIENTS)]
        threads = [threading.Thread(target=c.run, args=(stop,), daemon=True) for c in clients]
        for thread in threads:
            thread.start()
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            assert target.process.alive(), "vitald ended"
            time.sleep(0.1)
        # In the midst of it all, whoever asks properly is answered.
        wait_for("an answer in the midst of it", patience(30), healthy)
        stop.set()
        for thread in threads:
            thread.join(patience(30))
            assert not thread.is_alive(), "a client that still waits for an answer"
        done = {}
        for client in clients:
            for what, times in client.done.items():
                done[what] = done.get(what, 0) + times
        assert len(done) > len(clients[0].does) / 2, done
        write_anew(TOP / "vitald.yaml", target.configs[0])
        write_anew(TOP / "rules.yaml", RULES)
        write_anew(TOP / "web.yaml", target.web)
        asks.ask("POST", "/-/reload")
        wait_for("rules as they were", 30, lambda: b"Always" in asks.ask("GET", "/api/v1/rules"))
        _, samples = parse(asks.ask("GET", "/metrics", None, "Accept: text/plain").decode())
        assert ("node_load1", ()) in samples
        # And its end in the midst of it.
        stop.clear()
        threads = [threading.Thread(target=c.run, args=(stop,), daemon=True) for c in clients]
        for thread in threads:
            thread.start()
        time.sleep(0.5)
        took = target.process.stop(seconds=patience(15))
        stop.set()
        said = target.process.output()
        assert target.process.process.returncode == 0, f"status {target.process.process.returncode} at the end"
        for word in ("Sanitizer", "runtime error:", "an exception"):
            assert word not in said, word
        print(f"{name}, seed {SEED}: {sum(done.values())} odd things in {SECONDS:.0f} s by {CLIENTS} clients, "
              f"ended within {took:.1f} s in the midst of more: {done}", flush=True)
    except BaseException:
        print(f"--- {name}, vitald's output\n{target.process.output()}---", flush=True)
        raise
    finally:
        stop.set()
        target.process.stop()
        for thread in threads:
            thread.join(30)


with tempfile.TemporaryDirectory(prefix="vitald-chaos-") as folder:
    TOP = pathlib.Path(folder)
    (TOP / "hook").write_text(HOOK)
    (TOP / "hook").chmod(0o755)
    TOP.chmod(0o755)
    authority()
    server = Odd()
    for with_tls in (False, True):
        chaos(with_tls, server)
