#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Samples as lines of JSON in a file that is moved away, is bounded, was torn, cannot be written, and on standard output;
events as syslog over UDP, TCP and a local socket, and in journald's own protocol."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, free_port, get, metrics, parse, vitald, wait_for  # noqa: E402

QUIET = ["--collector.disable-defaults", "--collector.textfile", "--collector.self", "--collector.posted"]
TEXT = "odd{v=\"a\\\"b\\\\c\\nd\"} 1.5\nodd{v=\"nan\"} NaN\nodd{v=\"inf\"} +Inf\n" + "".join(
    f"test_number{{n=\"{n}\"}} {n}\n" for n in range(50))


def configured(folder, **kinds):
    path = pathlib.Path(folder, "vitald.yaml")
    path.write_text("push: " + json.dumps(kinds))
    (pathlib.Path(folder) / "text").mkdir(exist_ok=True)
    pathlib.Path(folder, "text/t.prom").write_text(TEXT)
    return [f"--config.file={path}", f"--collector.textfile.directory={folder}/text", *QUIET]


def counter(url, name, destination):
    return sum(v for (n, labels), v in metrics(url)[1].items() if n == name and ("destination", destination) in labels)


def lines_of(text):
    """{moment: {(name, labels): value}}; asserts that every line is whole."""
    out = {}
    for line in text.splitlines():
        row = json.loads(line)
        assert set(row) == {"name", "labels", "value", "timestamp"}, row
        moment = out.setdefault(row["timestamp"], {})
        key = row["name"], tuple(sorted(row["labels"].items()))
        assert key not in moment, row
        moment[key] = row["value"]
    return out


def json_lines(folder):
    file, state = pathlib.Path(folder, "samples.jsonl"), pathlib.Path(folder, "state")
    file.write_text('{"name":"old","labels":{},"value":1,"timestamp":1.000}\n{"name":"torn","lab')
    flags = [*configured(folder, json_lines=[{"name": "j", "path": str(file), "interval": "300ms"}]), f"--state.directory={state}"]
    with vitald(*flags, "--web.max-age=20s") as (process, url):
        wait_for("lines", 20, lambda: file.read_text().count("test_number") >= 150)
        found = lines_of(file.read_text()[:file.read_text().rfind("\n") + 1])
        assert 1.0 in found and not any(k[0] == "torn" for m in found.values() for k in m), "the torn line is cut off"
        # What is there is what a scrape shows.
        def equal():
            samples = parse(get(url + "/metrics")[2].decode())[1]
            moment = samples[("vitald_snapshot_timestamp_seconds", ())]
            mine = next((m for t, m in lines_of(file.read_text()).items() if abs(t - moment) < 0.0011), None)
            if not mine:
                return False
            mine = {(n, tuple((k, v) for k, v in labels if k not in ("job", "instance"))): v for (n, labels), v in mine.items()}
            want = {(n, tuple((k, re.sub(r"\\(.)", lambda m: "\n" if m[1] == "n" else m[1], v)) for k, v in labels)): v
                    for (n, labels), v in samples.items()}
            assert want.keys() == mine.keys(), sorted(map(str, want.keys() ^ mine.keys()))[:5]
            for key, value in want.items():
                assert mine[key] == (value if abs(value) < float("inf") else None), (key, value, mine[key])
            return len(want)
        print(f"json_lines: {wait_for('a scrape of what was written', 30, equal)} series are what the scrape shows", flush=True)
        # Moved away, as logrotate does, and nobody is told.
        os.rename(file, f"{file}.old")
        wait_for("a new one", 10, lambda: file.exists() and file.read_text().count("\n") > 60)
        before, after = lines_of(pathlib.Path(f"{file}.old").read_text()), lines_of(file.read_text())
        assert not before.keys() & after.keys(), "a moment is in one of them"
        # A folder in its place: it waits, and comes when it can.
        os.rename(file, f"{file}.older")
        file.mkdir()
        wait_for("it waits", 20, lambda: counter(url, "vitald_delivery_queued", "j") >= 3)
        file.rmdir()
        wait_for("nothing waits", 30, lambda: counter(url, "vitald_delivery_queued", "j") == 0)
        times = sorted(lines_of(file.read_text()))
        assert times == list(dict.fromkeys(json.loads(line)["timestamp"] for line in file.read_text().splitlines())), "in order"
        made, sent = counter(url, "vitald_push_samples_total", "j"), counter(url, "vitald_push_sent_samples_total", "j")
        assert counter(url, "vitald_push_dropped_samples_total", "j") == 0 and sent > 0 and made >= sent
        os.kill(process.pid, signal.SIGKILL)
        process.process.wait()
    # Bounded: what is full becomes .1.
    small = pathlib.Path(folder, "small.jsonl")
    flags = configured(folder, json_lines=[{"name": "j", "path": str(small), "interval": "100ms", "max_size": 1}])
    pathlib.Path(folder, "text/t.prom").write_text("".join(f"test_number{{n=\"{n}\",t=\"{'x' * 200}\"}} {n}\n" for n in range(1500)))
    with vitald(*flags, "--web.max-age=0") as (_, url):
        wait_for("two files", 30, lambda: pathlib.Path(f"{small}.1").exists() and small.exists() and small.stat().st_size > 0)
        for path in (small, pathlib.Path(f"{small}.1")):
            assert path.stat().st_size <= 1 << 20, path.stat().st_size
            text = path.read_text()
            lines_of(text[:text.rfind("\n") + 1])
        assert len(list(pathlib.Path(folder).glob("small*"))) == 2
    print("json_lines: moved, bounded, torn, in the way", flush=True)


