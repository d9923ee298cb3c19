#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""InfluxDB 2 and 3 as they answer, by a stand-in that reads line protocol as strictly as it is written: what it takes, what
it takes in part, what it refuses as a whole, and what is counted of it. (InfluxDB 1 is a real one: push_formats_test.py.)"""

import gzip
import http.server
import json
import pathlib
import re
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, get, metrics, parse, vitald, wait_for  # noqa: E402

SERIES = 40
TEXT = "odd{v=\"a b,c=d\\\\\",w=\"\u00e9 \\\"q\\\"\"} 1.5\nodd{v=\"nan\"} NaN\n" + "".join(
    f"test_number{{n=\"{n}\"}} {n}\n" for n in range(SERIES))
QUIET = ["--collector.disable-defaults", "--collector.textfile", "--collector.self", "--web.max-age=0"]

KEY = r"(?:\\[,= ]|\\(?![,= ])|[^,= \\\n])+"
LINE = re.compile(rf"((?:\\[, ]|\\(?![, ])|[^, \\\n])+)((?:,{KEY}={KEY})*) ({KEY}=[^ ,]+(?:,{KEY}=[^ ,]+)*) (-?\d+)")
PAIR = re.compile(rf"({KEY})=({KEY})")
FIELD = re.compile(r"-?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][-+]?\d+)?|-?\d+[iu]|[tf]|true|false")


def plain(text):
    return re.sub(r"\\([,= ])", r"\1", text)


def read(line):
    """((measurement, tags), {field: number}, ns) of a line; ValueError."""
    found = LINE.fullmatch(line)
    if not found or found[1].startswith(("#", "_")):
        raise ValueError("no line")
    tags = [(plain(k), plain(v)) for k, v in PAIR.findall(found[2])]
    names = [k for k, _ in tags]
    if names != sorted(set(names)) or {"time", "_field", "_measurement"} & set(names):
        raise ValueError(f"tags {names}")
    fields = {}
    for pair in found[3].split(","):
        key, value = pair.rsplit("=", 1)
        if not FIELD.fullmatch(value):
            raise ValueError(f"field {pair}")
        fields[plain(key)] = float(value.rstrip("iu"))
    return (plain(found[1]), tuple(tags)), fields, int(found[4])


class Influx:
    """Version 2 or 3. `bad` are measurements that it does not take; `how` is what that means for the others: "partial",
    "all" (nothing is written). `answers` are given first."""

    def __init__(self, version):
        self.version, self.points, self.problems, self.answers, self.bad, self.how = version, {}, [], [], set(), "partial"
        self.requests = self.lines = self.refused = 0
        self.too_long = set()  # measurements a line of which is too large alone
        self.most_lines = None
        self.lock = threading.Lock()
        influx = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                with influx.lock:
                    try:
                        status, answer, headers = influx.take(self.path, self.headers, body)
                    except (ValueError, AssertionError, UnicodeDecodeError) as problem:
                        influx.problems.append(repr(problem))
                        status, answer, headers = 400, {"code": "invalid", "message": str(problem)}, {}
                text = json.dumps(answer).encode() if answer else b""
                self.send_response(status)
                for name, value in {**headers, "Content-Length": str(len(text))}.items():
                    self.send_header(name, value)
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def take(self, path, headers, body):
        self.requests += 1
        where = urllib.parse.urlsplit(path)
        asked = {k: v[0] for k, v in urllib.parse.parse_qs(where.query, keep_blank_values=True).items()}
        if self.version == 2:
            assert where.path == "/api/v2/write" and asked == {"org": "o r&g", "bucket": "b=1", "precision": "ns"}, path
            allowed = headers["Authorization"] == "Token s3cr3t"
        else:
            assert where.path == "/api/v3/write_lp", path
            assert asked == {"db": "d b", "precision": "nanosecond", "accept_partial": "true"}, path
            allowed = headers["Authorization"] == "Bearer s3cr3t"
        if not allowed:
            return 401, {"code": "unauthorized", "message": "unauthorized access"}, {}
        assert headers["Content-Type"] == "text/plain; charset=utf-8", headers["Content-Type"]
        text = (gzip.decompress(body) if headers["Content-Encoding"] == "gzip" else body).decode()
        if not text.strip():  # whether it may
            return 204, None, {}
        assert text.endswith("\n"), text[-50:]
        rows = [(line, *read(line)) for line in text[:-1].split("\n")]
        if self.answers:
            return self.answers.pop(0)
        if self.most_lines and len(rows) > self.most_lines:
            return 413, {"code": "request too large", "message": "too large"}, {}
        if any(name in self.too_long for _, (name, _), *_ in rows):
            self.refused += len(rows) == 1
            return 413, {"code": "request too large", "message": "too large"}, {}
        bad = [n for n, (_, (name, _), *_) in enumerate(rows) if name in self.bad]
        if bad and self.how == "all":
            self.refused += len(rows)
            if self.version == 2:
                return 400, {"code": "invalid", "message": f"unable to parse '{rows[bad[0]][0]}': bad"}, {}
            return 400, {"error": "parsing failed for write_lp endpoint", "data": {
                "original_line": rows[bad[0]][0], "line_number": bad[0] + 1, "error_message": "bad"}}, {}
        for n, (_, series, fields, ns) in enumerate(rows):
            if n in bad:
                continue
            times = self.points.setdefault(series, [])
            assert not times or ns > times[-1][0], f"out of order: {series} {ns}"
            times.append((ns, fields["value"]))
            self.lines += 1
        if not bad:
            return 204, None, {}
        self.refused += len(bad)
        if self.version == 2:
            return 422, {"code": "unprocessable entity", "message": "failure writing points to database: partial write: "
                         f"field type conflict: input field \"value\" dropped={len(bad)}"}, {}
        return 400, {"error": "partial write of line protocol occurred", "data": [
            {"original_line": rows[n][0], "line_number": n + 1, "error_message": "bad"} for n in bad]}, {}

    def stop(self):
        self.server.shutdown()
        self.server.server_close()


def counted(url):
    out = {}
    for (name, labels), value in metrics(url)[1].items():
        labels = dict(labels)
        if labels.get("destination") != "i":
            continue
        if name in ("vitald_push_samples_total", "vitald_push_sent_samples_total"):
            out["made" if name == "vitald_push_samples_total" else "sent"] = value
        elif name == "vitald_push_dropped_samples_total":
            out[labels["reason"]] = value
        elif name == "vitald_delivery_queued":
            out["waiting"] = value
    return out


def items_refused(url):
    return sum(value for (name, labels), value in metrics(url)[1].items()
               if name == "vitald_delivery_dropped_total" and ("destination", "i") in labels and ("reason", "refused") in labels)


def settled(url):
    """All that was made is sent or counted."""
    last = {}

    def look():
        last.clear()
        last.update(counted(url))
        return last["waiting"] == 0 and last["made"] == last["sent"] + last["refused"] + last["too_large"]
    try:
        wait_for("all is sent or counted", 60, look)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last}") from error
    return last


def version(folder, number):
    influx = Influx(number)
    token = pathlib.Path(folder, "token")
    token.write_text("s3cr3t\n")
    text = pathlib.Path(folder, "text")
    text.mkdir(exist_ok=True)
    (text / "t.prom").write_text(TEXT)
    settings = {"name": "i", "url": influx.url, "api": str(number), "interval": "500ms", "bearer_token_file": str(token)}
    settings |= {"organization": "o r&g", "bucket": "b=1"} if number == 2 else {"database": "d b"}
    path = pathlib.Path(folder, "vitald.yaml")
    path.write_text("push: " + json.dumps({"influx": [settings]}))
    flags = [f"--config.file={path}", f"--collector.textfile.directory={text}", *QUIET]
    with vitald(*flags, f"--state.directory={folder}/state{number}") as (process, url):
        wait_for("lines", 30, lambda: influx.lines > 200 or influx.problems)
        assert not influx.problems, influx.problems[:2]

        # What is there is what a scrape shows.
        def equal():
            samples = parse(get(url + "/metrics")[2].decode())[1]
            stamp = samples[("vitald_snapshot_timestamp_seconds", ())]
            with influx.lock:
                newest = {s: times[-1] for s, times in influx.points.items()}
            moments = {ns for ns, _ in newest.values() if abs(ns / 1e9 - stamp) < 1e-3}
            if not moments:
                return False
            got = {(name, tuple((k, v) for k, v in tags if k not in ("job", "instance"))): value
                   for (name, tags), (ns, value) in newest.items() if ns in moments}
            want = {(name, tuple((k, re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], v).rstrip("\\")) for k, v in labels)): value
                    for (name, labels), value in samples.items() if abs(value) < float("inf")}
            if want.keys() - got.keys():
                return False  # it is being written
            assert got == want, sorted(map(str, want.items() ^ got.items()))[:6]
            return len(want)
        shown = wait_for("a scrape of what arrived", 30, equal)

        def round_of(what):
            """Some pushes with what is refused in them; the counters before and after."""
            before, at = settled(url), (influx.lines, influx.refused)
            what()
            after = settled(url)
            return {k: after[k] - before[k] for k in after}, influx.refused - at[1]

        def some(how, bad):
            def run():
                with influx.lock:
                    influx.how, influx.bad = how, bad
                want = influx.requests + 4
                wait_for("some requests", 30, lambda: influx.requests >= want)
                with influx.lock:
                    influx.bad = set()
            return run
        # A part is refused: that part is counted, and nothing comes twice.
        change, refused = round_of(some("partial", {"odd", "vitald_cycles_total"}))
        assert change["refused"] == refused > 0 and change["sent"] > 10 * refused, (change, refused)
        # Nothing of it is written, and the queue says so.
        items = items_refused(url)
        change, refused = round_of(some("all", {"odd"}))
        assert change["refused"] == refused >= shown, (change, refused)
        assert items_refused(url) > items, (items, items_refused(url))

        def ask(*answers):
            def run():
                with influx.lock:
                    influx.answers = list(answers)
                wait_for("the answers are given", 40, lambda: not influx.answers)
            return run
        nobody = {"code": "internal error", "message": "x"}
        for answers in ((503, nobody, {"Retry-After": "1"}), (429, nobody, {"Retry-After": "1"})), ((500, nobody, {}),) * 2:
            change, _ = round_of(ask(*answers))
            assert change["refused"] == change["too_large"] == 0 and change["sent"] > 0, change

        def large():
            with influx.lock:
                influx.most_lines = shown // 3
            want = influx.requests + 12
            wait_for("it goes on in parts", 40, lambda: influx.requests >= want)
            with influx.lock:
                influx.most_lines = None
        change, _ = round_of(large)
        assert change["refused"] == change["too_large"] == 0, change
        # A wrong token costs nothing: what was made waits until there is the right one.
        before = settled(url)
        token.write_text("wrong\n")
        wait_for("it waits", 20, lambda: counted(url)["waiting"] >= 2)
        assert counted(url)["refused"] == before["refused"]
        doctor = subprocess.run([VITALD, "doctor", *flags, "--state.directory="], capture_output=True, text=True, check=False).stdout
        line = next(row for row in doctor.splitlines() if "influx 'i'" in row)
        assert "401" in line and not line.startswith("ok"), line
        token.write_text("s3cr3t\n")
        time.sleep(0.1)
        after = settled(url)
        assert after["refused"] == before["refused"] and after["too_large"] == 0, (before, after)
        # What is too large alone is not sent. From here on requests are small: this is the last that is asked.
        def alone():
            with influx.lock:
                influx.too_long = {"odd"}
                at = influx.refused
            wait_for("one is given up", 60, lambda: influx.refused > at)
            with influx.lock:
                influx.too_long = set()
        change, refused = round_of(alone)
        assert change["too_large"] == refused > 0 and change["refused"] == 0, (change, refused)
        after = counted(url)
        assert "s3cr3t" not in process.output()
    assert not influx.problems, influx.problems[:3]
    influx.stop()
    print(f"InfluxDB {number}: {shown} series are what the scrape shows; {influx.lines} lines taken in order by "
          f"{influx.requests} requests, {influx.refused} refused and counted: {after}", flush=True)


def main():
    for number in (2, 3):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder).chmod(0o755)
            version(folder, number)


main()
