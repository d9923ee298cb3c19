#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Real guests as lines in a real InfluxDB and behind /api/telemetry, beside what `virsh domstats` says."""

import contextlib
import json
import math
import pathlib
import sys
import tempfile
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from guests import define, domstats, enter_namespace, libvirtd, virsh  # noqa: E402
from harness import Process, free_port, get, get_json, need, vitald, wait_for  # noqa: E402


@contextlib.contextmanager
def influx(folder, port):
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
    server = Process(["influxd", "-config", str(conf)])
    try:
        wait_for("InfluxDB", 60, lambda: pinged(port))
        yield
    finally:
        server.stop()


def pinged(port):
    try:
        return get(f"http://127.0.0.1:{port}/ping")[0] == 204
    except OSError:
        return False


def main():
    enter_namespace()
    need("influxd")
    with libvirtd(), tempfile.TemporaryDirectory() as folder:
        for name in ("web", "db"):
            define(name, "qemu")
            virsh("start", name)
        define("off", "qemu")
        port = free_port()
        base = f"http://127.0.0.1:{port}"
        config = pathlib.Path(folder, "vitald.yaml")
        config.write_text("push: " + json.dumps({"influx": [{
            "name": "i", "url": base, "database": "vmstats", "interval": "1s", "metrics": False,
            "vm_lines": ["vm_metrics", "vm_features", "vm_devices", "vm_totals"]}]}))
        flags = [f"--config.file={config}", "--collector.disable-defaults", "--collector.libvirt", "--collector.guests",
                 "--collector.self", "--collector.libvirt.slow-interval=1s", "--pipeline.interval=1s",
                 "--history.without-rules"]
        with influx(folder, port), vitald(*flags) as (_, url):
            def query(q):
                return get_json(f"{base}/query?" + urllib.parse.urlencode({"db": "vmstats", "q": q, "epoch": "ns"}))["results"][0]

            def newest(measurement, name):
                found = query(f"SELECT * FROM {measurement} WHERE \"name\" = '{name}' ORDER BY time DESC LIMIT 1").get("series")
                return dict(zip(found[0]["columns"], found[0]["values"][0])) if found else None

            wait_for("lines of a guest", 60, lambda: newest("vm_features", "web"))
            virsh("suspend", "web")  # now nothing moves
            stats = domstats("web")
            line = wait_for("the line that says so", 30, lambda: (
                n := newest("vm_metrics", "web"), n if n and n["state"] == "paused" and n["cputime_ns"] == domstats("web")["cpu.time"]
                else None)[1])
            assert line["cpu_count"] == 1 and line["memory_max_kb"] == stats["balloon.maximum"], line
            assert line["memory_used_kb"] == stats["balloon.current"], line
            assert line["uuid"] == virsh("domuuid", "web").strip() and line["VMID"] == virsh("domid", "web").strip(), line
            keys = {f["fieldKey"]: f["fieldType"] for f in [dict(zip(("fieldKey", "fieldType"), v)) for v in query(
                "SHOW FIELD KEYS FROM vm_metrics")["series"][0]["values"]]}
            assert keys == {"state": "string", "cpu_count": "integer", "memory_max_kb": "integer", "memory_used_kb": "integer",
                            "cputime_ns": "integer"}, keys
            tags = sorted(v[0] for v in query("SHOW TAG KEYS FROM vm_metrics")["series"][0]["values"])
            assert tags == ["VMID", "name", "uuid"], tags
            disk = query("SELECT * FROM vm_devices WHERE \"name\" = 'web' AND device = 'vda' ORDER BY time DESC LIMIT 1")["series"][0]
            disk = dict(zip(disk["columns"], disk["values"][0]))
            assert disk["read_bytes"] == stats["block.0.rd.bytes"] and disk["kind"] == "disk", disk
            assert newest("vm_totals", "web")["disk_read_bytes"] == stats["block.0.rd.bytes"]
            assert newest("vm_metrics", "off") is None  # it has no number

            # The balloon: its memory falls, and the rate and the angle with it.
            virsh("resume", "web")
            virsh("setmem", "web", "16M", "--live")
            if wait_for_or_none(10, lambda: domstats("web")["balloon.current"] == 16384):
                fell = wait_for("memory that falls", 10, lambda: query(
                    "SELECT min(memory_rate_kb_per_sec) FROM vm_features WHERE \"name\" = 'web'")["series"][0]["values"][0][1] < 0)
                assert fell
            else:
                print("the firmware has no balloon driver: memory stays, as rate 0 says")
                feature = newest("vm_features", "web")
                assert feature["memory_rate_kb_per_sec"] == 0
                assert math.isclose(feature["memory_angle_deg"], math.degrees(math.atan(1e-12))), feature

            # The API says the same.
            vms = get_json(url + "/api/telemetry/vms")["data"]
            assert vms["connected"] and [v["name"] for v in vms["vms"]] == ["db", "off", "web"], vms
            off, web = vms["vms"][1], vms["vms"][2]
            assert off["state"] == "stopped" and "vm_id" not in off and off["memory_max_kb"] == 32 << 10, off
            assert web["state"] == "running" and str(web["vm_id"]) == virsh("domid", "web").strip(), web
            for key in (str(web["vm_id"]), "web", web["uuid"]):
                # While virsh has a guest's job, as it had a moment ago, a reading is without what needs one: its disks.
                wait_for("the disk of a guest", 10, lambda: get_json(f"{url}/api/telemetry/stats/{key}")["data"]["devices"][0]["device"] == "vda")
                assert get_json(f"{url}/api/telemetry/stats/{key}")["data"]["uuid"] == web["uuid"]
            assert get(f"{url}/api/telemetry/stats/nobody")[0] == 404
            stats = get_json(url + "/api/telemetry/stats")["data"]
            assert stats["running"] and stats["vms_monitored"] == 2 and stats["total_errors"] == 0, stats
            assert stats["total_collections"] > 5 and stats["total_metrics_written"] > 20, stats
            assert stats["started_at"].startswith("20") and stats["last_collection_time"].startswith("20"), stats

            def history(**parameters):
                status, _, body = get(f"{url}/api/telemetry/history?" + urllib.parse.urlencode(parameters))
                assert status == 200, (parameters, status, body)
                return json.loads(body)["data"]["series"]

            (raw,) = history(vm="web", field="memory_used_kb")
            assert raw["uuid"] == web["uuid"] and len(raw["points"]) > 3 and raw["points"][0][1] == 32 << 10, raw
            (latest,) = history(vm=web["vm_id"], field="cpu_count", agg="latest")
            assert [p[1] for p in latest["points"]] == [1], latest
            states = {p[1] for p in history(vm="web", field="state")[0]["points"]}
            assert {"running", "paused"} <= states, states
            assert len(history(field="memory_max_kb", agg="avg")) == 3, "each guest, also the one that does not run"
            (cpu,) = history(vm="web", field="cputime_ns", agg="rate", **{"from": "-30s"})
            assert cpu["points"][0][1] > 0, cpu
            (steps,) = history(vm="web", field="memory_max_kb", agg="max", step="2s", **{"from": "-10s"})
            assert len(steps["points"]) >= 3 and {p[1] for p in steps["points"]} == {32 << 10}, steps
            (vda,) = history(vm="web", field="read_bytes", device="vda", agg="max")
            assert vda["device"] == "vda" and vda["points"][0][1] > 0, vda
            for status, parameters in [
                    (404, {"vm": "nobody", "field": "state"}), (400, {"vm": "web"}), (400, {"vm": "web", "field": "odd"}),
                    (400, {"vm": "web", "field": "state", "agg": "avg"}), (400, {"vm": "web", "field": "cpu_count", "agg": "odd"}),
                    (400, {"vm": "web", "field": "cpu_count", "from": "yesterday"}),
                    (400, {"vm": "web", "field": "cpu_count", "from": "now", "to": "-1h"}),
                    (400, {"vm": "web", "field": "cpu_count", "device": "vda"}), (400, {"vm": "web", "field": "cpu_count", "step": "1m"}),
                    (400, {"vm": "web", "field": "cpu_count", "fro": "-1h"})]:
                got, _, body = get(f"{url}/api/telemetry/history?" + urllib.parse.urlencode(parameters))
                assert got == status, (parameters, got, body)
            print("vm_metrics, vm_features, vm_devices and vm_totals in InfluxDB 1.6 are what virsh domstats says")


def wait_for_or_none(seconds, condition):
    try:
        return wait_for("", seconds, condition)
    except AssertionError:
        return None


main()
