#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Alerts reach a real Alertmanager and a webhook, also when these are slow, dead or answer nonsense; people acknowledge,
silence and inhibit them over HTTP and on the command line, and all of it survives a restart."""

import collections
import contextlib
import datetime
import http.server
import hashlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, free_port, get, get_json, metrics, need, running, vitald, wait_for, which  # noqa: E402

need("prometheus-alertmanager")

RULES = """
groups:
  - name: test
    interval: 200ms
    rules:
      - {alert: Storm, expr: test_storm > 0, labels: {severity: warning}, annotations: {summary: "no {{ $labels.n }}"}}
      - {alert: Single, expr: test_single > 0.5, labels: {severity: critical}, annotations: {summary: "a \\"quoted\\" one"}}
      - {alert: Follows, expr: test_follows > 0, labels: {severity: warning}}
"""
CONFIG = """
pipeline: {{interval: 200ms}}
rules: {{external_label: [cluster=lab], series_label: [instance=lab1], files: [rules.yaml]}}
inhibit_rules:
  - source_matchers: [alertname="Single"]
    target_matchers: [alertname="Follows"]
    equal: [instance]
notify:
  alertmanagers:
    - {{name: am, urls: ["http://127.0.0.1:{dead}", "http://127.0.0.1:{am}"], resend_every: 1s, timeout: 2s}}
  webhooks:
    - {{name: hook, url_file: {top}/url, username: me, password_file: {top}/password, timeout: 1s}}
    - {{name: proxied, url: "http://receiver.invalid:99/x", proxy_url: "http://127.0.0.1:{proxy}", matchers: ['alertname="Single"']}}