def standard_output(folder):
    flags = configured(folder, json_lines=[{"name": "o", "path": "-", "interval": "200ms"}])
    port = free_port()
    with subprocess.Popen([VITALD, f"--web.listen-address=127.0.0.1:{port}", "--state.directory=", "--no-evidence.last-words", *flags],
                          stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as process:
        try:
            time.sleep(3)  # nobody reads: more than a pipe holds waits
            text = b""
            while text.count(b"test_number") < 1500:
                text += os.read(process.stdout.fileno(), 65536)
            found = lines_of(text[:text.rfind(b"\n") + 1].decode())
            whole = [m for m in found.values() if len(m) >= 60]
            assert len(whole) >= 20, len(whole)
        finally:
            process.kill()
    print(f"json_lines: {len(found)} moments on standard output", flush=True)


SYSLOG = re.compile(r'<29>1 (\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) (\S+) vitald (\d+) (\S{1,32}) '
                    r'\[vitald@32473((?: [!-~]{1,32}="(?:[^"\\\]]|\\["\\\]])*")+)\] (.*)', re.S)


def post(url, **event):
    urllib.request.urlopen(urllib.request.Request(url + "/api/v1/events", data=json.dumps(event).encode(),
                                                  headers={"Content-Type": "application/json"}), timeout=10).close()


def fields_of(message):
    """Of journald's native protocol."""
    out = {}
    while message:
        name, _, rest = message.partition(b"\n") if b"=" not in message.split(b"\n", 1)[0] else (None, None, None)
        if name is None:
            line, _, message = message.partition(b"\n")
            key, _, value = line.partition(b"=")
            out[key.decode()] = value.decode()
            continue
        size = int.from_bytes(rest[:8], "little")
        out[name.decode()] = rest[8:8 + size].decode()
        message = rest[8 + size + 1:]
    return out


LOCAL = re.compile(r"<29>[A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d vitald\[(\d+)\]: (.*)")


def local_text(message):
    found = LOCAL.fullmatch(message.decode())
    assert found, message
    return found[2]


def taken(message):
    found = SYSLOG.fullmatch(message.decode())
    assert found, message
    fields = {k: re.sub(r'\\(.)', r"\1", v) for k, v in re.findall(r' ([!-~]+?)="((?:[^"\\\]]|\\["\\\]])*)"', found[5])}
    return found[4], fields, found[6]


def events(folder):
    local = pathlib.Path(folder, "log")
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    unix.bind(str(local))
    local.chmod(0o777)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    udp.bind(("127.0.0.1", 0))
    port = free_port()
    flags = configured(folder, events=[
        {"name": "local", "to": str(local), "interval": "1s"},
        {"name": "udp", "to": f"udp://127.0.0.1:{udp.getsockname()[1]}", "types": ["deploy"], "interval": "1s"},
        {"name": "tcp", "to": f"tcp://127.0.0.1:{port}", "interval": "1s"}])
    for s in (unix, udp):
        s.settimeout(20)
    with vitald(*flags, f"--state.directory={folder}/state") as (_, url):
        post(url, type="deploy", text="Version \"3\"\nis [here]", labels={"app": "a\"]\\b"})
        # A socket of this machine has the form of the C library, which journald reads; the others RFC 5424.
        assert local_text(unix.recv(65536)) == 'Version "3" is [here]'
        kind, fields, text = taken(udp.recv(65536))
        assert (kind, text) == ("deploy", 'Version "3" is [here]'), (kind, text)
        assert fields == {"collector": "posted", "app": "a\"]\\b"}, fields
        # One that is not there: it waits, in order.
        post(url, type="other", text="2")
        assert local_text(unix.recv(65536)) == "2"
        wait_for("both wait", 20, lambda: counter(url, "vitald_delivery_queued", "tcp") == 2)
        with socket.create_server(("127.0.0.1", port)) as server:
            server.settimeout(40)
            stream, _ = server.accept()
            stream.settimeout(20)
            got = b""

            def next_one():
                nonlocal got
                while True:
                    head = re.match(rb"(\d+) ", got)
                    if head and len(got) >= head.end() + int(head[1]):
                        end = head.end() + int(head[1])
                        message, got = got[head.end():end], got[end:]
                        return taken(message)
                    more = stream.recv(65536)
                    assert more, got
                    got += more
            assert [next_one()[2], next_one()[2]] == ['Version "3" is [here]', "2"]
            post(url, type="other", text="3")
            assert next_one()[2] == "3"
            # It hangs up, and the next one goes over a new connection.
            stream.close()
            post(url, type="other", text="4")
            stream, _ = server.accept()
            stream.settimeout(20)
            got = b""
            assert next_one()[2] == "4"
            stream.close()
        udp.settimeout(0.2)
        try:
            raise AssertionError(udp.recv(65536))  # nothing but its type
        except TimeoutError:
            pass
        wait_for("all are counted", 10, lambda: counter(url, "vitald_delivery_delivered_total", "local") == 4)
        doctor = subprocess.run([VITALD, "doctor", *flags, "--state.directory="], capture_output=True, text=True, check=False).stdout
        for name, word in (("local", "ok"), ("udp", "ok"), ("tcp", "")):
            line = next(text for text in doctor.splitlines() if f"events '{name}'" in text)
            assert word in line.split()[0], line
        assert "refused" in next(text for text in doctor.splitlines() if "events 'tcp'" in text).lower(), doctor
    for s in (unix, udp):
        s.close()
    print("events: over a local socket, RFC 5424 over UDP and TCP", flush=True)


def many_events(folder):
    """Snapshots follow each other faster than the pushes look at them, and no event is missed."""
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    unix.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 1 << 20)
    unix.bind(str(pathlib.Path(folder, "log")))
    unix.settimeout(20)
    flags = configured(folder, events=[{"name": "e", "to": str(pathlib.Path(folder, "log")), "types": ["deploy"]}],
                       json_lines=[{"name": f"j{n}", "path": f"{folder}/j{n}", "interval": "100ms"} for n in range(4)])
    pathlib.Path(folder, "text/t.prom").write_text("".join(f"test_number{{n=\"{n}\"}} {n}\n" for n in range(5000)))
    with vitald(*flags, f"--state.directory={folder}/state", "--web.max-age=0") as (_, url):
        stop = threading.Event()

        def scrape():
            while not stop.is_set():
                get(url + "/metrics")
        scrapers = [threading.Thread(target=scrape) for _ in range(3)]
        for t in scrapers:
            t.start()
        for n in range(50):
            post(url, type="deploy", text=f"number {n}")
            time.sleep(0.05)
        got = [local_text(unix.recv(65536)) for _ in range(50)]
        stop.set()
        for t in scrapers:
            t.join()
        assert got == [f"number {n}" for n in range(50)], got
        wait_for("all are counted", 10, lambda: counter(url, "vitald_delivery_delivered_total", "e") == 50)
        assert counter(url, "vitald_delivery_dropped_total", "e") == 0
        of_samples = [key for key in metrics(url)[1] if "samples" in key[0] and ("destination", "e") in key[1]]
        assert not of_samples, of_samples
    unix.close()
    print("events: 50 of 50 while snapshots follow each other", flush=True)


