#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Metrics pushed to a real InfluxDB, a real Pushgateway, files, and as OTLP to a decoder of its own: what arrives is what a
scrape of the same moment shows."""

import gzip
import http.server
import json
import math
import os
import pathlib
import re
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, Process, free_port, get, get_json, metrics, need, parse, running, vitald, wait_for  # noqa: E402
from remote_write import Receiver, fields, signed, varint  # noqa: E402

need("influxd", "prometheus-pushgateway")

# Without probes: they need seconds to start where others build at the same time.
HOST = ["--collector.disable-defaults", *(f"--collector.{name}" for name in (
    "cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "netstat", "pressure", "self", "softnet", "stat",
    "textfile", "time", "uname", "vmstat"))]
STAMP = "vitald_snapshot_timestamp_seconds"
TEXT = ("# TYPE odd gauge\nodd{v=\"a b,c=d\\\\\",w=\"\u00e9 \\\"q\\\"\"} 1.5\nodd{v=\"nan\"} NaN\n"
        "# HELP wait_seconds Wait.\n# TYPE wait_seconds histogram\nwait_seconds_bucket{le=\"0.1\"} 1\n"
        "wait_seconds_bucket{le=\"+Inf\"} 3\nwait_seconds_sum 2.5\nwait_seconds_count 3\n"
        "# TYPE power_seconds histogram\n" + "".join(
            f"power_seconds_bucket{{le=\"{2.0 ** i:g}\"}} {max(0, i + 3) * 2}\n" for i in range(-4, 6)) +
        "power_seconds_bucket{le=\"+Inf\"} 21\npower_seconds_sum 77.5\npower_seconds_count 21\n")


def configured(folder, **kinds):
    path = pathlib.Path(folder, "vitald.yaml")
    path.write_text("push: " + json.dumps(kinds))
    text = pathlib.Path(folder, "text")
    text.mkdir(exist_ok=True)
    (text / "t.prom").write_text(TEXT)
    return [f"--config.file={path}", "--web.max-age=10s", *HOST, f"--collector.textfile.directory={text}"]


def counter(url, name, **labels):
    return metrics(url)[1].get((name, tuple(sorted(labels.items()))), 0)


def of_the_moment(url, arrived_stamp):
    """The scrape whose snapshot is the newest that arrived."""
    def look():
        samples = parse(get(url + "/metrics")[2].decode())[1]
        return samples if abs(arrived_stamp() - samples[(STAMP, ())]) < 1e-6 else None
    return wait_for("a scrape of what arrived", 30, look, 0.2)


def plain(value):
    return re.sub(r'\\(.)', lambda m: "\n" if m[1] == "n" else m[1], value)


def same(what, scraped, arrived, without=()):
    want = {(name, tuple((k, plain(v)) for k, v in labels)): value for (name, labels), value in scraped.items()
            if not any(name.startswith(w) for w in without)}
    missing, more = want.keys() - arrived.keys(), arrived.keys() - want.keys()
    assert not missing and not more, f"{what}: missing {sorted(missing)[:5]}, more {sorted(more)[:5]}"
    other = [(k, v, arrived[k]) for k, v in want.items() if v != arrived[k] and not (math.isnan(v) and math.isnan(arrived[k]))]
    assert not other, f"{what}: {other[:5]}"
    print(f"{what}: {len(want)} series are what the scrape shows", flush=True)


def influx(folder):
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    conf = pathlib.Path(folder, "influx.conf")
    conf.write_text(f"""reporting-disabled = true