"""


class Webhook(http.server.ThreadingHTTPServer):
    """Answers with what `plan` says next; keeps what it took."""

    daemon_threads = True

    def __init__(self, port=0):
        super().__init__(("127.0.0.1", port), Handler)
        self.messages, self.plan, self.lock, self.paths = [], collections.deque(), threading.Lock(), set()
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def alerts(self, name, status=None):
        with self.lock:
            return [(m, a) for m, _ in self.messages for a in m["alerts"]
                    if a["labels"]["alertname"] == name and status in (None, a["status"])]


class Handler(http.server.BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        self.server.paths.add(self.path)
        message = json.loads(body)
        with self.server.lock:
            answer = self.server.plan.popleft() if self.server.plan else 200
            if callable(answer):
                answer = answer(message)
        status, headers = answer if isinstance(answer, tuple) else (answer, {})
        if status == "slow":
            time.sleep(3)
            status = 200
        elif status == 200:
            with self.server.lock:
                self.server.messages.append((message, dict(self.headers)))
        with contextlib.suppress(OSError):
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "0")
            self.end_headers()

    def log_message(self, *_):
        pass


def call(method, url, body=None):
    request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode(),
                                     headers={"Content-Type": "application/json"})
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            text = answer.read()
            return answer.status, json.loads(text) if text else None
    except urllib.error.HTTPError as error:
        return error.code, json.loads(error.read())


with tempfile.TemporaryDirectory() as top:
    folder = pathlib.Path(top)
    (folder / "rules.yaml").write_text(RULES)
    (folder / "textfiles").mkdir()
    (folder / "password").write_text("sesame-7\n")
    hook, proxy = Webhook(), Webhook()
    (folder / "url").write_text(f"http://127.0.0.1:{hook.server_port}/secret-path\n")
    am_port, dead = free_port(), free_port()
    am = f"http://127.0.0.1:{am_port}"
    (folder / "vitald.yaml").write_text(CONFIG.format(am=am_port, dead=dead, top=top, proxy=proxy.server_port))
    (folder / "alertmanager.yaml").write_text("route: {receiver: none}\nreceivers: [{name: none}]\n")

    def numbers(text):
        (folder / "t.tmp").write_text(text)
        os.rename(folder / "t.tmp", folder / "textfiles/t.prom")

    def running_vitald():
        return vitald(f"--config.file={top}/vitald.yaml", "--web.max-age=0", "--collector.disable-defaults",
                      "--collector.textfile", "--collector.self", f"--collector.textfile.directory={top}/textfiles",
                      f"--state.directory={top}/state",
                      # Proxies by setting only: what the environment has is for others.
                      env={**os.environ, "http_proxy": f"http://127.0.0.1:{dead}", "ALL_PROXY": f"http://127.0.0.1:{dead}"})

    def alertmanager():
        return running([which("prometheus-alertmanager"), f"--config.file={top}/alertmanager.yaml",
                        f"--storage.path={top}/am", f"--web.listen-address=127.0.0.1:{am_port}",
                        "--cluster.listen-address="], am + "/-/ready", 30)

    def there():
        return {a["labels"]["alertname"] + a["labels"].get("n", ""): a for a in get_json(am + "/api/v2/alerts")}

    def delivery(url, family, destination, **labels):
        want = {"data_type": "alerts", "destination": destination, **labels}
        return metrics(url)[1].get((f"vitald_delivery_{family}", tuple(sorted(want.items()))))

    def cli(url, *words):
        who = ["--by=tester"] if words and words[0] in ("ack", "silence") else []
        done = subprocess.run([VITALD, "alerts", *words, f"--url={url}", *who], capture_output=True, text=True)
        return done.returncode, done.stdout + done.stderr

    numbers("test_single 0\n")
    checked = subprocess.run([VITALD, f"--config.file={top}/vitald.yaml", "--config.check", "--state.directory="],
                             capture_output=True, text=True)
    assert checked.returncode == 0, checked.stderr

    with alertmanager():
        with running_vitald() as (process, url):
            # ---- it fires, and is over
            numbers("test_single 1\n")
            wait_for("Alertmanager knows it", 20, lambda: "Single" in there())
            alert = there()["Single"]
            assert alert["labels"]["cluster"] == "lab" and alert["labels"]["job"] == "node", alert
            annotations = dict(alert["annotations"])
            path, digest = annotations.pop("evidence"), annotations.pop("evidence_sha256")
            assert annotations == {"summary": 'a "quoted" one'} and alert["status"]["state"] == "active", alert
            # ---- what was written down before anybody was told
            bundle = pathlib.Path(path).read_bytes()
            assert hashlib.sha256(bundle).hexdigest() == digest and path.startswith(f"{top}/state/evidence/"), path
            bundle = json.loads(bundle)
            fired = [f for f in bundle["fired"] if f["labels"]["alertname"] == "Single"][0]
            assert fired["series"][0]["metric"]["__name__"] == "test_single" and fired["series"][0]["values"][-1][1] == "1", fired
            assert bundle["machine"]["processes"]["by_memory"] and "loadavg" in bundle["machine"], bundle["machine"].keys()
            listed = get_json(url + "/api/v1/alerts?alertname=Single")["data"]["alerts"][0]
            assert listed["evidence"] == {"path": path, "sha256": digest}, listed
            assert get_json(f"{url}/api/v1/alerts/{listed['uuid']}/evidence")["data"] == bundle
            assert get_json(f"{url}/api/v1/alerts/{listed['fingerprint']}/evidence")["data"] == bundle
            assert call("GET", f"{url}/api/v1/alerts/nobody/evidence")[0] == 404
            event = [e for e in get_json(url + "/api/v1/events")["data"]["events"] if e["fields"]["alertname"] == "Single"][0]["fields"]
            assert (event["evidence"], event["evidence_sha256"], event["uuid"]) == (path, digest, listed["uuid"]), event
            code, out = cli(url, "evidence", "Single")
            assert code == 0 and json.loads(out) == bundle, out
            wait_for("it is told by the proxy", 10, lambda: proxy.alerts("Single"))
            assert proxy.paths == {"http://receiver.invalid:99/x"}, proxy.paths
            message, told = wait_for("the webhook knows it", 10, lambda: hook.alerts("Single"))[0]
            assert told["fingerprint"] and told["transition"] > 0 and message["version"] == "4", message
            assert message["commonLabels"]["cluster"] == "lab" and message["receiver"] == "hook", message
            headers = hook.messages[0][1]
            assert headers["Authorization"] == "Basic bWU6c2VzYW1lLTc=", headers
            assert headers["Idempotency-Key"] == f"{told['fingerprint']}-{told['transition']}", headers
            assert "sesame" not in process.output() and "secret-path" not in process.output(), process.output()
            for page in ("/", "/api/v1/rules", "/metrics"):
                assert b"sesame" not in get(url + page)[2] and b"secret-path" not in get(url + page)[2], page
            up = {dict(k[1])["target"]: v for k, v in metrics(url)[1].items() if k[0] == "vitald_alertmanager_up"}
            assert up == {f"http://127.0.0.1:{dead}": 0, am: 1}, up

            # ---- it goes on after the time that Alertmanager was told, since it is told again
            ends = there()["Single"]["endsAt"]
            wait_for("it is told again", 10, lambda: there()["Single"]["endsAt"] > ends)

            # ---- what follows from it is muted for the webhook; Alertmanager decides for itself
            numbers("test_single 1\ntest_follows 1\n")
            wait_for("Alertmanager knows Follows", 10, lambda: "Follows" in there())
            listed = get_json(url + "/api/v1/alerts?alertname=Follows")["data"]["alerts"][0]
            assert listed["inhibitedBy"] == [told["fingerprint"]], listed
            assert not hook.alerts("Follows")

            # ---- acknowledge
            single = get_json(url + "/api/v1/alerts?severity=critical&acknowledged=false")["data"]["alerts"]
            assert [a["labels"]["alertname"] for a in single] == ["Single"], single
            assert single[0]["metric"] == "test_single" and single[0]["threshold"] == 0.5, single
            assert single[0]["current_value"] == 1 and single[0]["severity"] == "critical" and single[0]["created_at"]
            assert call("POST", f"{url}/api/v1/alerts/nobody/acknowledgement", {"by": "x"})[0] == 404
            assert call("POST", f"{url}/api/v1/alerts/{single[0]['uuid']}/acknowledgement", {})[0] == 400
            code, out = cli(url, "ack", "Single", "--comment=on it", "--duration=1h")
            assert code == 0 and "acknowledged" in out, out
            assert get_json(url + "/api/v1/alerts?severity=critical&acknowledged=false")["data"]["alerts"] == []
            mine = get_json(url + "/api/v1/alerts?acknowledged=true")["data"]["alerts"][0]
            assert mine["acknowledgement"]["by"] == "tester" and mine["acknowledgement"]["comment"] == "on it", mine
            code, out = cli(url)
            assert code == 0 and "acknowledged by tester" in out and "Follows" in out and "inhibited" in out, out
            # What the list is asked for: all matchers fit, with or without quotes; a flag alone says yes.
            for words, names in ((["list", "Single"], ["Single"]), (["list", "severity=critical"], ["Single"]),
                                 (["list", "alertname=~Sin.*|Follows", "severity=critical"], ["Single"]),
                                 (["list", "alertname=~Sin.*|Follows"], ["Follows", "Single"]),
                                 (["list", 'alertname="Follows"', "severity=critical"], []),
                                 (["--acknowledged", "list", "Follows"], []), (["--no-acknowledged"], ["Follows"]),
                                 (["--acknowledged"], ["Single"]), (["--inhibited", "--severity", "warning"], ["Follows"]),
                                 (["--no-inhibited", "--severity=warning"], [])):
                code, out = cli(url, *words, "--json")
                assert code == 0 and sorted(a["labels"]["alertname"] for a in json.loads(out)) == names, (words, out)
            for words, why in ((["list", "--by=me"], "--by is for ack and silence, not for 'list'"),
                               (["unack", "Single", "--duration=1h"], "--duration is for ack and silence"),
                               (["silences", "--severity=critical"], "--severity is for list"),
                               (["--severity", "--json"], "--severity: expected a value after it"),
                               (["--acknowledged=maybe"], "--acknowledged: 'maybe', expected true or false"),
                               (["silence", "alertname=Single,severity=critical"],
                                "several as words of their own (alertname=X severity=critical), and a value that has a comma in quotes ('alertname="),
                               (["silence", 'alertname="Single", severity'], "is no matcher"),
                               (["silence", "Single", "--duration=1h", "--until=2999-01-01T00:00:00Z"], "expected one of them")):
                code, out = cli(url, *words)
                assert code == 1 and why in out, (words, out)
            code, out = cli(url, "ack", "Nothing")
            assert code == 1 and "no pending or firing alert" in out, out

            # ---- the labels that alerts get when they leave are theirs for everybody's matchers
            for words, count in (("cluster=lab", 2), ("cluster=east", 0), ("cluster!=lab", 0)):
                assert len(json.loads(cli(url, "list", words, "--json")[1])) == count, words
            assert {a["labels"]["cluster"] for a in get_json(url + "/api/v2/alerts?filter=cluster%3Dlab")} == {"lab"}
            for matcher, silenced in (("cluster!=lab", 0), ("cluster=lab", 2)):
                code, out = cli(url, "silence", matcher, "--duration=1h", "--comment=x")
                assert code == 0, out
                assert len(get_json(url + "/api/v1/alerts?silenced=true")["data"]["alerts"]) == silenced, matcher
                assert cli(url, "unsilence", next(w for w in out.split() if len(w) == 36))[0] == 0, out

            # ---- silence
            code, silence = cli(url, "silence", "Storm", "--duration=1h", "--comment=work on the racks")
            silence = silence.strip()
            assert code == 0 and len(silence) == 36, silence
            assert call("POST", url + "/api/v2/silences", {"matchers": [], "endsAt": "2999-01-01T00:00:00Z",
                                                           "createdBy": "x"})[0] == 400
            numbers("test_single 1\ntest_follows 1\n" + 'test_storm{n="1"} 1\n')
            wait_for("Storm fires", 10, lambda: get_json(url + "/api/v1/alerts?alertname=Storm&silenced=true")["data"]["alerts"])
            wait_for("Alertmanager knows Storm", 10, lambda: "Storm1" in there())
            assert silence in cli(url, "silences")[1]
            assert get_json(url + f"/api/v2/silence/{silence}")["status"]["state"] == "active"
            assert not hook.alerts("Storm")
            process.process.send_signal(signal.SIGKILL)
            process.process.wait()
        # ---- all of it survives kill -9
        with running_vitald() as (process, url):
            mine = wait_for("Single fires on", 10, lambda: get_json(url + "/api/v1/alerts?acknowledged=true")["data"]["alerts"])
            assert mine[0]["acknowledgement"]["by"] == "tester", mine
            storm = get_json(url + "/api/v1/alerts?alertname=Storm")["data"]["alerts"]
            assert storm[0]["silencedBy"] == [silence], storm
            code, out = cli(url, "unack", "Single")
            assert code == 0, out
            assert get_json(url + "/api/v1/alerts?acknowledged=true")["data"]["alerts"] == []
            assert not hook.alerts("Storm") and not hook.alerts("Follows")
            code, out = cli(url, "unsilence", "nothing")
            assert code == 1 and "no silence is 'nothing'" in out, out
            code, out = cli(url, "unsilence", silence[:8])
            assert code == 0 and silence in out, out
            wait_for("what still fires is told once nothing mutes it", 10, lambda: hook.alerts("Storm", "firing"))
            # Its cause is over: it follows from nothing, and is told.
            numbers('test_single 0\ntest_follows 1\ntest_storm{n="1"} 1\n')
            wait_for("Single is over", 10, lambda: hook.alerts("Single", "resolved"))
            wait_for("Follows is told", 10, lambda: hook.alerts("Follows", "firing"))
            wait_for("over for Alertmanager, too", 10, lambda: "Single" not in there())
            assert len(hook.alerts("Single")) == 2, hook.alerts("Single")
            # Begin and end are of one group, another alert is of another one; no message has two.
            groups = collections.defaultdict(set)
            for m, a in hook.alerts("Single") + hook.alerts("Follows") + hook.alerts("Storm"):
                assert m["groupLabels"] == {"alertname": a["labels"]["alertname"]}, m
                groups[m["groupKey"]].add(a["labels"]["alertname"])
            assert sorted(map(sorted, groups.values())) == [["Follows"], ["Single"], ["Storm"]], groups

            # ---- the webhook answers anything else
            hook.plan.extend([500, (429, {"Retry-After": "1"}), "slow", 503])
            numbers("test_single 1\n")
            wait_for("taken in the end", 30, lambda: hook.alerts("Follows", "resolved") and len(hook.alerts("Single", "firing")) == 2)
            assert not hook.plan and delivery(url, "failed_total", "hook") >= 4

            # ---- a message that is refused costs one alert: the others are sent one by one
            def refuse(message):
                names = [a["labels"].get("n") for a in message["alerts"]]
                return 413 if len(names) > 5 else 400 if "7" in names else 200

            hook.plan.extend([refuse] * 1000)
            numbers("".join(f'test_storm{{n="{n}"}} 1\n' for n in range(10)))
            wait_for("nine of ten", 20, lambda: len({a["labels"]["n"] for _, a in hook.alerts("Storm", "firing")}) >= 9
                     and delivery(url, "dropped_total", "hook", reason="refused") == 1)
            hook.plan.clear()

            # ---- and who looks sees that one is lost
            def row():
                return next(line.split() for line in cli(url, "receivers")[1].splitlines() if line.split()[0] == "hook")

            hook.plan.append(404)
            numbers("".join(f'test_storm{{n="{n}"}} 1\n' for n in range(11)))
            wait_for("it is shown", 20, lambda: row()[1] == "refused")
            listed = [r for r in get_json(url + "/api/v1/receivers")["data"] if r["name"] == "hook"][0]
            assert listed["problem"].endswith("answers 404 (1 alert lost)") and listed["dropped_why"] == {"refused": 2}, listed
            assert row()[4] == "2" and "1 alert lost" in cli(url, "receivers")[1], cli(url, "receivers")
            numbers("".join(f'test_storm{{n="{n}"}} 1\n' for n in range(10)))
            wait_for("until the next one is taken", 20, lambda: row()[1] == "ok")
            assert row()[4] == "2", row()
            before = len(hook.messages)

            # ---- dead for a while, with a storm: nothing is lost
            port = hook.server_port
            hook.shutdown()
            hook.server_close()
            numbers("".join(f'test_storm{{n="{n}"}} 1\n' for n in range(300)))
            wait_for("a storm waits", 20, lambda: (delivery(url, "queued", "hook") or 0) >= 290)
            wait_for("Alertmanager has the storm", 20, lambda: sum(k.startswith("Storm") for k in there()) == 300)
            later = Webhook(port)
            wait_for("the storm is there", 90, lambda: len(later.alerts("Storm", "firing")) >= 290)
            print(f"300 alerts came in {len(later.messages)} messages")
            assert len(later.messages) < 50
            keys = [(a["fingerprint"], a["transition"]) for _, a in later.alerts("Storm")]
            # One that was slow to answer gets the same again; no alert fires twice under two numbers.
            assert len(set(keys)) == len({fingerprint for fingerprint, _ in keys}), "no transition under two numbers"
        # ---- an Alertmanager that was started anew hears of what fires
    with alertmanager(), running_vitald() as (process, url):
        wait_for("all of them again", 30, lambda: sum(k.startswith("Storm") for k in there()) == 300)
        # ---- what else clients of an Alertmanager ask
        for asked in ("", "?filter=n=7", "?filter=nope=", "?filter=n=%22C:%5Cd%22", "?receiver=vit.*", "?receiver=nobody"):
            alerts, groups = (get_json(f"{url}/api/v2/alerts{path}{asked}") for path in ("", "/groups"))
            found = {"": 300, "?filter=n=7": 1, "?filter=nope=": 300, "?receiver=vit.*": 300}.get(asked, 0)
            assert sum(a["labels"]["alertname"] == "Storm" for a in alerts) == found, (asked, len(alerts))
            assert [len(g["alerts"]) for g in groups] == ([len(alerts)] if alerts else []), (asked, len(groups))
            assert all(g["receiver"] == {"name": "vitald"} and g["labels"] == {} for g in groups), asked
        assert call("GET", url + "/api/v2/receivers") == (200, [{"name": "vitald"}])
        if which("amtool"):
            made = subprocess.run([which("amtool"), f"--alertmanager.url={url}", "silence", "add", "alertname=Storm",
                                   "--comment=x", "--author=amtool", "--duration=1h"], capture_output=True, text=True)
            assert made.returncode == 0, made.stderr
            shown = subprocess.run([which("amtool"), f"--alertmanager.url={url}", "silence", "query"],
                                   capture_output=True, text=True)
            assert made.stdout.strip() in shown.stdout, shown
            print("amtool makes and lists silences")

    # ---- evaluated less often than an Alertmanager is to be told: it is told how long to wait
    slow = Webhook()
    (folder / "slow.yaml").write_text(f"""
pipeline: {{interval: 4s}}
rules: {{files: [rules.yaml]}}
notify: {{alertmanagers: [{{name: am, urls: ["http://127.0.0.1:{slow.server_port}"], resend_every: 500ms}}]}}
""")
    with vitald(f"--config.file={top}/slow.yaml", "--collector.disable-defaults", "--collector.textfile",
                f"--collector.textfile.directory={top}/textfiles") as (_, url):
        wait_for("it is told", 20, lambda: slow.messages)
        ends = datetime.datetime.fromisoformat(slow.messages[0][0][0]["endsAt"].replace("Z", "+00:00"))
        left = ends.timestamp() - time.time()
        assert 10 < left <= 16, (left, "four intervals")
