#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Destinations that lose what they are sent: why is one word for all of them, vitald_delivery_refusing is 1 for as long as
they do, and the shipped rule that says so neither keeps itself alive nor comes and goes."""

import concurrent.futures
import http.server
import json
import os
import pathlib
import re
import sys
import tempfile
import threading
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import TOP, get_json, metrics, vitald, wait_for  # noqa: E402

TEST_RULES = """
groups:
  - name: test
    rules:
      - {alert: Single, expr: test_single > 0, labels: {severity: warning}}
"""


class Server(http.server.ThreadingHTTPServer):
    """Answers each path's first word with the status that `says` has for it."""

    daemon_threads = True

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.says, self.asked, self.told = {}, {}, []
        threading.Thread(target=self.serve_forever, daemon=True).start()


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        who = self.path.split("/")[1]
        status = self.server.says.get(who, 200)
        if callable(status):
            status = status(json.loads(body)) if who == "hook" else status()
        self.server.asked[who] = self.server.asked.get(who, 0) + 1
        if who == "hook":
            message = json.loads(body)
            self.server.told += [(a["labels"]["alertname"], a["status"], status) for a in message["alerts"]]
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    do_GET = do_PATCH = do_POST = do_PUT = answer

    def log_message(self, *_):
        pass


def scaled():
    """The shipped rules about vitald, a hundred and fifty times as fast."""
    text = (TOP / "deploy/rules/vitald.yaml").read_text()
    for real, scaled_down in (("for: 5m", "for: 2s"), ("offset 15m", "offset 6s"), ("[15m]", "[6s]"), ("[1h]", "[20s]")):
        text = text.replace(real, scaled_down)
    return text


class Run:
    def __init__(self, folder, config):
        self.folder = pathlib.Path(folder)
        (self.folder / "text").mkdir()
        self.folder.chmod(0o755)
        self.number(0)
        (self.folder / "vitald.yaml").write_text("pipeline: {interval: 200ms}\n" + "".join(
            f"{key}: {json.dumps(rest)}\n" for key, rest in config.items()))
        (self.folder / "rules.yaml").write_text(TEST_RULES)
        (self.folder / "own.yaml").write_text(scaled())
        self.flags = [f"--config.file={folder}/vitald.yaml", f"--rules.file={folder}/rules.yaml",
                      f"--rules.file={folder}/own.yaml", "--web.max-age=0", "--collector.disable-defaults",
                      "--collector.textfile", "--collector.self", f"--collector.textfile.directory={folder}/text",
                      f"--state.directory={folder}/state"]

    def number(self, single):
        (self.folder / "t.tmp").write_text(f"test_single {single}\n")
        os.rename(self.folder / "t.tmp", self.folder / "text/t.prom")


def value(url, family, **labels):
    return metrics(url)[1].get((family, tuple(sorted(labels.items()))), 0)


def dropped(url, destination, family="vitald_delivery_dropped_total"):
    """The reasons that have grown, but for what a destination was told of itself: the rule may fire meanwhile."""
    return sorted(dict(labels)["reason"] for (name, labels), n in metrics(url)[1].items()
                  if name == family and n > 0 and dict(labels)["destination"] == destination
                  and dict(labels)["reason"] != "about_delivery")


def firing(url, name="VitaldDeliveryRefused"):
    return sorted(a["labels"]["destination"] for a in get_json(url + "/api/v1/alerts")["data"]["alerts"]
                  if a["labels"]["alertname"] == name and a["state"] == "firing")


