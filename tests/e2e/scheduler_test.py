#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What schedulers ask: how full a host is, whether to place something on it, its registration, and the Python client."""

import datetime
import json
import os
import pathlib
import subprocess
import sys
import tempfile
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
             "--collector.cpu", "--collector.meminfo", "--collector.hwmon", "--collector.utilization", "--collector.host_power", "--pipeline.interval=1s"]
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
        assert get_json(url + "/api/v1/callbacks")["data"] == []
        # ---- several metrics at once
        now = time.time()
        many = get_json(f"{url}/api/v1/query_metrics?metric=test_value,node_memory_MemTotal_bytes&metric=nothing")["data"]
        assert many["metrics"] == {"test_value": 0, "node_memory_MemTotal_bytes": 1024000} and many["aggregation"] == "last", many
        most = get_json(f"{url}/api/v1/query_metrics?metric=test_value&start={now - 60}&end={now}&aggregation=max")["data"]
        assert most["metrics"] == {"test_value": 1} and abs(most["timestamp"] - now) < 0.01, most
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
        assert get(f"{url}/api/v1/query_metrics?metric=", {"Accept": "application/x-protobuf"})[1]["Content-Type"] == "application/json"

        # ---- the client in C++
        printed = subprocess.run([os.environ["CLIENT_PROBE"], url, "http://127.0.0.1:9/x"], capture_output=True, text=True, timeout=60)
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
        assert "metrics.no such" not in printed.stdout and get_json(url + "/api/v1/callbacks")["data"] == []
print("utilization, registration, query_metrics, protobuf, clients: as documented")
