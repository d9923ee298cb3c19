#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One snapshot in every format of a scrape says the same, read by others: OpenMetrics by Prometheus' Python client,
protobuf by Google's, packed by zlib and libzstd; and a real Prometheus with native histograms on sees them."""

import contextlib
import ctypes
import gzip
import http.client
import importlib
import json
import math
import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import open_metrics2  # noqa: E402
from harness import TOP, free_port, get, get_json, need, parse, running, skip, vitald, wait_for  # noqa: E402

need("prometheus", "protoc")
try:
    import google.protobuf  # noqa: F401
    from prometheus_client.openmetrics.parser import text_string_to_metric_families
except ImportError as error:
    # Debian's packages are of Debian's Python, which need not be the one that PATH has.
    if pathlib.Path(sys.executable).resolve() != pathlib.Path("/usr/bin/python3").resolve() and "VITALD_AGAIN" not in os.environ:
        os.execve("/usr/bin/python3", ["/usr/bin/python3", *sys.argv], {**os.environ, "VITALD_AGAIN": "1"})
    skip(f"{error}: python3-prometheus-client and python3-protobuf are not installed; ./dev setup installs them")

OPEN = "application/openmetrics-text;version=1.0.0"
OPEN2 = "application/openmetrics-text;version=2.0.0"
PROTO = "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited"

# Whatever the machine has, there is one of each kind here.
TEXTFILE = """# HELP odd_requests Counter without a suffix, "quoted".
# TYPE odd_requests counter
odd_requests 12
# HELP clash A gauge beside a counter of the same base.
# TYPE clash gauge
clash 1
# TYPE clash_total counter
clash_total{a="x\\"y\\\\z\\n"} 2
# TYPE whatever untyped
whatever{path="/a,le=\\"1\\""} NaN
# TYPE few_seconds histogram
few_seconds_bucket{le="0.5"} 1
few_seconds_bucket{le="1"} 2
few_seconds_bucket{le="1e+06"} 3
few_seconds_bucket{le="+Inf"} 4
few_seconds_sum 2.5
few_seconds_count 4
# TYPE pause_seconds summary
pause_seconds{quantile="0"} 0.1
pause_seconds{quantile="1"} 0.5
pause_seconds_sum 1.5
pause_seconds_count 7
# HELP pause_seconds_bucket A summary has no buckets, so this is nothing of it.
# TYPE pause_seconds_bucket gauge
pause_seconds_bucket 3
# TYPE power_seconds histogram
""" + "".join(f'power_seconds_bucket{{kind="full",le="{2.0 ** i:g}"}} {max(0, i + 3) * 2}\n'
              f'power_seconds_bucket{{kind="none",le="{2.0 ** i:g}"}} 0\n' for i in range(-4, 6)) + """\
power_seconds_bucket{kind="full",le="+Inf"} 21
power_seconds_bucket{kind="none",le="+Inf"} 0
power_seconds_sum{kind="full"} 77.5
power_seconds_count{kind="full"} 21
power_seconds_sum{kind="none"} 0
power_seconds_count{kind="none"} 0
"""


def plain(value):
    """A label's value without the text format's escapes."""
    return re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], value)


def text_samples(text):
    return {canonical((name, tuple((k, plain(v)) for k, v in labels))): value
            for (name, labels), value in parse(text.decode())[1].items()}


def canonical(key):
    """`le` and `quantile` as numbers: formats write them in several ways."""
    name, labels = key
    return name, tuple(sorted((k, float(v)) if k in ("le", "quantile") else (k, v) for k, v in labels))