def table():
    """What the answer is, what it is called, and for whom."""
    pushes = {"remote_write": "url", "influx": "url", "otlp": "url", "pushgateway": "url"}
    for status, reason in ((413, "too_large"), (400, "refused"), (200, None)):
        server = Server()
        base = f"http://127.0.0.1:{server.server_port}"
        server.says = dict.fromkeys([*pushes, "hook", "am", "cluster", "callback"], status)
        with tempfile.TemporaryDirectory() as folder:
            config = {"push": {kind: [{"name": kind, key: f"{base}/{kind}", "interval": "1s"}] for kind, key in pushes.items()},
                      "notify": {"webhooks": [{"name": "hook", "url": base + "/hook"}],
                                 "kubernetes": [{"name": "cluster", "url": base + "/cluster", "node": "n",
                                                 "bearer_token_file": "", "ca_file": ""}],
                                 "alertmanagers": [{"name": "am", "urls": [base + "/am"]}],
                                 "commands": [{"name": "command", "command": ["/bin/false" if reason else "/bin/true"]}]}}
            config["push"]["influx"][0]["database"] = "d"
            run = Run(folder, config)
            with vitald(*run.flags) as (_, url):
                body = json.dumps({"event_type": "alert_firing", "url": base + "/callback"}).encode()
                with urllib.request.urlopen(url + "/api/v1/callbacks", body, timeout=10) as answer:
                    callback = "callback-" + json.load(answer)["data"]["id"]
                run.number(1)
                for name in (*pushes, "hook", "am", "cluster", callback, "command"):
                    kind = "samples" if name in pushes else "alerts"
                    labels = {"data_type": kind, "destination": name}
                    want = ["failed"] if reason and name == "command" else [reason] if reason else []
                    if reason:
                        wait_for(f"{status} of {name}", 30, lambda: dropped(url, name), 0.1)
                        wait_for(f"{name} is said to refuse", 20, lambda: value(url, "vitald_delivery_refusing", **labels) == 1)
                    else:
                        wait_for(f"{name} takes it", 30, lambda: value(url, "vitald_delivery_delivered_total", **labels), 0.1)
                        assert value(url, "vitald_delivery_refusing", **labels) == 0, name
                    assert dropped(url, name) == want, (status, name, dropped(url, name))
                    if name in pushes:
                        of_samples = dropped(url, name, "vitald_push_dropped_samples_total")
                        assert of_samples == want, (status, name, of_samples)
            print(f"{status} is {reason or 'taken'}, for all of them", flush=True)
        server.shutdown()


def transitions(server, name):
    return [(what, status) for alert, what, status in server.told if alert == name]


def lives(what, refuses):
    """A webhook that refuses what `refuses` says while alerts come and go, for four times as long as rules look back; then
    it takes."""
    server = Server()
    server.says["hook"] = lambda message: 400 if refuses(message) else 200
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, {"notify": {"webhooks": [{"name": "hook", "url": f"http://127.0.0.1:{server.server_port}/hook"}]}})

        def one_more():
            for number, status in ((1, "firing"), (0, "resolved")):
                told = len(transitions(server, "Single"))
                run.number(number)
                wait_for(f"Single, {status}", 20, lambda: transitions(server, "Single")[told:])

        with vitald(*run.flags) as (_, url):
            one_more()
            wait_for("the rule fires", 20, lambda: firing(url) == ["hook"])
            began, pause = time.time(), 0
            while time.time() < began + 24:
                assert firing(url) == ["hook"], (what, transitions(server, "VitaldDeliveryRefused"))
                if time.time() > began + pause:
                    one_more()
                    pause += 5
                time.sleep(0.1)
            own = transitions(server, "VitaldDeliveryRefused")
            assert [status for status, _ in own] == ["firing"], (what, own)
            server.says["hook"] = 200
            one_more()
            wait_for("it takes, and the rule is over", 20, lambda: firing(url) == [])
            wait_for("that is told", 20, lambda: transitions(server, "VitaldDeliveryRefused")[-1] == ("resolved", 200))
            time.sleep(6)
            assert firing(url) == [] and len(transitions(server, "VitaldDeliveryRefused")) == 2, what
    server.shutdown()
    print(f"{what}: one alert for as long as it does", flush=True)


def a_command_that_fails(retries):
    """It is told of its own failure, and fails at that."""
    with tempfile.TemporaryDirectory() as folder:
        command = pathlib.Path(folder, "command")
        command.write_text(f"#!/bin/sh\n[ -e {folder}/good ]\n")
        command.chmod(0o755)
        run = Run(folder, {"notify": {"commands": [{"name": "command", "command": [str(command)], "retries": retries,
                                                    "timeout": "5s"}]}})
        with vitald(*run.flags) as (process, url):
            run.number(1)
            wait_for("the rule fires", 40, lambda: firing(url) == ["command"])
            began = time.time()
            while time.time() < began + 20:
                assert firing(url) == ["command"] and firing(url, "VitaldAlertsUndelivered") == []
                time.sleep(0.2)
            (pathlib.Path(folder) / "good").touch()
            run.number(0)
            wait_for("it works, and the rule is over", 30, lambda: firing(url) == [])
            time.sleep(6)
            assert firing(url) == []
            fired = re.findall(r'msg="alert fires" alertname=(Vitald\w+)', process.output())
            assert fired == ["VitaldDeliveryRefused"], fired
            assert dropped(url, "command") == ["failed"], dropped(url, "command")
            assert value(url, "vitald_delivery_dropped_total", data_type="alerts", destination="command", reason="about_delivery") == 1
    print(f"a command that fails, {retries} retries: one alert for as long as it does", flush=True)