def not_ours(folder):
    """A file that somebody else wrote is not cut, and no two write one file."""
    package = '{"name":"left-pad","version":"1.3.0"}'
    for text, refused in (("a line without an end", True), (package, True), ('{"name":"a","labels":{}}\n' + package, True),
                          ('{"name":"a","labels":{},"value":1,"timestamp":1.000}\n{"name":"te', False),
                          ('{"name":"a","lab', False), ('{"name":"a","labels":{"x":"y', False)):
        file = pathlib.Path(folder, "theirs.json")
        file.write_text(text)
        with vitald(*configured(folder, json_lines=[{"name": "j", "path": str(file), "interval": "100ms"}])) as (process, url):
            if refused:
                wait_for("it waits", 20, lambda: counter(url, "vitald_delivery_queued", "j") >= 2)
                assert file.read_text() == text, file.read_text()
                assert "is none of ours" in process.output(), process.output()
            else:
                wait_for("lines", 20, lambda: "test_number" in file.read_text())
                assert file.read_text().startswith(text[:text.rfind("\n") + 1] + '{"name":'), file.read_text()[:200]
                lines_of(file.read_text()[:file.read_text().rfind("\n") + 1])
    for kinds in ({"json_lines": [{"name": "a", "path": f"{folder}/x"}], "json_file": [{"name": "b", "path": f"{folder}//x"}]},
                  {"json_lines": [{"name": "a", "path": "-"}, {"name": "b", "path": "-"}]},
                  {"textfile": [{"name": "a", "path": f"{folder}/x"}, {"name": "b", "path": f"{folder}/x"}]}):
        checked = subprocess.run([VITALD, *configured(folder, **kinds), "--config.check"], capture_output=True, text=True, check=False)
        assert checked.returncode != 0 and "expected a file for each" in checked.stdout + checked.stderr, checked
    print("json_lines: what others wrote stays, one writer a file", flush=True)