def same_number(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def compare(what, want, got):
    assert want.keys() == got.keys(), (what, sorted(map(str, want.keys() ^ got.keys()))[:10])
    wrong = [(k, want[k], got[k]) for k in want if not same_number(want[k], got[k])]
    assert not wrong, (what, wrong[:5])


def open_metrics(text, created):
    samples, started = {}, 0
    for family in text_string_to_metric_families(text):
        for s in family.samples:
            if created and s.name.endswith("_created"):
                assert 1e9 < s.value < 1e10, s
                started += 1
                continue
            key = canonical((s.name, tuple((k, v) for k, v in s.labels.items() if v)))
            assert key not in samples, key
            samples[key] = s.value
    assert bool(started) == created
    return samples


def second_open_metrics(text, boot):
    """The samples as the text has them, after a look at native buckets and times of beginning."""
    samples, started, native = {}, 0, 0
    for family in open_metrics2.parse(text).values():
        for labels, s in family.samples.items():
            def add(name, value, *more):
                key = canonical((name, tuple((k, v) for k, v in (*labels, *more) if v)))  # noqa: B023
                assert key not in samples, key
                samples[key] = value
            if s.start is not None:
                started += 1
                assert 1e9 < s.start < 1e10 and (s.start >= boot - 2 or family.name.startswith("odd")), (family.name, s.start)
            if s.count is None:
                add(family.name, s.value)
                continue
            for quantile, value in s.quantiles:
                add(family.name, value, ("quantile", str(quantile)))
            for bound, value in s.classic:
                add(family.name + "_bucket", value, ("le", str(bound)))
            add(family.name + "_sum", s.sum)
            add(family.name + "_count", s.count)
            if s.native is None:
                continue
            native += 1
            for bound, value in s.classic[:-1]:
                below = sum(c for i, c in s.native.items() if 2.0 ** (i * 2 ** -s.schema) <= bound)
                assert below == value, (family.name, bound, s.native)
    assert started > 0
    return samples, native


def client_messages(folder):
    subprocess.run(["protoc", f"--python_out={folder}", f"--proto_path={TOP}/tests", "prometheus_client.proto"], check=True)
    sys.path.insert(0, folder)
    return importlib.import_module("prometheus_client_pb2")


def delimited(messages, data):
    at = 0
    while at < len(data):
        size = shift = 0
        while True:
            byte = data[at]
            at += 1
            size |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        family = messages.MetricFamily()
        assert family.ParseFromString(data[at:at + size]) == size
        at += size
        yield family
    assert at == len(data)


def native_counts(h):
    """{index: count}"""
    out, at, count, deltas = {}, 0, 0, iter(h.positive_delta)
    for n, span in enumerate(h.positive_span):
        at = span.offset if n == 0 else at + span.offset
        for _ in range(span.length):
            count += next(deltas)
            out[at] = count
            at += 1
    assert next(deltas, None) is None
    return out


def protobuf(messages, data):
    """The samples as the text has them, and how many histograms were native; checks those against their classic
    buckets."""
    samples, native, started = {}, {}, 0

    def add(name, labels, value, *more):
        key = canonical((name, tuple((*labels, *more))))
        assert key not in samples, key
        samples[key] = value
    for family in delimited(messages, data):
        kind = messages.MetricType.Name(family.type)
        assert not family.unit or family.name.removesuffix("_total").endswith("_" + family.unit), family.name
        for m in family.metric:
            labels = [(p.name, p.value) for p in m.label if p.value]
            if kind in ("COUNTER", "GAUGE", "UNTYPED"):
                add(family.name, labels, getattr(m, kind.lower()).value)
                started += m.counter.HasField("created_timestamp")
            elif kind == "SUMMARY":
                for q in m.summary.quantile:
                    add(family.name, labels, q.value, ("quantile", str(q.quantile)))
                add(family.name + "_sum", labels, m.summary.sample_sum)
                add(family.name + "_count", labels, m.summary.sample_count)
            else:
                h = m.histogram
                bounds = [b.upper_bound for b in h.bucket]
                for b in h.bucket:
                    if math.isfinite(b.upper_bound):  # the last is there for its exemplar only
                        add(family.name + "_bucket", labels, b.cumulative_count, ("le", str(b.upper_bound)))
                add(family.name + "_bucket", labels, h.sample_count, ("le", "inf"))
                add(family.name + "_sum", labels, h.sample_sum)
                add(family.name + "_count", labels, h.sample_count)
                if not h.HasField("schema"):
                    continue
                assert h.zero_threshold == 2.0 ** -128 and h.zero_count == 0, h
                counts = native_counts(h)
                assert sum(counts.values()) == h.sample_count, (family.name, h)
                step = 2 ** -h.schema
                for b in h.bucket:
                    below = sum(c for i, c in counts.items() if 2.0 ** (i * step) <= b.upper_bound)
                    assert below == b.cumulative_count, (family.name, b, counts)
                assert len(bounds) >= 8
                native[(family.name, tuple(labels))] = h.sample_count
    assert started > 0
    return samples, native


def unzstd(data):
    library = ctypes.CDLL("libzstd.so.1")
    library.ZSTD_decompress.restype = ctypes.c_size_t
    library.ZSTD_decompress.argtypes = [ctypes.c_char_p, ctypes.c_size_t, ctypes.c_char_p, ctypes.c_size_t]
    out = ctypes.create_string_buffer(64 << 20)
    size = library.ZSTD_decompress(out, len(out), data, len(data))
    assert size < len(out), size
    return out.raw[:size]


def formats(folder, url, created):
    status, headers, text = get(url + "/metrics")
    assert status == 200 and headers["Vary"] == "Accept, Accept-Encoding", headers
    want = text_samples(text)

    _, headers, body = get(url + "/metrics", {"Accept": OPEN})
    assert headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8", headers
    assert body.endswith(b"\n# EOF\n")
    compare("OpenMetrics", want, open_metrics(body.decode(), created))

    _, headers, body = get(url + "/metrics", {"Accept": f"{OPEN};q=0.5,{OPEN2}"})
    assert headers["Content-Type"] == "application/openmetrics-text; version=2.0.0; charset=utf-8", headers
    samples, composed = second_open_metrics(body.decode(), want[("node_boot_time_seconds", ())])
    compare("OpenMetrics 2.0", want, samples)

    _, headers, body = get(url + "/metrics", {"Accept": PROTO})
    assert headers["Content-Type"].startswith("application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily")
    samples, native = protobuf(client_messages(folder), body)
    compare("protobuf", want, samples)
    assert native[("power_seconds", (("kind", "full"),))] == 21 and native[("power_seconds", (("kind", "none"),))] == 0
    assert not any(name == "few_seconds" for name, _ in native)
    assert composed == len(native), (composed, len(native))

    _, headers, body = get(url + "/metrics", {"Accept": "application/json"})
    assert headers["Content-Type"] == "application/json; charset=utf-8"
    said = json.loads(body)["metrics"]
    got = {}
    for name, several in said.items():
        for one in several if isinstance(several, list) else [several]:
            value = math.nan if one["value"] is None else one["value"]
            got[canonical((name, tuple((k, v) for k, v in one["labels"].items() if v)))] = value
    compare("JSON", {k: v if math.isfinite(v) else math.nan for k, v in want.items()}, got)

    # Packed, and by every method; one snapshot answers all of it.
    for accept in ({}, {"Accept": OPEN}, {"Accept": OPEN2}, {"Accept": PROTO}):
        plain = get(url + "/metrics", accept)[2]
        for coding, unpack in (("gzip", gzip.decompress), ("zstd", unzstd)):
            _, headers, body = get(url + "/metrics", {**accept, "Accept-Encoding": coding})
            assert headers["Content-Encoding"] == coding and unpack(body) == plain, (accept, coding)
    some = text_samples(get(url + "/metrics?collect[]=loadavg")[2])
    some_open = open_metrics(get(url + "/metrics?collect[]=loadavg", {"Accept": OPEN})[2].decode(), created)
    assert set(some) == set(some_open) and ("node_load1", ()) in some_open

    # Several lines of one header are one list; HEAD says what GET would.
    connection = http.client.HTTPConnection(url.removeprefix("http://"))
    connection.putrequest("HEAD", "/metrics")
    for line in ("text/plain;version=0.0.4;q=0.3", OPEN + ";q=0.9"):
        connection.putheader("Accept", line)
    connection.endheaders()
    answer = connection.getresponse()
    assert answer.status == 200 and answer.read() == b""
    assert answer.headers["Content-Type"] == "application/openmetrics-text; version=1.0.0; charset=utf-8"
    return len(want), len(native)


def of_one_snapshot(folder, url, created):
    """Again where a newer snapshot came in between."""
    def stamp():
        return text_samples(get(url + "/metrics")[2])[("vitald_snapshot_timestamp_seconds", ())]
    for attempt in range(5):
        before = stamp()
        try:
            return formats(folder, url, created)
        except AssertionError:
            if stamp() == before or attempt == 4:
                raise
    raise AssertionError("not reached")


def read_back(folder, url):
    """What one vitald answers as OpenMetrics is a file for the textfile collector of another, which knows it again."""
    mine = {"odd_requests", "clash", "clash_total", "whatever", "few_seconds", "pause_seconds", "pause_seconds_bucket", "power_seconds"}

    def chosen(name):
        family = name if name in mine else re.sub("_(bucket|sum|count)$", "", name)
        return family in mine or (name.startswith("node_") and not name.startswith(("node_scrape_", "node_textfile_")))
    want = get(url + "/metrics")[2]
    place = pathlib.Path(folder, "back")
    place.mkdir(exist_ok=True)
    (place / "om.prom").write_bytes(get(url + "/metrics", {"Accept": OPEN})[2])
    with vitald("--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={place}") as (_, other):
        got = get(other + "/metrics")[2]
    types, said = parse(want.decode())[0], parse(got.decode())[0]
    assert parse(got.decode())[1][("node_textfile_scrape_error", ())] == 1  # what it has itself, vitald_* and the like
    compare("read back", {k: v for k, v in text_samples(want).items() if chosen(k[0])},
            {k: v for k, v in text_samples(got).items() if chosen(k[0])})
    for name in filter(chosen, types):
        # OpenMetrics has no counter without its suffix.
        assert said[name] == ("untyped" if name in ("odd_requests", "clash_total") else types[name]), name


def a_real_prometheus(folder, url, port, prometheus, version):
    config = pathlib.Path(folder, "prometheus.yml")
    config.write_text("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n  - job_name: vitald\n"
                      f"    static_configs: [{{targets: [\"{url.removeprefix('http://')}\"]}}]\n")
    base = f"http://127.0.0.1:{port}"

    def query(expression):
        return get_json(f"{base}/api/v1/query?query={urllib.parse.quote(expression)}")["data"]["result"]
    with tempfile.TemporaryDirectory(dir=folder) as data, \
            running([prometheus, f"--config.file={config}", f"--storage.tsdb.path={data}",
                     f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn",
                     "--enable-feature=native-histograms", "--web.enable-remote-write-receiver"], base + "/-/ready", seconds=60):
        wait_for("a scrape", 30, lambda: [r for r in query("up") if r["value"][1] == "1"])
        wait_for("the native histogram", 10, lambda: query('power_seconds{job="vitald"}'))
        found = {r["metric"]["kind"]: r["histogram"][1] for r in query('power_seconds{job="vitald"}')}
        assert found["full"]["count"] == "21" and found["full"]["sum"] == "77.5", found
        assert found["none"]["count"] == "0", found  # native while it is empty
        # (2^-2, 2^-1] has two of them: boundaries, and that the bucket is open on the left.
        assert [0, "0.25", "0.5", "2"] in found["full"]["buckets"], found["full"]
        half = float([r for r in query('histogram_quantile(0.5,power_seconds{job="vitald"})') if r["metric"]["kind"] == "full"][0]["value"][1])
        assert 2 < half <= 8, half
        # A histogram with other bounds stays what it was.
        assert len(query('few_seconds_bucket{job="vitald"}')) == 4
        # What is pushed is what is scraped.
        wait_for("what is pushed", 30, lambda: query('power_seconds{job="node"}'))
        pushed = {r["metric"]["kind"]: r["histogram"][1] for r in query('power_seconds{job="node"}')}
        assert pushed == found, (pushed, found)
        assert len(query('few_seconds_bucket{job="node"}')) == 4 and not query("power_seconds_bucket")
        for name in ("node_load1", "node_cpu_seconds_total", "vitald_build_info", "pause_seconds"):
            assert query(name), name
        natives = [r for r in query('{__name__=~"vitald_.+_seconds"}') if "histogram" in r]
        print(f"Prometheus {version} took {len(natives) + len(found)} native histograms")


# A task that waits for its CPU for a second and longer whenever it has used up its slice, and says its pid; and one that has it.
# It never sleeps: one that wakes is before others soon enough, and they have waited longer. Its name is no UTF-8.
COMM, SHOWN = b'st"a\\r\xffved', 'st"a\\r\ufffdved'
STARVED = f"""import os
os.sched_setaffinity(0, [{max(os.sched_getaffinity(0))}])
open("/proc/self/comm", "wb").write({COMM!r})
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
print(os.getpid(), flush=True)
while True: pass"""
HOG = f"import os\nos.sched_setaffinity(0, [{max(os.sched_getaffinity(0))}])\nwhile True: pass"
BEGAN = time.time()
WAITS = "vitald_sched_runqueue_latency_seconds"


@contextlib.contextmanager
def child(script):
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def open_metrics_exemplars(url):
    """{bound: exemplar}"""
    text = get(url + "/metrics", {"Accept": OPEN})[2].decode()
    return {float(s.labels["le"]): s.exemplar for family in text_string_to_metric_families(text) for s in family.samples
            if s.exemplar and s.name == WAITS + "_bucket"}


def of_the_starved(exemplars, pid):
    """Those that name it, after a look at all."""
    for bound, e in exemplars.items():
        assert bound / 2 < e.value <= bound or bound in (2.0 ** -20, math.inf), (bound, e)
        assert sum(len(k) + len(v) for k, v in e.labels.items()) <= 128, e
        assert BEGAN < float(e.timestamp) <= time.time(), e
    return {b: e for b, e in exemplars.items() if e.labels.get("comm") == SHOWN and e.labels["pid"] == pid}


def exemplars_from_the_kernel(folder, prometheus):
    if os.geteuid() != 0:
        print("skipped: exemplars from the kernel, BPF programs need root")
        return
    flags = ("--collector.disable-defaults", "--probe.runq_latency")
    with vitald("--web.max-age=200ms", *flags) as (_, url), child(STARVED) as starved, child(HOG):
        if WAITS.encode() + b"_count" not in get(url + "/metrics")[2]:
            print("skipped: exemplars from the kernel, the probe is not attached here")
            return
        pid = starved.stdout.readline().strip()
        # Others of this machine may wait longer than it, and take its bucket: so all that were ever said are known.
        said, its = set(), {}

        def look():
            exemplars = open_metrics_exemplars(url)
            said.update((frozenset(e.labels.items()), e.value) for e in exemplars.values())
            its.update(of_the_starved(exemplars, pid))
            return said
        wait_for("its wait", 60, lambda: look() and any(e.value > 0.01 for e in its.values()))
        bound, one = max(its.items())
        assert one.value > 0.01 and one.labels["owner"] and one.labels["owner_kind"], one
        print(f"bucket {bound}: {one}")
        assert b"# {" not in get(url + "/metrics")[2]

        messages = client_messages(folder)

        def the_same_in_protobuf():
            look()
            for family in delimited(messages, get(url + "/metrics", {"Accept": PROTO})[2]):
                if family.name != WAITS:
                    continue
                h = family.metric[0].histogram
                given = [b.exemplar for b in h.bucket if b.HasField("exemplar")]
                assert given and list(h.exemplars) == given, h
                for e in given:
                    assert BEGAN < e.timestamp.seconds + e.timestamp.nanos / 1e9 <= time.time(), e
                look()
                return {(frozenset((p.name, p.value) for p in e.label), e.value) for e in given} <= said
        wait_for("the same in protobuf", 10, the_same_in_protobuf)

        def the_same_in_open_metrics2():
            families = open_metrics2.parse(get(url + "/metrics", {"Accept": OPEN2})[2].decode())
            given = [e for s in families[WAITS].samples.values() for e in s.exemplars]
            look()
            assert all(BEGAN < when <= time.time() for _, _, when in given), given
            return given and {(frozenset(labels), value) for labels, value, _ in given} <= said
        wait_for("the same in OpenMetrics 2", 10, the_same_in_open_metrics2)

        # vitald's own answer, in the form that Grafana reads.
        def its_own():
            series = get_json(f"{url}/api/v1/query_exemplars?query=histogram_quantile(0.9,rate({WAITS}_bucket[5m]))"
                              f"&start={BEGAN}&end={time.time() + 1}")["data"]
            look()
            for s in series:
                assert s["seriesLabels"]["__name__"] == WAITS + "_bucket" and "le" in s["seriesLabels"], s
                assert 1 <= len(s["exemplars"]) <= 4 and all(e["timestamp"] >= BEGAN for e in s["exemplars"]), s
            return [e for s in series for e in s["exemplars"] if (frozenset(e["labels"].items()), float(e["value"])) in said]
        wait_for("the exemplar in vitald's own API", 10, its_own)
        print(f"vitald's own API: {its_own()[-1]}")
        assert get_json(f"{url}/api/v1/query_exemplars?query={WAITS}_count")["data"] == []

        for feature in ("exemplar-storage", "exemplar-storage,native-histograms"):
            config = pathlib.Path(folder, "exemplars.yml")
            config.write_text("global: {scrape_interval: 1s, scrape_timeout: 1s}\nscrape_configs:\n  - job_name: vitald\n"
                              f"    static_configs: [{{targets: [\"{url.removeprefix('http://')}\"]}}]\n")
            port = free_port()
            base = f"http://127.0.0.1:{port}"

            def stored(base=base):
                now = time.time()
                series = get_json(f"{base}/api/v1/query_exemplars?query={WAITS}_bucket%20or%20{WAITS}"
                                  f"&start={now - 300}&end={now + 60}")["data"]
                look()
                return [e for s in series for e in s["exemplars"]
                        if (frozenset(e["labels"].items()), float(e["value"])) in said]
            with tempfile.TemporaryDirectory(dir=folder) as data, \
                    running([prometheus, f"--config.file={config}", f"--storage.tsdb.path={data}",
                             f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn", f"--enable-feature={feature}"],
                            base + "/-/ready", seconds=60) as p:
                wait_for("the exemplar in Prometheus", 30, stored)
                print(f"Prometheus with {feature}: {stored()[-1]}")
                assert "exemplar" not in p.output(), p.output()[-2000:]


with contextlib.ExitStack() as stack:
    top = stack.enter_context(tempfile.TemporaryDirectory())
    pathlib.Path(top, "textfiles").mkdir()
    pathlib.Path(top, "textfiles", "kinds.prom").write_text(TEXTFILE)
    # Without probes: they need seconds to start where others build at the same time.
    flags = ("--collector.disable-defaults", *(f"--collector.{name}" for name in (
        "cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "netstat", "pressure", "self", "stat", "textfile",
        "time", "uname", "vmstat")), f"--collector.textfile.directory={top}/textfiles")
    for created in (False, True):
        more = ("--web.created-series",) if created else ()
        with vitald("--web.max-age=20s", *flags, *more) as (_, base_url):
            series, natives = of_one_snapshot(top, base_url, created)
            print(f"{series} series are the same in six formats, {natives} of the histograms are native")
            if not created:
                read_back(top, base_url)
    receiver_port = free_port()
    pathlib.Path(top, "vitald.yaml").write_text(json.dumps({"push": {"remote_write": [
        {"name": "central", "url": f"http://127.0.0.1:{receiver_port}/api/v1/write", "interval": "1s", "histograms": "native"}]}}))
    with vitald(f"--config.file={top}/vitald.yaml", *flags) as (_, base_url):
        a_real_prometheus(top, base_url, receiver_port, "prometheus", "2.42")
        key = ("vitald_scrapes_total", (("format", "protobuf"),))
        wait_for("they are counted", 10, lambda: parse(get(base_url + "/metrics")[2].decode())[1][key] > 0)
    exemplars_from_the_kernel(top, "prometheus")
