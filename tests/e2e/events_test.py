#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Events as they come: server-sent events, and callbacks that programs register while vitald runs."""

import http.server
import json
import os
import pathlib
import signal
import sys
import tempfile
import threading
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import free_port, get, get_json, vitald, wait_for  # noqa: E402

RULES = """
groups:
  - name: test
    rules:
      - {alert: Test, expr: test_value > 0, labels: {severity: critical}, annotations: {summary: "it is {{ $value }}"}}
"""


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        self.server.got.append((self.headers["Idempotency-Key"], json.loads(self.rfile.read(int(self.headers["Content-Length"])))))
        self.send_response(200)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_):
        pass


def listener(port=0):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    server.daemon_threads, server.got = True, []
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


def call(method, url, body=None):
    request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode(),
                                     headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return answer.status, json.loads(answer.read() or b"null")
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


with tempfile.TemporaryDirectory() as top:
    folder = pathlib.Path(top)
    (folder / "textfiles").mkdir()
    (folder / "rules.yaml").write_text(RULES)

    def value(n):
        (folder / "t.tmp").write_text(f"test_value {n}\n")
        os.rename(folder / "t.tmp", folder / "textfiles/t.prom")

    def running():
        return vitald(f"--rules.file={top}/rules.yaml", "--pipeline.interval=200ms", "--collector.disable-defaults",
                      "--collector.textfile", "--collector.self", "--collector.posted", f"--collector.textfile.directory={top}/textfiles",
                      "--rules.series-label=instance=lab1", f"--state.directory={top}/state")

    value(0)
    fires, everything = listener(), listener()
    with running() as (process, url):
        api = url + "/api/v1/callbacks"
        for bad in ({"url": "http://x"}, {"event_type": "alert_firin", "url": "http://x"}, [1], {"event_type": "*"}, {"event_type": "*", "url": "mailto:x"}, {"event_type": [], "url": "http://x"}):
            assert call("POST", api, bad)[0] == 400, bad
        _, made = call("POST", api, {"event_type": "alert_firing", "url": f"http://127.0.0.1:{fires.server_port}/"})
        mine = made["data"]["id"]
        assert call("POST", api, {"event_type": "alert_firing", "url": f"http://127.0.0.1:{fires.server_port}/"})[1]["data"]["id"] == mine
        other = call("POST", api, {"event_type": "*", "url": f"http://127.0.0.1:{everything.server_port}/"})[1]["data"]["id"]
        assert {c["id"] for c in get_json(api)["data"]} == {mine, other}

        # ---- server-sent events: asked before anything happens, answered when it does
        seen = []
        watcher = threading.Thread(target=lambda: seen.append(get(url + "/api/v1/events/watch", timeout=40)))
        watcher.start()
        value(7)
        watcher.join(20)
        status, headers, body = seen[0]
        assert status == 200 and headers["Content-Type"] == "text/event-stream", headers
        fields = dict(line.split(": ", 1) for line in body.decode().splitlines() if ": " in line)
        assert fields["event"] == "alert_firing" and fields["retry"], body
        event = json.loads(fields["data"])
        assert event["fields"]["alertname"] == "Test" and event["fields"]["severity"] == "critical", event
        # Whoever comes back with the last id misses nothing.
        value(0)
        again = get(url + "/api/v1/events/watch", headers={"Last-Event-ID": fields["id"]}, timeout=40)[2].decode()
        assert "event: alert_resolved" in again and "event: alert_firing" not in again, again
        all_of_it = get(url + "/api/v1/events/watch?after=0&type=alert_firing", timeout=40)[2].decode()
        assert all_of_it.count("event: ") == 1, all_of_it
        assert get(url + "/api/v1/events/watch?after=x")[0] == 400

        wait_for("the callback", 10, lambda: len(fires.got) == 1)
        key, told = fires.got[0]
        assert key and told["id"] == mine and told["event_type"] == "alert_firing", told
        assert told["fields"]["alertname"] == "Test" and told["fields"]["transition"], told
        wait_for("both for who wants all", 10, lambda: [t["event_type"] for _, t in everything.got][:2] == ["alert_firing", "alert_resolved"])

        # ---- silenced: it is an event, and nobody is called until the silence ends
        _, silence = call("POST", url + "/api/v2/silences", {
            "matchers": [{"name": "alertname", "value": "Test"}], "endsAt": "2999-01-01T00:00:00Z", "createdBy": "test"})
        seen_so_far = get_json(url + "/api/v1/events")["data"]["newest"]
        value(8)
        event = wait_for("the event", 10, lambda: get_json(f"{url}/api/v1/events?after={seen_so_far}")["data"]["events"])[0]
        assert event["type"] == "alert_firing" and event["fields"]["muted"] == "true", event
        assert len(fires.got) == 1, fires.got
        assert call("DELETE", f"{url}/api/v2/silence/{silence['silenceID']}")[0] == 200
        wait_for("called when it ends", 10, lambda: len(fires.got) == 2)
        assert "muted" not in fires.got[1][1]["fields"] and fires.got[1][1]["fields"]["value"] == "8", fires.got
        value(0)
        wait_for("its end, too", 10, lambda: [t["event_type"] for _, t in everything.got][-1] == "alert_resolved")

        # ---- while nobody listens: it is kept, also over kill -9
        port = fires.server_port
        fires.shutdown()
        fires.server_close()
        value(9)
        wait_for("it waits", 10, lambda: any(c["id"] == mine and c["waiting"] == 1 for c in get_json(api)["data"]))
        seen_so_far = get_json(url + "/api/v1/events")["data"]["newest"]
        process.process.send_signal(signal.SIGKILL)
        process.process.wait()
    with running() as (process, url):
        api = url + "/api/v1/callbacks"
        now = get_json(f"{url}/api/v1/events?after={seen_so_far}")["data"]
        assert now["newest"] > seen_so_far and now == get_json(f"{url}/api/v1/events?after=0")["data"], now
        assert {c["id"] for c in get_json(api)["data"]} == {mine, other}
        fires = listener(port)
        # Killed before the alerts were saved it is told twice, with the same key.
        wait_for("delivered after the restart", 90, lambda: fires.got)
        assert len({key for key, _ in fires.got}) == 1, fires.got
        assert fires.got[0][1]["fields"]["value"] == "9", fires.got
        assert call("DELETE", f"{api}/{mine}")[0] == 200 and call("DELETE", f"{api}/{mine}")[0] == 404
        assert {c["id"] for c in get_json(api)["data"]} == {other}
        before, fired = len(everything.got), len(fires.got)
        value(0)
        wait_for("the other one hears on", 10, lambda: len(everything.got) > before)
        # What is posted with a time has that time, to the millisecond.
        when = "2026-01-31T12:00:00Z"
        for i in range(5):
            assert call("POST", url + "/api/v1/events", {"type": "deploy", "text": str(i), "timestamp": when})[0] == 202
        wait_for("posted ones", 10, lambda: sum(t["event_type"] == "deploy" for _, t in everything.got) == 5)
        assert {t["time"] for _, t in everything.got if t["event_type"] == "deploy"} == {when.replace("Z", ".000Z")}, everything.got
        stream = get(url + "/api/v1/events/watch?after=0&type=deploy", timeout=40)[2].decode()
        assert stream.count(f'"time":"{when}"') == 5, stream
        assert len(fires.got) == fired