def one_that_is_never_taken():
    """The others are, at once: no state says it, and the rule does; once, since it tells that of whoever lost it."""
    server = Server()
    server.says["hook"] = lambda m: 400 if any(a["labels"]["alertname"] == "Single" for a in m["alerts"]) else 200
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, {"notify": {"webhooks": [{"name": "hook", "url": f"http://127.0.0.1:{server.server_port}/hook"}]}})
        (run.folder / "rules.yaml").write_text(
            TEST_RULES + "      - {alert: Other, expr: test_single > 0, labels: {severity: warning}}\n")
        with vitald(*run.flags) as (_, url):
            run.number(1)
            wait_for("the rule fires", 20, lambda: firing(url) == ["hook"])
            wait_for("and is over", 20, lambda: firing(url) == [])
            wait_for("that is told", 20, lambda: transitions(server, "VitaldDeliveryRefused") == [("firing", 200), ("resolved", 200)])
            assert transitions(server, "Other") == [("firing", 200)], transitions(server, "Other")
    server.shutdown()
    print("one alert that is never taken: told once", flush=True)


def one_refused_end():
    """Then all is taken, and no other alert ends."""
    server = Server()
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, {"notify": {"webhooks": [{"name": "hook", "url": f"http://127.0.0.1:{server.server_port}/hook"}]}})
        (run.folder / "rules.yaml").write_text(
            TEST_RULES + "      - {alert: Other, expr: test_single > 1, labels: {severity: warning}}\n")
        with vitald(*run.flags) as (_, url):
            run.number(1)
            wait_for("it fires", 20, lambda: transitions(server, "Single"))
            server.says["hook"] = 401
            run.number(0)
            wait_for("its end is refused", 20, lambda: transitions(server, "Single")[-1] == ("resolved", 401))
            server.says["hook"] = 200
            run.number(2)
            wait_for("another is taken", 20, lambda: transitions(server, "Other"))
            wait_for("that is told", 20, lambda: ("resolved", 200) in transitions(server, "VitaldDeliveryRefused"))
            time.sleep(6)
            assert transitions(server, "VitaldDeliveryRefused") == [("firing", 200), ("resolved", 200)]
            assert value(url, "vitald_delivery_refusing", data_type="alerts", destination="hook") == 0
    server.shutdown()
    print("one end that was refused: told once", flush=True)


def every_other_push():
    """A balancer with one bad server of two: half of the samples are lost, and each push that is taken looks well."""
    server = Server()
    server.says["push"] = lambda: 400 if server.asked.get("push", 0) % 2 else 200
    with tempfile.TemporaryDirectory() as folder:
        run = Run(folder, {"push": {"remote_write": [{"name": "push", "url": f"http://127.0.0.1:{server.server_port}/push",
                                                      "interval": "1s", "protocol": "1"}]}})
        with vitald(*run.flags) as (_, url):
            wait_for("the rule fires", 60, lambda: firing(url) == ["push"])
            began = time.time()
            while time.time() < began + 12:
                assert firing(url) == ["push"]
                time.sleep(0.2)
            server.says["push"] = 200
            wait_for("and is over", 20, lambda: firing(url) == [])
    server.shutdown()
    print("every other push is refused: one alert for as long as it is", flush=True)


def main():
    table()
    with concurrent.futures.ThreadPoolExecutor() as together:
        running = [together.submit(lives, "a receiver that refuses all", lambda message: True),
                   together.submit(lives, "a receiver that refuses ends", lambda message: message["status"] == "resolved"),
                   *(together.submit(a_command_that_fails, retries) for retries in (0, 2)),
                   *(together.submit(one) for one in (one_that_is_never_taken, one_refused_end, every_other_push))]
        for one in running:
            one.result()


if __name__ == "__main__":
    globals()[sys.argv[1]]() if len(sys.argv) > 1 else main()