bind-address = "127.0.0.1:{free_port()}"
[meta]
dir = "{folder}/meta"
[data]
dir = "{folder}/data"
wal-dir = "{folder}/wal"
[http]
bind-address = "127.0.0.1:{port}"
log-enabled = false
""")

    def query(q):
        return get_json(f"{base}/query?" + urllib.parse.urlencode({"db": "vm stats", "q": q, "epoch": "ns"}))["results"][0]

    flags = configured(folder, influx=[{"name": "i", "url": base, "database": "vm stats", "interval": "2s"}])
    command = ["influxd", "-config", str(conf)]
    with vitald(*flags) as (_, url):  # before the server is there
        wait_for("it is away", 20, lambda: counter(url, "vitald_delivery_failed_total", data_type="samples", destination="i") > 0)
        with Server(command, base + "/ping"):
            wait_for("lines are taken", 60, lambda: counter(url, "vitald_push_sent_samples_total", destination="i") > 300)
            doctor = subprocess.run([VITALD, "doctor", *flags], capture_output=True, text=True, check=False).stdout
            line = next(text for text in doctor.splitlines() if "influx 'i'" in text)
            assert "ok" in line.split()[0], line

            def newest():
                series = query(f'SELECT last("value") FROM "{STAMP}"').get("series")
                return series[0]["values"][0][1] if series else 0
            scrape = of_the_moment(url, newest)
            ns = query(f'SELECT last("value") FROM "{STAMP}"')["series"][0]["values"][0][0]
            arrived = {}
            for series in query(f'SELECT "value" FROM /.*/ WHERE time = {ns} GROUP BY *').get("series", []):
                labels = {k: v for k, v in series["tags"].items() if v and k not in ("job", "instance")}
                if labels.pop("exported_job", None):
                    continue
                arrived[(series["name"], tuple(sorted(labels.items())))] = float(series["values"][0][1])
            finite = {(n, tuple((k, plain(v).rstrip("\\")) for k, v in l)): v for (n, l), v in scrape.items() if math.isfinite(v)}
            finite = {(n, tuple((k, v.replace("\\", "\\\\")) for k, v in l)): v for (n, l), v in finite.items()}
            same("InfluxDB 1.6", finite, arrived)
            # What it does not want: a field that was written as text is a text for ever.
            for name in ("refuse_1", "refuse_2"):
                urllib.request.urlopen(urllib.request.Request(
                    f"{base}/write?" + urllib.parse.urlencode({"db": "vm stats"}),
                    data=f"{name} value=\"text\"\n".encode(), method="POST"), timeout=10).close()
            pathlib.Path(folder, "text/u.prom").write_text("refuse_1 1\nrefuse_2 2\nwelcome 3\n")
            wait_for("two lines are refused", 30, lambda: counter(
                url, "vitald_push_dropped_samples_total", destination="i", reason="refused") >= 2)
            refused = counter(url, "vitald_push_dropped_samples_total", destination="i", reason="refused")
            pathlib.Path(folder, "text/u.prom").unlink()
            wait_for("the third arrived", 20, lambda: query('SELECT last("value") FROM "welcome"').get("series"))
            assert refused <= 20, refused  # of each push two lines, not all of them
            # What it cannot read: it says dropped=0 and names the line.
            pathlib.Path(folder, "text/u.prom").write_text('big{a="' + "x" * 70_000 + '"} 1\nwelcome_too 3\n')
            wait_for("a line is refused", 30, lambda: counter(
                url, "vitald_push_dropped_samples_total", destination="i", reason="refused") > refused)
            wait_for("the other arrived", 20, lambda: query('SELECT last("value") FROM "welcome_too"').get("series"))
            pathlib.Path(folder, "text/u.prom").unlink()
            assert counter(url, "vitald_push_dropped_samples_total", destination="i", reason="refused") <= refused + 10
            assert not query('SELECT last("value") FROM "big"').get("series")
        wait_for("it is away again", 30, lambda: counter(url, "vitald_delivery_queued", data_type="samples", destination="i") > 1)
        with Server(command, base + "/ping"):
            wait_for("all that waited is taken", 120, lambda: counter(url, "vitald_delivery_queued", data_type="samples", destination="i") == 0)
            made = counter(url, "vitald_push_samples_total", destination="i")
            dropped = sum(v for (n, l), v in metrics(url)[1].items() if n == "vitald_push_dropped_samples_total")
            sent = counter(url, "vitald_push_sent_samples_total", destination="i")
            assert dropped < 50 and sent > 0, (made, sent, dropped)
            print(f"InfluxDB away and back: {made:.0f} lines made, {sent:.0f} taken, {dropped:.0f} dropped", flush=True)


class Server:
    """A program that is ended with its folder kept; ready when it answers anything."""

    def __init__(self, argv, url):
        self.argv, self.url = argv, url

    def __enter__(self):
        self.process = Process(self.argv)

        def ready():
            try:
                return get(self.url, timeout=2)[0] < 300
            except OSError:
                return False
        wait_for(f"{self.argv[0]} answers", 60, ready)

    def __exit__(self, *_):
        self.process.stop(10)


def pushgateway(folder):
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    flags = configured(folder, pushgateway=[{"name": "p", "url": base, "interval": "2s", "delete_at_end": True}])
    with running(["prometheus-pushgateway", f"--web.listen-address=127.0.0.1:{port}", "--persistence.file="], base + "/-/ready"):
        with vitald(*flags) as (_, url):
            def group():
                samples = parse(get(base + "/metrics")[2].decode())[1]
                return {(n, tuple((k, v) for k, v in l if k not in ("job", "instance"))): v for (n, l), v in samples.items()
                        if dict(l).get("job") == "node"}
            wait_for("the group", 30, group)
            scrape = of_the_moment(url, lambda: group().get((STAMP, ()), 0))
            arrived = {k: v for k, v in group().items() if not k[0].startswith("push_")}
            same("Pushgateway", {(n, tuple((k, plain(v)) for k, v in l)): v for (n, l), v in scrape.items()},
                 {(n, tuple((k, plain(v)) for k, v in l)): v for (n, l), v in arrived.items()})
            instance = url.rsplit(":", 1)[1]
            assert any(dict(g["labels"])["instance"].endswith(":" + instance)
                       for g in get_json(base + "/api/v1/metrics")["data"])
        wait_for("the group is deleted", 10, lambda: not get_json(base + "/api/v1/metrics")["data"])


def files(folder):
    text, made = pathlib.Path(folder, "metrics.prom"), pathlib.Path(folder, "metrics.json")
    flags = configured(folder, textfile=[{"name": "t", "path": str(text), "interval": "1s"}],
                       json_file=[{"name": "j", "path": str(made), "interval": "1s", "remove_at_end": True}])
    with vitald(*flags) as (_, url):
        wait_for("both files", 20, lambda: text.exists() and made.exists())
        assert text.stat().st_mode & 0o777 == 0o644
        seen = {}

        def stamp():
            seen.update(parse(text.read_text())[1])
            return seen[(STAMP, ())]
        scrape = of_the_moment(url, stamp)
        same("textfile", scrape, {(n, tuple((k, plain(v)) for k, v in l)): v
                                  for (n, l), v in parse(text.read_text())[1].items()} if stamp() == scrape[(STAMP, ())] else scrape)
        lint = subprocess.run(["promtool", "check", "metrics"], input=text.read_bytes(), capture_output=True, check=False)
        said = [line for line in (lint.stdout + lint.stderr).decode().splitlines() if not line.startswith(("node_", "odd"))]
        assert not said, said
        for _ in range(50):  # it is whole at any time
            document = json.loads(made.read_text())
            assert document["running"] is True and document["events_count"] >= 0
            parse(text.read_text())
            time.sleep(0.02)
        one, several = document["metrics"]["node_load1"], document["metrics"]["node_cpu_seconds_total"]
        assert one["labels"] == {} and one["timestamp"] == document["timestamp"] and isinstance(one["value"], (int, float))
        assert isinstance(several, list) and {"cpu", "mode"} == set(several[0]["labels"])
        # A folder that is gone costs this file, and is told.
    assert text.exists() and not made.exists()
    assert not list(pathlib.Path(folder).glob("*.new"))
    print("files: whole at any time", flush=True)


class Collector:
    """Takes OTLP and decodes it by its definition."""

    def __init__(self):
        self.requests, self.answers, self.problems = [], [], []
        self.most_bytes, self.sizes = None, []
        collector = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, answer = collector.answers.pop(0) if collector.answers else (200, b"")
                if collector.most_bytes and len(body) > collector.most_bytes:
                    status = 413
                elif body:
                    collector.sizes.append(len(body))
                try:
                    assert self.headers["Content-Type"] == "application/x-protobuf" and self.path == "/v1/metrics"
                    decoded = collector.decode(gzip.decompress(body)) if body else None
                    if status == 200 and body:
                        collector.requests.append(decoded)
                    if callable(answer):
                        answer = answer(decoded)
                except Exception as problem:  # noqa: BLE001 the test tells of any
                    collector.problems.append(repr(problem))
                    answer = b""
                self.send_response(status)
                self.send_header("Content-Length", str(len(answer)))
                self.end_headers()
                self.wfile.write(answer)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1/metrics"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    @staticmethod
    def attributes(messages):
        out = {}
        for message in messages:
            pair = {n: v for n, _, v in fields(message)}
            value = {n: v for n, _, v in fields(pair[2])}
            assert set(value) == {1}, value
            out[pair[1].decode()] = value[1].decode()
        return out

    @staticmethod
    def exponential(name, key, got):
        """As the samples of a classic one with those bounds; the last bucket has none."""
        unsigned = {n: v for n, _, v in fields(got[8][0])}
        assert got[14][0] == struct.unpack("<Q", struct.pack("<d", 2.0 ** -128))[0] and got[7][0] == 0, got
        counts, at = [], 0
        while at < len(unsigned[2]):
            count, at = varint(unsigned[2], at)
            counts.append(count)
        assert sum(counts) == got[4][0], (name, counts, got[4])
        base, offset, out, total = 2.0 ** 2.0 ** -signed(got[6][0]), signed(unsigned.get(1, 0)), {}, 0
        for i, count in enumerate(counts):
            total += count
            bound = math.inf if i + 1 == len(counts) else base ** (offset + i + 1)
            out[(name + "_bucket", bound, key)] = total
        out[(name + "_sum", key)] = struct.unpack("<d", struct.pack("<Q", got[5][0]))[0]
        out[(name + "_count", key)] = got[4][0]
        return out

    def decode(self, data):
        """(resource, {(name, labels): value}, kinds)"""
        samples, kinds, starts, times = {}, {}, {}, set()
        (number, _, resource_metrics), = fields(data)
        assert number == 1
        resource = {}
        real = lambda bits: struct.unpack("<d", struct.pack("<Q", bits))[0]  # noqa: E731
        for number, _, value in fields(resource_metrics):
            if number == 1:
                resource = self.attributes([v for n, _, v in fields(value) if n == 1])
                continue
            assert number == 2
            for n, _, metric in fields(value):
                if n == 1:
                    scope = {k: v for k, _, v in fields(metric)}
                    assert scope[1] == b"vitald" and scope[2], scope
                    continue
                assert n == 2
                name, kind, points, more = None, None, [], {}
                for f, _, v in fields(metric):
                    if f == 1:
                        name = v.decode()
                    elif f in (5, 7, 9, 10):
                        kind = f
                        for g, _, w in fields(v):
                            if g == 1:
                                points.append(w)
                            else:
                                more[g] = w
                    else:
                        assert f in (2, 3), f
                assert more == {5: {}, 7: {2: 2, 3: 1}, 9: {2: 2}, 10: {2: 2}}[kind], (name, kind, more)
                assert name not in kinds, f"{name} twice"
                kinds[name] = kind
                for point in points:
                    got = {}
                    for f, wire, v in fields(point):
                        got.setdefault(f, []).append(v)
                    times.add(got[3][0])
                    starts[name] = got.get(2, [0])[0]
                    assert starts[name] <= got[3][0]
                    labels = self.attributes(got.get({9: 9, 10: 1}.get(kind, 7), []))
                    key = tuple(sorted(labels.items()))
                    if kind == 10:
                        samples.update(self.exponential(name, key, got))
                        continue
                    if kind != 9:
                        if 8 in got:
                            continue  # ended
                        assert (name, key) not in samples
                        samples[(name, key)] = real(got[4][0])
                        continue
                    counts = [struct.unpack_from("<Q", got[6][0], i)[0] for i in range(0, len(got[6][0]), 8)]
                    bounds = [struct.unpack_from("<d", got[7][0], i)[0] for i in range(0, len(got[7][0]), 8)]
                    assert len(counts) == len(bounds) + 1 and sum(counts) == got[4][0] and bounds == sorted(bounds)
                    total = 0
                    for bound, count in zip([*bounds, math.inf], counts):
                        total += count
                        samples[(name + "_bucket", bound, key)] = total
                    samples[(name + "_sum", key)] = real(got[5][0])
                    samples[(name + "_count", key)] = got[4][0]
        assert len(times) == 1, times
        return resource, samples, kinds, starts


def otlp(folder):
    for histograms in ("classic", "native"):
        otlp_with(folder, histograms)


def otlp_with(folder, histograms):
    collector = Collector()
    flags = configured(folder, otlp=[{"name": "o", "url": collector.url, "interval": "2s", "histograms": histograms,
                                      "resource": ["k8s.cluster.name=west", "host.id="]}])
    with vitald(*flags) as (_, url):
        wait_for("a request", 20, lambda: collector.requests or collector.problems)
        assert not collector.problems, collector.problems[:2]

        def stamp():
            return collector.requests[-1][1].get((STAMP, ()), 0)
        scrape = of_the_moment(url, stamp)
        resource, samples, kinds, starts = collector.requests[-1]
        want = {}
        for (name, labels), value in scrape.items():
            labels = {k: plain(v) for k, v in labels}
            if name.endswith("_bucket") and "le" in labels:
                bound = float(labels.pop("le"))
                want[(name, bound, tuple(sorted(labels.items())))] = value
            else:
                want[(name, tuple(sorted(labels.items())))] = value
        missing, more = want.keys() - samples.keys(), samples.keys() - want.keys()
        assert not missing and not more, (sorted(map(str, missing))[:5], sorted(map(str, more))[:5])
        other = [(k, v, samples[k]) for k, v in want.items() if v != samples[k] and not math.isnan(v)]
        assert not other, other[:5]
        assert resource["service.name"] == "node" and resource["service.instance.id"].endswith(url.rsplit(":", 1)[1])
        assert resource["k8s.cluster.name"] == "west" and "host.id" not in resource and resource["os.type"] == "linux"
        assert kinds["node_cpu_seconds_total"] == 7 and kinds["node_load1"] == 5 and kinds["wait_seconds"] == 9
        assert kinds["power_seconds"] == (10 if histograms == "native" else 9), kinds["power_seconds"]
        boot = scrape[("node_boot_time_seconds", ())]
        assert abs(starts["node_cpu_seconds_total"] / 1e9 - boot) < 2
        print(f"OTLP, {histograms} histograms: {len(want)} series are what the scrape shows", flush=True)
        if histograms == "native":
            return

        before = counter(url, "vitald_push_dropped_samples_total", destination="o", reason="refused")
        partial = b"\x0a\x04\x08\x03\x12\x00"
        collector.answers[:] = [(503, b""), (200, partial), (400, b"")]
        size = len(samples)
        wait_for("503 again, partial three, 400 all", 60, lambda: counter(
            url, "vitald_push_dropped_samples_total", destination="o", reason="refused") - before >= 3 + size // 2)
        codes = {dict(l)["code"]: v for (n, l), v in metrics(url)[1].items() if n == "vitald_push_requests_total"}
        assert codes["503"] == 1 and codes["400"] == 1, codes

        # A histogram is one point and many samples: of half the points it is half the samples, of all of them all.
        said = []

        def reject(part):
            def answer(decoded):
                whole = {(key[0].removesuffix("_bucket"), key[2]) for key in decoded[1] if len(key) == 3}
                points = len(whole) + sum(1 for key in decoded[1] if len(key) == 2 and not any(
                    key[0].endswith(end) and (key[0].removesuffix(end), key[1]) in whole for end in ("_sum", "_count")))
                rejected = points // part
                said.append((rejected, points, len(decoded[1])))
                assert 128 <= rejected < 16384, rejected  # two bytes
                return b"\x0a\x03\x08" + bytes([rejected & 0x7F | 0x80, rejected >> 7])
            return answer

        def refused():
            return counter(url, "vitald_push_dropped_samples_total", destination="o", reason="refused")

        def refused_whole():
            return counter(url, "vitald_delivery_dropped_total", data_type="samples", destination="o", reason="refused")
        whole = refused_whole()
        for part in (2, 1):
            before = refused()
            collector.answers[:] = [(200, reject(part))]
            grown = wait_for(f"1/{part} of the points is rejected", 30, lambda: refused() - before)
            rejected, points, size = said[-1]
            assert points < size and grown == size * rejected // points, (grown, said)
        wait_for("a whole request was refused", 30, lambda: refused_whole() > whole)
        assert refused_whole() == whole + 1, (refused_whole(), whole)
        print(f"OTLP: {points} points of {size} samples rejected are a refused request", flush=True)

        # Too large: in parts, and nothing is lost.
        collector.most_bytes = max(collector.sizes) // 3
        before, at = counter(url, "vitald_push_sent_samples_total", destination="o"), len(collector.requests)
        wait_for("it goes on in parts", 60, lambda: counter(
            url, "vitald_push_sent_samples_total", destination="o") - before >= 2 * size)
        parts = {}
        for _, got, _, _ in collector.requests[at:]:
            for key in got:
                parts[key] = parts.get(key, 0) + 1
        assert want.keys() <= parts.keys(), sorted(map(str, want.keys() - parts.keys()))[:5]
        assert counter(url, "vitald_push_dropped_samples_total", destination="o", reason="too_large") == 0
        collector.most_bytes = None
        pathlib.Path(folder, "text/t.prom").unlink()
    assert not collector.problems, collector.problems[:2]


def native(folder):
    """What is pushed as native histograms is what is scraped, in both versions, and a series that goes is told."""
    for version in (2, 1):
        receiver = Receiver(version=version)
        flags = configured(folder, remote_write=[{"name": "r", "url": receiver.url, "interval": "1s",
                                                  "histograms": "native", "max_samples": 300}])
        with vitald(*flags) as (_, url):
            def mine():
                found = [v for (name, _), v in receiver.histograms().items() if name == "power_seconds"]
                assert not receiver.problems, receiver.problems[:3]
                return found[0] if found else None
            wait_for("the histogram", 20, mine)
            _, total, count, schema, buckets = mine()
            assert (total, count, schema) == (77.5, 21, 0), mine()
            assert buckets == {-2: 2, -1: 2, 0: 2, 1: 2, 2: 2, 3: 2, 4: 2, 5: 2, 6: 5}, buckets
            arrived = {name for name, _ in receiver.latest()}
            assert "power_seconds_bucket" not in arrived and {"wait_seconds_bucket", "node_load1"} <= arrived
            if version == 2:
                key = next(k for k in receiver.series if ("__name__", "power_seconds") in k)
                assert receiver.kinds[key] == 3 and receiver.starts[key] > 1e12, (receiver.kinds[key], receiver.starts[key])
            # What has arrived is counted with the answer to it, and shown by the next collection.
            sent = wait_for("what was sent is counted", 20,
                            lambda: counter(url, "vitald_push_sent_samples_total", destination="r"))
            dropped = sum(v for (n, _), v in metrics(url)[1].items() if n == "vitald_push_dropped_samples_total")
            assert sent > 0 and dropped == 0, (sent, dropped)
            pathlib.Path(folder, "text/t.prom").unlink()
            wait_for("its end", 10, lambda: not mine())
        assert not receiver.problems, receiver.problems[:3]
        receiver.stop()
        print(f"remote write {version}.0 with native histograms: {sent:.0f} samples", flush=True)


def exemplars(folder):
    """What the kernel said of the slowest events arrives once, and pushing goes on."""
    if os.geteuid() != 0:
        print("skipped: exemplars from the kernel, BPF programs need root")
        return
    for version in (2, 1):
        receiver = Receiver(version=version)
        flags = configured(folder, remote_write=[{"name": "r", "url": receiver.url, "interval": "1s"}])
        with vitald(*flags, "--probe.runq_latency") as (_, url):
            if b"vitald_sched_runqueue_latency_seconds_count" not in get(url + "/metrics")[2]:
                print("skipped: exemplars from the kernel, the probe is not attached here")
                receiver.stop()
                return
            wait_for("exemplars", 30, lambda: receiver.exemplars)
            at = len(receiver.requests)
            wait_for("pushing goes on", 30, lambda: len(receiver.requests) >= at + 5)
            with receiver.lock:
                said = {labels: list(all_of) for labels, all_of in receiver.exemplars.items()}
            assert all(dict(labels)["__name__"].startswith("vitald_") for labels in said), said
            for labels, all_of in said.items():
                assert len(set(map(repr, all_of))) == len(all_of), (labels, all_of)
        assert not receiver.problems, receiver.problems[:3]
        receiver.stop()
        print(f"remote write {version}.0: {sum(map(len, said.values()))} exemplars of {len(said)} series", flush=True)


def main():
    for part in (influx, pushgateway, files, otlp, native, exemplars):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder).chmod(0o755)
            part(folder)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as one:
            globals()[sys.argv[1]](one)
    else:
        main()
