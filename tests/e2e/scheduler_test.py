#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What schedulers ask: how full a host is, whether to place something on it, its registration, and the Python client."""

import contextlib
import datetime
import http.server
import json
import logging
import os
import pathlib
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.request

HERE = pathlib.Path(__file__).resolve()
sys.path[:0] = [str(HERE.parent.parent), str(HERE.parents[2] / "deploy/clients")]
from harness import get, get_json, vitald, wait_for  # noqa: E402
from vitald import TelemetryError, VitaldTelemetry, registration  # noqa: E402

PROTO = HERE.parents[2] / "deploy/clients/vitald.proto"
RULES = """
groups:
  - name: test
    rules:
      - {alert: OnFire, expr: test_value > 0, labels: {severity: critical}}
      - {alert: Warm, expr: test_value >= 0, labels: {severity: warning}}
"""


def tree(top):
    """A machine with a meter, a hot disk and a cooler processor."""
    for path, text in {
        "hwmon0/name": "coretemp", "hwmon0/temp1_input": "61000", "hwmon0/temp2_input": "64500",
        "hwmon1/name": "nvme", "hwmon1/temp1_input": "79000",
        "hwmon2/name": "power_meter", "hwmon2/power1_average": "312000000",
    }.items():
        file = top / "sys/class/hwmon" / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text + "\n")
    (top / "proc").mkdir()
    (top / "proc/stat").write_text("cpu  0 0 0 1000 0 0 0 0 0 0\ncpu0 0 0 0 1000 0 0 0 0 0 0\nintr 0\nctxt 0\nbtime 1\nprocesses 1\n"
                                   "procs_running 1\nprocs_blocked 0\nsoftirq 0\n")
    (top / "proc/meminfo").write_text("MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 250 kB\n")


