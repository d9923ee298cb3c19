#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Remote write to real servers and to a strict receiver: what arrives is what a scrape of the same moment shows, and
samples sent and dropped are as many as were made, whatever the receiver answers and however vitald ends."""

import hashlib
import json
import math
import os
import pathlib
import re
import signal
import struct
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, free_port, get, get_json, metrics, need, parse, running, vitald, wait_for  # noqa: E402
from remote_write import STALE, Receiver  # noqa: E402

need("prometheus", "victoria-metrics")

# Without probes: they need seconds to start where others build at the same time, and are not what is asked here.
HOST = ["--collector.disable-defaults", *(f"--collector.{name}" for name in (
    "cpu", "diskstats", "filesystem", "loadavg", "meminfo", "netdev", "netstat", "pressure", "self", "softnet", "stat",
    "textfile", "time", "uname", "vmstat"))]
STAMP = ("vitald_snapshot_timestamp_seconds", ())


def config(folder, *destinations, name="vitald.yaml"):
    path = pathlib.Path(folder, name)
    path.write_text("push:\n  remote_write:\n" + "".join(f"    - {json.dumps(d)}\n" for d in destinations))
    return f"--config.file={path}"


def counted(url, destination):
    """{what: samples} of a destination; dropped by reason."""
    samples = metrics(url)[1]
    mine = {name: value for (name, labels), value in samples.items() if ("destination", destination) in labels
            and name in ("vitald_push_samples_total", "vitald_push_sent_samples_total")}
    out = {"made": mine.get("vitald_push_samples_total", 0), "sent": mine.get("vitald_push_sent_samples_total", 0)}
    for (name, labels), value in samples.items():
        if name == "vitald_push_dropped_samples_total" and ("destination", destination) in labels:
            out[dict(labels)["reason"]] = value
    out["dropped"] = sum(value for key, value in out.items() if key not in ("made", "sent"))
    out["items refused"] = samples.get(("vitald_delivery_dropped_total", (
        ("data_type", "samples"), ("destination", destination), ("reason", "refused"))), 0)
    out["waiting"] = samples.get(("vitald_delivery_queued", (("data_type", "samples"), ("destination", destination))), 0)
    return out


def same(a, b):
    return a == b or (math.isnan(a) and math.isnan(b))


def scrape_of_the_moment(url, stamp_of):
    """The text of the very snapshot that arrived: stamp_of() says the time of the newest that did."""
    def look():
        text = get(url + "/metrics")[2].decode()
        samples = parse(text)[1]
        return samples if stamp_of() == samples[STAMP] else None
    return wait_for("a scrape of the snapshot that was pushed", 20, look, 0.2)


def plain(value):
    """A label's value without the text format's escapes."""
    return re.sub(r'\\(.)', lambda m: "\n" if m[1] == "n" else m[1], value)


def compare(what, scraped, arrived, extra):
    """Every series of the scrape, with the labels that a server would add, and none else but `up`."""
    want = {}
    for (name, labels), value in scraped.items():
        own = {k: plain(v) for k, v in labels}
        want[(name, tuple(sorted({**{("exported_" + k if k in ("job", "instance") else k): v for k, v in own.items()},
                                  **extra}.items())))] = value
    arrived = dict(arrived)
    assert arrived.pop(("up", tuple(sorted(extra.items()))), 1) == 1
    missing, more = want.keys() - arrived.keys(), arrived.keys() - want.keys()
    assert not missing and not more, f"{what}: missing {sorted(missing)[:5]}, more {sorted(more)[:5]}"
    other = [(key, value, arrived[key]) for key, value in want.items() if not same(value, arrived[key])]
    assert not other, f"{what}: {other[:5]}"
    print(f"{what}: {len(want)} series are what the scrape shows", flush=True)


def equals_a_scrape(folder):
    (pathlib.Path(folder) / "text").mkdir()
    (pathlib.Path(folder) / "text/t.prom").write_text(
        "# TYPE odd gauge\nodd{job=\"own\",v=\"a\\\"b\\\\c\\ndé\"} NaN\nodd{v=\"inf\"} +Inf\n"
        "# HELP wait_seconds Wait.\n# TYPE wait_seconds histogram\n"
        "wait_seconds_bucket{le=\"0.1\"} 1\nwait_seconds_bucket{le=\"+Inf\"} 3\nwait_seconds_sum 2.5\nwait_seconds_count 3\n")
    prometheus, victoria = free_port(), free_port()
    pathlib.Path(folder, "prometheus.yml").write_text("global: {scrape_interval: 1h}\n")
    strict = Receiver()
    with running(["prometheus", f"--config.file={folder}/prometheus.yml", f"--storage.tsdb.path={folder}/tsdb",
                  f"--web.listen-address=127.0.0.1:{prometheus}", "--web.enable-remote-write-receiver",
                  "--log.level=warn"], f"http://127.0.0.1:{prometheus}/-/ready", seconds=60), \
         running(["victoria-metrics", f"-storageDataPath={folder}/vm", f"-httpListenAddr=127.0.0.1:{victoria}"],
                 f"http://127.0.0.1:{victoria}/health", seconds=60):
        destinations = [{"name": "strict", "url": strict.url, "interval": "3s"},
                        {"name": "prom", "url": f"http://127.0.0.1:{prometheus}/api/v1/write", "interval": "3s"},
                        {"name": "vm", "url": f"http://127.0.0.1:{victoria}/api/v1/write", "interval": "3s"}]
        with vitald(config(folder, *destinations), "--web.max-age=10s", *HOST,
                    f"--collector.textfile.directory={folder}/text") as (_, url):
            wait_for("the first push", 20, lambda: strict.series or strict.problems)
            assert not strict.problems, strict.problems[:2]
            instance = dict(next(iter(strict.series)))["instance"]
            extra = {"job": "node", "instance": instance}

            key = (STAMP[0], tuple(sorted(extra.items())))
            scraped = scrape_of_the_moment(url, lambda: strict.latest().get(key, (0, 0))[1])
            compare("strict 2.0", scraped, {k: v[1] for k, v in strict.latest().items()}, extra)
            assert not strict.problems, strict.problems
            types = parse(get(url + "/metrics")[2].decode())[0]
            wanted = {"counter": 1, "gauge": 2, "histogram": 3, "summary": 5, "untyped": 0}
            for labels, kind in strict.kinds.items():
                name = dict(labels)["__name__"]
                family = name if name in types else name.rsplit("_", 1)[0]
                if family in types:
                    assert kind == wanted[types[family]], (labels, kind)
            boot = metrics(url)[1][("node_boot_time_seconds", ())]
            cpu = next(start for labels, start in strict.starts.items()
                       if dict(labels)["__name__"] == "node_cpu_seconds_total")
            assert abs(cpu / 1000 - boot) < 2, (cpu, boot)

            def at(base, nanoseconds=False):
                def latest():
                    found = get_json(f"{base}/api/v1/query?query={STAMP[0]}")["data"]["result"]
                    return float(found[0]["value"][1]) if found else 0
                scrape = scrape_of_the_moment(url, latest)
                when = math.floor(scrape[STAMP] * 1000) / 1000
                answer = get_json(f"{base}/api/v1/query?" + urllib.parse.urlencode(
                    {"query": '{__name__=~".+"}', "time": f"{when:.3f}"}))["data"]["result"]
                arrived = {}
                for row in answer:
                    labels = dict(row["metric"])
                    if labels.get("job") == "node":
                        arrived[(labels.pop("__name__"), tuple(sorted(labels.items())))] = float(row["value"][1])
                return scrape, arrived

            scrape, arrived = at(f"http://127.0.0.1:{prometheus}")
            compare("Prometheus 2.42, by 1.0", scrape, arrived, extra)
            for name in ("prom", "vm", "strict"):
                numbers = wait_for("its numbers", 20, lambda: (n := counted(url, name))["sent"] > 300 and n)
                assert numbers["dropped"] == 0, numbers
        # The end: all series are told to be over.
        assert not strict.latest(), list(strict.latest())[:3]
        gone = get_json(f"http://127.0.0.1:{prometheus}/api/v1/query?query=node_load1")["data"]["result"]
        assert not gone, gone

        def exported():
            get(f"http://127.0.0.1:{victoria}/internal/force_flush")
            body = get(f"http://127.0.0.1:{victoria}/api/v1/export?" + urllib.parse.urlencode(
                {"match[]": '{job="node"}'}))[2].decode()
            out = {}
            for line in body.splitlines():
                row = json.loads(re.sub(r"(?<=[\[,])\+?(-?)[Ii]nf(inity)?(?=[\],])", r"\1Infinity", line))
                labels = row["metric"]
                out[(labels.pop("__name__"), tuple(sorted(labels.items())))] = dict(zip(row["timestamps"], row["values"]))
            return out if len(out) > 300 else None
        held = wait_for("what VictoriaMetrics has", 30, exported, 0.5)
        # What it has of each moment is what the strict receiver was sent at that moment, number by number.
        times = set()
        checked = 0
        for labels, samples in strict.series.items():
            key = (dict(labels)["__name__"], tuple(sorted((n, v) for n, v in labels if n != "__name__")))
            for ms, bits in samples:
                value = struct.unpack("<d", struct.pack("<Q", bits))[0]
                theirs = held.get(key, {}).get(ms)
                if theirs is None or theirs == "Infinity" or bits == STALE or math.isnan(value):
                    continue
                # It keeps some thirteen digits of a number.
                assert same(float(theirs), value) or abs(float(theirs) - value) <= 1e-12 * abs(value), (key, ms, theirs, value)
                times.add(ms)
                checked += 1
        assert checked > 300 and times, (checked, len(times))
        print(f"VictoriaMetrics, by 1.0: {checked} samples of {len(times)} moments are what the strict receiver has", flush=True)
    assert not strict.problems, strict.problems
    strict.stop()


SERIES = 40
QUIET = ["--collector.disable-defaults", "--collector.textfile", "--collector.self"]


def textfiles(folder):
    path = pathlib.Path(folder, "text")
    path.mkdir(exist_ok=True)
    (path / "t.prom").write_text("".join(f"test_number{{n=\"{n}\"}} {n}\n" for n in range(SERIES)))
    return [f"--collector.textfile.directory={path}", "--web.max-age=0", *QUIET]


def settle(url, name, seconds=30):
    numbers = {}

    def all_gone():
        numbers.update(counted(url, name))
        return numbers["waiting"] == 0 and numbers["sent"] + numbers["dropped"] == numbers["made"]
    try:
        wait_for("all is sent or counted", seconds, all_gone)
    except AssertionError as error:
        raise AssertionError(f"{error}: {numbers}") from error
    return numbers


def counting(folder):
    """500, 429, 413, 400, lost answers: nothing is lost but what was refused, and that is counted."""
    receiver = Receiver()
    flags = [config(folder, {"name": "r", "url": receiver.url, "interval": "200ms"}), *textfiles(folder)]
    with vitald(*flags) as (_, url):
        wait_for("pushes", 20, lambda: len(receiver.requests) >= 3)
        cases = {"500": [500, 503], "429": [(429, {"Retry-After": "1"})], "400": [400, 400], "no answer": ["drop"],
                 "404": [404]}
        for name, answers in cases.items():
            before = counted(url, "r")
            with receiver.lock:
                receiver.answers = list(answers)
            wait_for(f"{name}: the answers are given", 20, lambda: not receiver.answers)
            want = len(receiver.requests) + 5
            wait_for(f"{name}: it goes on", 20, lambda: len(receiver.requests) >= want)
            after = counted(url, "r")
            refused = after["refused"] - before["refused"]
            assert (refused > 0) == (name in ("400", "404")), (name, before, after)
            # What the server took nothing of is not delivered: each answer was to a push of one item.
            lost = after["items refused"] - before["items refused"]
            assert lost == (len(answers) if name in ("400", "404") else 0), (name, before, after)
        # Too large: in halves, and so from then on.
        with receiver.lock:
            receiver.most_series = 30
        want = len(receiver.requests) + 20
        wait_for("413: it goes on in parts", 20, lambda: len(receiver.requests) >= want)
        process_numbers = counted(url, "r")
        assert process_numbers["full"] == process_numbers["lost"] == 0, process_numbers
    assert not receiver.problems, receiver.problems
    # vitald has ended, and its last samples arrived: none is missing, in order, no series ends without a marker.
    stamps = [times for labels, times in receiver.series.items() if dict(labels)["__name__"] == "test_number"]
    assert len(stamps) == SERIES and all(times[-1][1] == STALE for times in stamps)
    receiver.stop()
    print(f"counting: {process_numbers}, doubles {receiver.doubles}", flush=True)


def away_and_killed(folder):
    """Nobody listens; vitald is killed again and again. What was made before arrives when the receiver is there."""
    port = free_port()
    state = f"--state.directory={folder}/state"
    flags = [config(folder, {"name": "r", "url": f"http://127.0.0.1:{port}/api/v1/write", "interval": "200ms",
                             "timeout": "2s"}), state, *textfiles(folder)]
    made = runs = 0
    for _ in range(6):
        with vitald(*flags) as (process, url):
            wait_for("some wait", 20, lambda: counted(url, "r")["waiting"] >= 8)
            numbers = counted(url, "r")
            assert numbers["sent"] == numbers["dropped"] == 0, numbers
            made += numbers["made"]
            runs += 1
            time.sleep(0.1)  # the last of them is being written
            os.kill(process.pid, signal.SIGKILL)
            process.process.wait()
    receiver = Receiver(port=port, check_order=True)
    with vitald(*flags) as (_, url):
        numbers = wait_for("all of it arrives", 60, lambda: (n := counted(url, "r"))["waiting"] == 0 and n["sent"] > made and n)
    assert not receiver.problems, receiver.problems[:3]
    assert receiver.taken >= made, (receiver.taken, made)
    receiver.stop()
    print(f"killed {runs} times while nobody listened: {made:.0f} samples made, {receiver.taken} arrived in order, "
          f"{receiver.doubles} doubles", flush=True)


def bound(folder):
    """Without a state directory memory is the bound: the oldest go, and are counted."""
    port = free_port()
    receiver = None
    path = pathlib.Path(folder, "text")
    flags = [config(folder, {"name": "r", "url": f"http://127.0.0.1:{port}/api/v1/write", "interval": "1s",
                             "queue_memory": 1, "timeout": "10s"}), *textfiles(folder)]
    (path / "t.prom").write_text("".join(f"test_number{{n=\"{n}\",long=\"{os.urandom(30).hex()}\"}} {n}\n" for n in range(1500)))
    with vitald(*flags) as (_, url):
        wait_for("some are dropped", 60, lambda: counted(url, "r")["full"] > 0)
        receiver = Receiver(port=port)
        numbers = settle(url, "r", 90)
        assert numbers["full"] > 0 and numbers["refused"] == numbers["lost"] == 0, numbers
    assert not receiver.problems, receiver.problems[:3]
    receiver.stop()
    print(f"bound: {numbers}", flush=True)


def reload_and_secrets(folder):
    """A token from a file; a reload that changes the labels ends the old series; nothing of the token is shown."""
    receiver = Receiver()
    secret = pathlib.Path(folder, "token")
    secret.write_text("s3cr3t-token\n")
    base = {"name": "r", "url": receiver.url, "interval": "200ms", "bearer_token_file": str(secret)}
    flag = config(folder, {**base, "labels": ["rack=1"]})
    with vitald(flag, *textfiles(folder)) as (process, url):
        wait_for("a push", 20, lambda: receiver.series)
        assert receiver.requests[-1][1] == "Bearer s3cr3t-token", receiver.requests[-1]
        config(folder, {**base, "labels": ["rack=2"], "relabel": [
            {"source_labels": ["__name__"], "regex": "test_.*", "action": "keep"},
            {"source_labels": ["n"], "modulus": 4, "target_label": "shard", "action": "hashmod"},
            {"regex": "instance", "action": "labeldrop"}]})
        urllib_post(url + "/-/reload")
        def only_new():
            now = receiver.latest()
            racks = {dict(labels)["rack"] for _, labels in now}
            return now if racks == {"2"} and len(now) == SERIES else None
        now = wait_for("only the new labels", 20, only_new)
        for (name, labels), _ in now.items():
            labels = dict(labels)
            want = int.from_bytes(hashlib.md5(labels["n"].encode()).digest()[8:], "big") % 4
            assert name == "test_number" and labels["shard"] == str(want) and "instance" not in labels, labels
        shown = process.output() + get(url + "/metrics")[2].decode()
        assert "s3cr3t" not in shown
        check = subprocess.run([VITALD, flag, "--config.check"], capture_output=True, text=True, check=False)
        assert check.returncode == 0 and "s3cr3t" not in check.stdout + check.stderr, check.stderr
    assert not receiver.problems, receiver.problems[:3]
    receiver.stop()
    print("reload: old series ended, new ones relabelled", flush=True)


def standby(folder):
    """While the first server is away or answers 5xx the other one gets all, in order; then the first one again."""
    first, second = Receiver(), Receiver(version=1)
    port = first.port
    destination = {"name": "pair", "url": first.url, "interval": "1s", "timeout": "2s", "standby_retry": "3s",
                   "standby": [f"http://127.0.0.1:{second.port}/"]}
    with vitald(config(folder, destination), f"--state.directory={folder}/state", *HOST) as (process, url):
        def standing_in():
            return metrics(url)[1].get(("vitald_push_standby", (("destination", "pair"),)))
        wait_for("the first one has some", 20, lambda: first.taken > 0)
        assert standing_in() == 0 and second.taken == 0
        first.answers[:] = ["drop"] * 9  # on the connection that is there
        first.stop()
        wait_for("the second one has some", 20, lambda: second.taken > 0)
        wait_for("it says so", 10, lambda: standing_in() == 1)
        first = Receiver(port=port)
        wait_for("the first one again", 30, lambda: first.taken > 0)
        wait_for("it says so again", 10, lambda: standing_in() == 0)
        first.answers[:] = [503]
        before = second.taken
        wait_for("5xx is no answer either", 20, lambda: second.taken > before)
        counts = settle(url, "pair")
        assert counts["dropped"] == 0 and counts["made"] == counts["sent"], counts
        wait_for("it is counted", 10, lambda: metrics(url)[1][
            ("vitald_push_server_changes_total", (("destination", "pair"),))] >= 3)
        assert "push: a standby is sent to" in process.output() and "push: the first server answers again" in process.output()

        def doctor():
            out = subprocess.run([VITALD, "doctor", config(folder, destination)], capture_output=True, text=True, check=False).stdout
            return next(text for text in out.splitlines() if "remote_write 'pair'" in text)

        line = doctor()
        assert line.split()[0] == "ok" and "standby: " in line and "but the standby" not in line, line
    # A standby stands in for one that is away, not for one that refuses: that one gets all, and takes nothing.
    for answer in (302, 401, 403, 404, 405):
        first.answers[:] = [answer] * 9
        line = doctor()
        assert line.split()[0] == "FIX" and f"answers {answer}" in line and "; standby: " in line, line
    first.answers[:] = [503] * 9
    line = doctor()
    assert line.split()[0] == "ok" and "answers 503" in line and "; standby: " in line, line
    second.answers[:] = [404] * 9
    line = doctor()
    assert line.split()[0] == "FIX" and "; but the standby: " in line and "answers 404" in line, line
    first.answers[:] = second.answers[:] = []
    # One of the two is enough, and the other one is named.
    second.stop()
    line = doctor()
    assert line.split()[0] == "ok" and "; but the standby: " in line and f"127.0.0.1:{second.port}" in line, line
    first.stop()
    line = doctor()
    assert line.split()[0] == "FIX" and f"127.0.0.1:{first.port}" in line and f"127.0.0.1:{second.port}" in line, line
    for receiver in (first, second):
        assert not receiver.problems, receiver.problems[:3]
    print("standby: all of it arrived", flush=True)


def urllib_post(url):
    urllib.request.urlopen(urllib.request.Request(url, method="POST"), timeout=20).close()


def without_destinations():
    with vitald(*QUIET) as (process, url):
        names = {pathlib.Path(f"/proc/{process.pid}/task/{t}/comm").read_text().strip()
                 for t in os.listdir(f"/proc/{process.pid}/task")}
        assert "push" not in names and "deliver" not in names, names
        before = metrics(url)[1][("vitald_cycles_total", ())]
        time.sleep(1.5)
        assert metrics(url)[1][("vitald_cycles_total", ())] - before <= 2


def main():
    for part in (equals_a_scrape, counting, away_and_killed, bound, standby, reload_and_secrets):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder).chmod(0o755)
            part(folder)
    without_destinations()


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as one:
            globals()[sys.argv[1]](one)
    else:
        main()