def journal(folder):
    """journald's protocol; its own socket where there is none to write to is the machine's, so the check alone is asked."""
    flags = configured(folder, events=[{"name": "j", "to": "journald"}])
    checked = subprocess.run([VITALD, *flags, "--config.check"], capture_output=True, text=True, check=False)
    there = os.path.exists("/run/systemd/journal/socket")
    assert there or "/run/systemd/journal/socket" in checked.stdout + checked.stderr, checked
    bad = configured(folder, events=[{"name": "j", "to": "http://x"}])
    checked = subprocess.run([VITALD, *bad, "--config.check"], capture_output=True, text=True, check=False)
    assert checked.returncode != 0 and "expected e.g. /dev/log, udp://HOST:514 or tcp://HOST:601, or journald" in \
        checked.stdout + checked.stderr, checked
    if there:
        print("skipped: journald's protocol, the machine has a journal of its own", flush=True)
        return
    if os.geteuid() != 0:
        print("skipped: journald's protocol, only root may stand in for it", flush=True)
        return
    place = pathlib.Path("/run/systemd/journal")
    made = [p for p in (place, *place.parents) if not p.exists()]
    place.mkdir(parents=True, exist_ok=True)
    unix = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    try:
        unix.bind(str(place / "socket"))
        unix.settimeout(20)
        with vitald(*configured(folder, events=[{"name": "j", "to": "journald", "interval": "1s"}])) as (_, url):
            post(url, type="deploy", text="two\nlines", labels={"app-name": "a=b"})
            fields = fields_of(unix.recv(65536))
            at = fields.pop("VITALD_EVENT_AT")
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT.*Z", at), at
            assert fields == {"MESSAGE": "two\nlines", "PRIORITY": "5", "SYSLOG_IDENTIFIER": "vitald", "VITALD_EVENT_TYPE": "deploy",
                              "VITALD_EVENT_COLLECTOR": "posted", "VITALD_EVENT_FIELD_APP_NAME": "a=b"}, fields
    finally:
        unix.close()
        (place / "socket").unlink(missing_ok=True)
        for folder_made in made:
            folder_made.rmdir()
    print("events: journald's protocol", flush=True)


def main():
    for part in (json_lines, standard_output, not_ours, events, many_events, journal):
        with tempfile.TemporaryDirectory() as folder:
            pathlib.Path(folder).chmod(0o755)
            part(folder)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        with tempfile.TemporaryDirectory() as one:
            globals()[sys.argv[1]](one)
    else:
        main()