@contextlib.contextmanager
def host(post=200, delete=200, meet=None):
    """A host that answers with these statuses; what it was asked is in `asked`. With `meet`, a barrier, it answers when the
    others have been asked, too."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def answer(self, status, data):
            self.server.asked.append((self.command, self.rfile.read(int(self.headers.get("Content-Length", 0)))))
            body = json.dumps({"data": data} if status == 200 else {"error": f"no {self.command} today"}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def do_GET(self):
            metrics = self.path.startswith("/api/v1/query_metrics")
            try:
                if meet:
                    meet.wait(8)
            except threading.BrokenBarrierError:
                self.answer(500, None)
            else:
                self.answer(200, {"metrics": {"test_value": 1}} if metrics else [])

        def do_POST(self):
            self.answer(post, {"id": "its"})

        def do_DELETE(self):
            self.answer(delete, {})

        def log_message(self, *_):
            pass

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads, server.asked = True, []
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def error_of(call):
    try:
        call()
    except TelemetryError as error:
        return error
    raise AssertionError("no error")


def post(url, data):
    request = urllib.request.Request(url, data=json.dumps(data).encode(), headers={"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.loads(answer.read())["data"]


with tempfile.TemporaryDirectory() as folder:
    top = pathlib.Path(folder)
    (top / "textfiles").mkdir()
    (top / "rules.yaml").write_text(RULES)
    tree(top)

    def value(n):
        (top / "t.tmp").write_text(f"test_value {n}\n")
        os.rename(top / "t.tmp", top / "textfiles/t.prom")

    value(0)
    flags = [f"--path.procfs={top}/proc", f"--path.sysfs={top}/sys", f"--rules.file={top}/rules.yaml",
             "--collector.disable-defaults", "--collector.textfile", f"--collector.textfile.directory={top}/textfiles",
             "--collector.cpu", "--collector.meminfo", "--collector.hwmon", "--collector.utilization", "--collector.host_power", "--collector.posted", "--pipeline.interval=1s"]
    began = time.time()
    with vitald(*flags) as (_, url):
        api = url + "/api/v1/utilization"
        # Until the processors were looked at twice nobody knows how busy they are: absent, not 0 and not 50.
        wait_for("memory", 10, lambda: "memory" in get_json(api)["data"])
        assert "network" not in get_json(api)["data"]
        time.sleep(1.2)
        (top / "proc/stat").write_text((top / "proc/stat").read_text().replace("0 0 0 1000", "300 0 0 1100"))
        wait_for("the CPUs' utilization", 10, lambda: get_json(api)["data"].get("cpu", {}).get("percent", 0) > 70)
        data = get_json(api)["data"]
        assert abs(data["memory"]["percent"] - 75) < 1e-6, data
        assert data["temperature"]["celsius"] == 64.5 and "coretemp" in data["temperature"]["source"], data
        assert data["power"]["watts"] == 312 and data["power"]["source"] == "vitald_host_power_watts acpi_power_meter", data
        assert data["schedulable"] is True and data["reasons"] == [], data
        assert 0 <= data["memory"]["age_seconds"] < 5, data
        for query, reason in {"memory_threshold=74.5": "memory is 75.0, above 74.5",
                              "temperature_threshold=60": "temperature is 64.5, above 60",
                              "network_threshold=5": "network is not known"}.items():
            refused = get_json(f"{api}?{query}")["data"]
            assert refused["schedulable"] is False and refused["reasons"][0].startswith(reason), (query, refused)
        assert get_json(api + "?memory_threshold=80")["data"]["schedulable"] is True
        for bad in ("cpu_threshold=x", "cpu_threshold=101", "memory_threshold=-1", "cpu_threshold=nan", "cpu_treshold=90"):
            assert get(f"{api}?{bad}")[0] == 400, bad

        # A critical alert that nobody has in hand takes the host out.
        value(1)
        wait_for("the alert takes it out", 20, lambda: get_json(api)["data"]["reasons"] == ["critical alert OnFire fires"])
        uuid = get_json(url + "/api/v1/alerts?severity=critical")["data"]["alerts"][0]["uuid"]
        urllib.request.urlopen(urllib.request.Request(f"{url}/api/v1/alerts/{uuid}/acknowledgement", method="POST",
                                                      data=json.dumps({"by": "ann"}).encode(),
                                                      headers={"Content-Type": "application/json"}))
        assert get_json(api)["data"]["schedulable"] is True

        me = registration(url)
        assert sorted(me) == ["created_at", "enabled", "endpoint_url", "name", "scrape_interval", "type", "updated_at", "uuid"], me
        assert me["type"] == "prometheus" and me["scrape_interval"] == 1 and me["enabled"] is True
        assert me["uuid"] == get_json(api)["data"]["provider_uuid"]

        # ---- the client
        telemetry = VitaldTelemetry({"u1": url, "gone": "http://127.0.0.1:1"})
        got = telemetry.get_utilization("u1")
        assert got["temperature"] == 64.5 and got["power"] == 312 and abs(got["memory"] - 75) < 1e-6, got
        assert telemetry.query_metrics(["u1", "stranger"], ["test_value", "no_such"]) == {"u1": {"test_value": 1.0}}
        now = datetime.datetime.now(datetime.timezone.utc)
        mean = telemetry.query_metrics(["u1"], ["test_value"], (now - datetime.timedelta(seconds=60), now))["u1"]["test_value"]
        assert 0 < mean < 1, mean
        ticks = 1000

        def weight():
            """The processors' share is known while their counters move."""
            global ticks
            ticks += 100
            (top / "proc/stat").write_text(f"cpu  0 0 0 {ticks} 0 0 0 0 0 0\ncpu0 0 0 0 {ticks} 0 0 0 0 0 0\nbtime 1\n")
            return telemetry.weight("u1")

        wait_for("a weight", 20, lambda: weight() is not None, 0.5)
        weighed = weight()
        # A quarter of memory is free, and all or nothing of the processors; 312 W cost 31.2.
        assert weighed is None or 12.5 - 31.2 - 1e-6 <= weighed <= 62.5 - 31.2 + 1e-6, weighed
        try:
            telemetry.get_utilization("gone")
        except TelemetryError as error:
            assert "127.0.0.1:1" in str(error)
        else:
            raise AssertionError("a host that is gone has no utilization")
        events = VitaldTelemetry({"u1": url})
        heard = []
        events.register_callback("alert_resolved", lambda uuid, event: heard.append((uuid, event["fields"]["alertname"])))
        value(0)
        wait_for("the callback", 20, lambda: heard == [("u1", "OnFire")])
        events.close()
        callbacks = url + "/api/v1/callbacks"
        assert get_json(callbacks)["data"] == []

        # ---- several hosts: what came is given, beside it who is away, and nobody is waited for after another
        with contextlib.ExitStack() as stack:
            silent = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            away = {"silent": "http://127.0.0.1:{}".format(silent.getsockname()[1])}
            noise = stack.enter_context(socket.create_server(("127.0.0.1", 0)))

            def no_http():
                with contextlib.suppress(OSError):
                    while True:
                        with noise.accept()[0] as peer:
                            peer.recv(4096)
                            peer.sendall(b"SSH-2.0-x\r\n\r\n")

            threading.Thread(target=no_http, daemon=True).start()
            away |= {"gone": "http://127.0.0.1:1", "ssh": "http://127.0.0.1:{}".format(noise.getsockname()[1]), "typo": "compute-001"}
            cluster = VitaldTelemetry({"u1": url, **away}, timeout=2)
            got = cluster.query_metrics([*away, "u1", "stranger"], ["test_value"])
            assert got == {"u1": {"test_value": 0.0}} and json.loads(json.dumps(got)) == got, got
            assert got.failed.keys() == away.keys() and all(away[u] in why for u, why in got.failed.items()), got.failed
            barrier = threading.Barrier(6)
            meeting = {f"m{i}": stack.enter_context(host(meet=barrier))[1] for i in range(6)}
            got = VitaldTelemetry(meeting, timeout=20).query_metrics(meeting, ["test_value"])
            assert got == {m: {"test_value": 1} for m in meeting} and list(got) == list(meeting), (got, got.failed)
            assert telemetry.query_metrics(["u1"], ["test_value"]).failed == {}
            all_away = error_of(lambda: cluster.query_metrics(["gone", "typo"], ["test_value"]))
            assert all_away.failed.keys() == {"gone", "typo"} and "127.0.0.1:1" in str(all_away) and "compute-001" in str(all_away), all_away
            noise.shutdown(socket.SHUT_RDWR)

        # ---- a callback is at all hosts or at none
        for half in (VitaldTelemetry({"u1": url, "gone": "http://127.0.0.1:1"}), VitaldTelemetry({"gone": "http://127.0.0.1:1", "u1": url})):
            for _ in range(2):
                error = error_of(lambda: half.register_callback("alert_firing", print))  # noqa: B023
                assert error.failed.keys() == {"gone"} and "127.0.0.1:1" in str(error) and "keep" not in str(error), error
                assert get_json(callbacks)["data"] == []
            half.close()
        with host(post=500) as (_, full), host(delete=500) as (stubborn, stubborn_url):
            half = VitaldTelemetry({"u1": url, "full": full})
            error = error_of(lambda: half.register_callback("alert_firing", print))
            assert "no POST today" in str(error) and "keep" not in str(error) and get_json(callbacks)["data"] == [], error
            # What was there before is not taken back.
            fixed = "http://127.0.0.1:9/mine"
            before = post(callbacks, {"event_type": "alert_firing", "url": fixed + "/1/u1"})["id"]
            again = VitaldTelemetry({"u1": url, "full": full}, callback_url=fixed)
            error_of(lambda: again.register_callback("alert_firing", print))
            assert [c["id"] for c in get_json(callbacks)["data"]] == [before]
            again.close()
            half = VitaldTelemetry({"stubborn": stubborn_url, "full": full})
            error = error_of(lambda: half.register_callback("alert_firing", print))
            assert "no POST today" in str(error) and f"could not be taken back: {stubborn_url}" in str(error), error
            assert stubborn.asked[-1][0] == "DELETE", stubborn.asked
            # A second try, when all are there: the same number, so that a host that kept it has it once.
            half.hosts.pop("full")
            half.hosts["u1"] = url
            half.register_callback("alert_firing", print)
            assert len(get_json(callbacks)["data"]) == 2
            bodies = [body for command, body in stubborn.asked if command == "POST"]
            assert len(bodies) == 2 and bodies[0] == bodies[1], bodies
            error = error_of(half.close)
            assert "no DELETE today" in str(error), error
            urllib.request.urlopen(urllib.request.Request(f"{callbacks}/{before}", method="DELETE"))
            assert get_json(callbacks)["data"] == []

        # ---- one registration for two types: in order, also where the handler fails at first, which is logged
        logged, tries, heard, ready = [], [], [], threading.Event()

        class Log(logging.Handler):
            def emit(self, record):
                logged.append(record)

        def take(uuid, event):
            tries.append(event)
            if not ready.is_set():
                raise LookupError("not yet")
            heard.append(event)

        log = Log(logging.WARNING)
        logging.getLogger("vitald").addHandler(log)
        events.register_callback(["alert_firing", "alert_resolved"], take)
        assert [c["event_type"] for c in get_json(callbacks)["data"]] == ["*"]
        value(1)
        wait_for("the handler is called", 20, lambda: tries)
        post(url + "/api/v1/events", {"type": "deploy", "text": "not asked for"})
        value(0)
        wait_for("the rest waits", 20, lambda: get_json(callbacks)["data"][0]["waiting"] == 3)
        ready.set()
        wait_for("both", 30, lambda: len(heard) == 2)
        assert [e["event_type"] for e in heard] == ["alert_firing", "alert_resolved"], heard
        first, last = (e["fields"] for e in heard)
        assert first["uuid"] == last["uuid"] and int(first["transition"]) < int(last["transition"]), heard
        assert heard[0]["time"] < heard[1]["time"] and all(isinstance(v, str) for v in first.values()), heard
        assert sorted(heard[0]) == ["collector", "event_type", "fields", "host", "id", "text", "time"], heard
        wait_for("all was taken", 10, lambda: get_json(callbacks)["data"][0]["delivered"] == 3)
        assert len(tries) == len(logged) + 2 and {e["event_type"] for e in tries} == {"alert_firing", "alert_resolved"}, tries
        assert logged[0].exc_info[0] is LookupError and "OnFire" in logged[0].getMessage(), logged
        logging.getLogger("vitald").removeHandler(log)
        events.close()
        # ---- several metrics at once
        now = time.time()
        many = get_json(f"{url}/api/v1/query_metrics?metric=test_value,node_memory_MemTotal_bytes&metric=nothing")["data"]
        assert many["metrics"] == {"test_value": 0, "node_memory_MemTotal_bytes": 1024000} and many["aggregation"] == "last", many
        most = get_json(f"{url}/api/v1/query_metrics?metric=test_value&start={now - 60}&end={now}&aggregation=max")["data"]
        assert most["metrics"] == {"test_value": 1} and abs(most["timestamp"] - now) < 0.01, most
        # Of more time than there is history it says since when.
        day = get_json(f"{url}/api/v1/query_metrics?metric=test_value&start={now - 86400}&end={now}")["data"]
        assert began - 1 < day["start"] < now and "start" not in many, (began, day)
        short = get_json(f"{url}/api/v1/query_metrics?metric=test_value&start={now - 2}&end={now}")["data"]
        assert abs(short["start"] - now + 2) < 0.01, short
        for bad in ("", "metric=", "metric=x&aggregation=median", "metric=x&aggregation=avg", "metric=x&start=2&end=1", "metric=x&start=y",
                    "&".join(f"metric=m{i}" for i in range(101))):
            assert get(f"{url}/api/v1/query_metrics?{bad}")[0] == 400, bad

        # ---- protobuf, by the schema that clients have
        for path, message in {"utilization": "Utilization", "registration": "Registration",
                              "query_metrics?metric=test_value,node_memory_MemTotal_bytes": "Metrics"}.items():
            status, headers, body = get(f"{url}/api/v1/{path}", {"Accept": "application/x-protobuf, application/json;q=0.5"})
            assert status == 200 and headers["Content-Type"] == "application/x-protobuf" and "Accept" in headers.get_all("Vary"), (path, headers.items())
            text = subprocess.run(["protoc", f"-I{PROTO.parent}", f"--decode=vitald.v1.{message}", str(PROTO)], input=body,
                                  capture_output=True, check=True).stdout.decode()
            json_data = get_json(f"{url}/api/v1/{path}")["data"]
            if message == "Metrics":
                assert 'key: "node_memory_MemTotal_bytes"' in text and "value: 1024000" in text, text
            elif message == "Utilization":
                assert f'provider_uuid: "{json_data["provider_uuid"]}"' in text and "value: 64.5" in text and "network" not in text, text
            else:
                assert f'uuid: "{json_data["uuid"]}"' in text and f'created_at: "{json_data["created_at"]}"' in text, text
        assert get(f"{url}/api/v1/utilization", {"Accept": "application/json, application/x-protobuf"})[1]["Content-Type"] == "application/json"
        assert get(f"{url}/api/v1/utilization", {"Accept": "application/x-protobuf;q=0, application/json"})[1]["Content-Type"] == "application/json"
        assert get(f"{url}/api/v1/query_metrics?metric=", {"Accept": "application/x-protobuf"})[1]["Content-Type"] == "application/json"

        # ---- the client in C++
        before = post(callbacks, {"event_type": "alert_firing", "url": "http://127.0.0.1:9/x"})["id"]
        with host(post=500) as (_, full), host(delete=500) as (_, stubborn), contextlib.ExitStack() as stack:
            barrier = threading.Barrier(6)
            meeting = [stack.enter_context(host(meet=barrier))[1] for _ in range(6)]
            printed = subprocess.run([os.environ["CLIENT_PROBE"], url, "http://127.0.0.1:9/x", full, stubborn, *meeting],
                                     capture_output=True, text=True, timeout=60)
        assert printed.returncode == 0, printed
        said = dict(line.split(" ", 1) for line in printed.stdout.splitlines())
        me = registration(url)
        for key in ("uuid", "endpoint_url", "created_at"):
            assert said[f"registration.{key}"] == me[key], said
        for key, want in {"registration.scrape_interval": 1, "utilization.temperature": 64.5, "utilization.power": 312,
                          "utilization.memory": 75, "metrics.hosts": 1, "metrics.test_value": 0,
                          "metrics.node_memory_MemTotal_bytes": 1024000}.items():
            assert abs(float(said[key]) - want) < 1e-6, (key, said)
        assert 0 < float(said["mean.test_value"]) < 1, said
        assert said["hot.schedulable"] == "false" and said["hot.reason"].startswith("temperature is 64.5, above 1"), said
        assert said["temperature.source"].startswith("node_hwmon_temp_celsius") and said["weight.gone"] == "none", said
        assert "127.0.0.1:1" in said["error.gone"] and "stranger" in said["error.stranger"], said
        assert "400" in said["error.refused"] and "cpu_treshold" in said["error.refused"], said
        assert float(said["several.hosts"]) == 7 and float(said["several.failed"]) == 1 and "127.0.0.1:1" in said["several.gone"], said
        assert "127.0.0.1:1" in said["error.all"], said
        assert "127.0.0.1:1" in said["callback.gone"] and "keep" not in said["callback.gone"], said
        assert "no POST today" in said["callback.full"] and "keep" not in said["callback.full"], said
        assert f"could not be taken back: {stubborn}" in said["callback.stubborn"], said
        # What was there before the probe is there yet, and nothing of what failed.
        assert "metrics.no such" not in printed.stdout and [c["id"] for c in get_json(callbacks)["data"]] == [before]
print("utilization, registration, query_metrics, protobuf, clients: as documented")
