#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Alerts as conditions and events of a node, against a stand-in for Kubernetes' API that refuses what a real one would:
a token that is renewed, a right that is missing, an API that is away, answers that are lost, kill -9."""

import contextlib
import os
import pathlib
import subprocess
import sys
import tempfile
import time
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
import kubernetes_api  # noqa: E402
from harness import VITALD, get_json, metrics, need, skip, vitald, wait_for  # noqa: E402

if kubernetes_api.models is None:
    skip("python3-kubernetes is not installed; ./dev setup installs it")
need("openssl")
NODE = "node-7.example"
RULES = """
groups:
  - name: test
    interval: 200ms
    rules:
      - {alert: disk full, expr: test_disk > 0, labels: {severity: critical}, annotations: {summary: "no space on {{ $labels.n }}"}}
      - {alert: Hot, expr: test_hot > 0, labels: {severity: warning}, annotations: {summary: "%s"}}
      - {alert: Диск, expr: test_cyrillic > 0, labels: {severity: critical}}
      - {alert: 磁盘, expr: test_chinese > 0, labels: {severity: critical}}
      - {alert: Note, expr: test_note > 0, labels: {severity: info}}
"""
CONFIG = """
pipeline: {{interval: 200ms}}
rules: {{files: [rules.yaml], external_label: [cluster=lab]}}
notify:
  kubernetes:
    - {{name: cluster, bearer_token_file: {top}/token, ca_file: {top}/ca.pem, heartbeat: 2s, timeout: 2s{more}}}
"""


with tempfile.TemporaryDirectory() as top, contextlib.ExitStack() as stack:
    folder = pathlib.Path(top)

    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=top)

    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=ca",
            "-keyout", "ca.key", "-out", "ca.pem")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=kubernetes", "-keyout",
            "api.key", "-out", "api.csr")
    (folder / "ext").write_text("subjectAltName=DNS:kubernetes.default.svc,IP:127.0.0.1\n")
    openssl("x509", "-req", "-in", "api.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "ext", "-out", "api.pem")
    api = kubernetes_api.ApiServer(NODE, (folder / "api.pem", folder / "api.key"))
    api.token = "first"
    (folder / "token").write_text("first\n")
    os.environ.update(KUBERNETES_SERVICE_HOST="127.0.0.1", KUBERNETES_SERVICE_PORT=str(api.server_port), NODE_NAME=NODE)
    (folder / "textfiles").mkdir()
    (folder / "rules.yaml").write_text(RULES % ("long " * 400 + "\u00e4" * 300))
    (folder / "vitald.yaml").write_text(CONFIG.format(top=top, more=""))

    # What another run left: one that is over since long, one that is True and over, and one of somebody else.
    def left(kind, status, reason, since):
        return {"type": kind, "status": status, "reason": reason, "message": "left", "lastHeartbeatTime": since,
                "lastTransitionTime": since}

    api.node_object["status"]["conditions"] += [
        left("VitaldOld", "False", "AlertIsOver", "2026-01-01T00:00:00Z"),
        left("VitaldStale", "True", "AlertFires", "2026-01-01T00:00:00Z"),
        left("VitaldForeign", "True", "SomebodyElse", "2026-01-01T00:00:00Z")]

    def numbers(text):
        (folder / "t.tmp").write_text(text)
        os.rename(folder / "t.tmp", folder / "textfiles/t.prom")

    def start():
        return vitald(f"--config.file={top}/vitald.yaml", "--web.max-age=0", "--collector.disable-defaults",
                      "--collector.textfile", "--collector.self", f"--collector.textfile.directory={top}/textfiles",
                      f"--state.directory={top}/state")

    def doctor():
        done = subprocess.run([VITALD, "doctor", f"--config.file={top}/vitald.yaml", "--collector.disable-defaults",
                               "--state.directory="], capture_output=True, text=True)
        return next(line for line in done.stdout.splitlines() if "kubernetes 'cluster'" in line)

    def condition(kind):
        return api.conditions().get(kind, {})

    def status(kind):
        return condition(kind).get("status")

    def events(reason):
        return [e for e in api.event_list() if e["reason"] == reason]

    # What doctor says: it may; it may not; the token is none; the node is another one.
    line = doctor()
    assert line.startswith("  ok") and "may patch nodes/status" in line and "may create events" in line, line
    api.rights.discard(("patch", "nodes/status"))
    line = doctor()
    assert line.startswith("  FIX") and "may not patch nodes/status" in line and "node-conditions" in line, line
    api.rights.add(("patch", "nodes/status"))
    api.token = "second"
    line = doctor()
    assert line.startswith("  FIX") and "401" in line and "token" in line, line
    os.environ["NODE_NAME"] = "nobody"
    api.token = "first"
    line = doctor()
    assert line.startswith("  FIX") and "is 'nobody' the name of this node" in line, line
    os.environ["NODE_NAME"] = NODE
    assert not api.patches and not api.event_list(), "doctor tells nothing"
    api.refused.clear()

    numbers('test_disk{n="a"} 1\ntest_disk{n="b"} 1\ntest_hot 1\ntest_note 1\n')
    process, url = stack.enter_context(start())
    wait_for("the condition", 20, lambda: status("VitaldDiskFull") == "True")
    wait_for("events", 20, lambda: len(api.event_list()) == 4)
    wait_for("what another run left", 20, lambda: status("VitaldStale") == "False")
    assert not condition("VitaldOld") and condition("VitaldForeign")["message"] == "left", api.conditions()
    assert condition("VitaldStale")["lastTransitionTime"] > "2026-01-01T00:00:00Z", condition("VitaldStale")
    ready = condition("Ready")
    assert ready["reason"] == "KubeletReady" and ready["lastHeartbeatTime"] == "2026-01-01T00:00:00Z", ready
    assert not condition("VitaldHot") and not condition("VitaldNote"), "those are not critical"
    both = wait_for("both named", 10, lambda: (c := condition("VitaldDiskFull"))["message"].startswith("2 alerts") and c)
    assert both["reason"] == "AlertFires" and "disk full: no space on " in both["message"] and "cluster=lab" in both["message"], both
    kinds = {e["reason"]: e["type"] for e in api.event_list()}
    assert kinds == {"DiskFull": "Warning", "Hot": "Warning", "Note": "Normal"}, kinds
    (hot,) = events("Hot")
    assert hot["involvedObject"] == {"apiVersion": "v1", "kind": "Node", "name": NODE, "uid": NODE}, hot
    assert 1000 < len(hot["message"].encode()) <= 1024 and hot["message"].endswith("..."), len(hot["message"])

    # The heart beats, and when it began to be so stays.
    wait_for("a heartbeat", 20, lambda: condition("VitaldDiskFull")["lastHeartbeatTime"] > both["lastHeartbeatTime"])
    assert condition("VitaldDiskFull")["lastTransitionTime"] == both["lastTransitionTime"]

    # One of two ends: the condition stays. Then the other one.
    numbers('test_disk{n="b"} 1\ntest_hot 1\ntest_note 1\n')
    wait_for("the end of one", 20, lambda: len(events("DiskFullIsOver")) == 1)
    assert status("VitaldDiskFull") == "True"
    time.sleep(1.1)  # times are whole seconds
    numbers("test_hot 1\ntest_note 1\n")
    wait_for("the end of both", 20, lambda: len(events("DiskFullIsOver")) == 2)
    over = condition("VitaldDiskFull")
    assert over["status"] == "False" and over["reason"] == "AlertIsOver", over
    assert over["lastTransitionTime"] > both["lastTransitionTime"], (over, both)
    assert {e["type"] for e in events("DiskFullIsOver")} == {"Normal"}

    # Answers that are lost: all of it comes again, and is there once.
    before = len(api.event_list())
    api.lose_answers = 3
    numbers('test_disk{n="c"} 1\ntest_hot 1\ntest_note 1\n')
    wait_for("what was answered to nobody", 30, lambda: status("VitaldDiskFull") == "True" and api.repeated > 0)
    wait_for("one event", 20, lambda: len(api.event_list()) == before + 1)

    # The API is away, then the token is another one: nothing is lost.
    api.down = 503
    numbers("test_hot 1\ntest_note 1\n")
    wait_for("attempts", 20, lambda: len(api.requests) > (seen := len(api.requests)) or time.sleep(0.3) or len(api.requests) > seen)
    api.token, api.down = "renewed", None
    seen = len(api.requests)
    wait_for("an attempt with the old token", 30, lambda: len(api.requests) > seen)
    assert status("VitaldDiskFull") == "True" and len(events("DiskFullIsOver")) == 2
    (folder / "token").write_text("renewed\n")
    wait_for("the end of what was told of", 40, lambda: status("VitaldDiskFull") == "False")
    wait_for("its event", 20, lambda: len(events("DiskFullIsOver")) == 3)

    QUIET = "test_hot 1\ntest_note 1\n"

    # The right for events is missing: conditions and heartbeats go on, also behind more than a batch; what is lost is counted.
    def problem():
        (receiver,) = get_json(f"{url}/api/v1/receivers")["data"]
        return receiver.get("problem", "")

    def said(*words):
        lines = [line for line in process.output().splitlines() if "does not take all of it" in line]
        return any(all(word in line for word in words) for line in lines)

    def beats(what):
        for _ in range(2):
            first = condition("VitaldDiskFull")["lastHeartbeatTime"]
            wait_for(what, 20, lambda: condition("VitaldDiskFull")["lastHeartbeatTime"] > first)

    def configure(more):
        (folder / "vitald.yaml").write_text(CONFIG.format(top=top, more=more))
        urllib.request.urlopen(urllib.request.Request(url + "/-/reload", method="POST"), timeout=20).close()

    count = len(api.event_list())
    api.rights.discard(("create", "events"))
    numbers(QUIET + "".join(f'test_hot{{n="{i}"}} 1\n' for i in range(80)))
    wait_for("the words for it", 20, lambda: "needs the roles of" in process.output())
    numbers(QUIET + 'test_disk{n="d"} 1\n')
    wait_for("the condition without a right for events", 20, lambda: status("VitaldDiskFull") == "True")
    beats("a heartbeat without a right for events")
    wait_for("what is refused counted", 20, lambda: metrics(url)[1].get(
        ("vitald_delivery_dropped_total", (("data_type", "alerts"), ("destination", "cluster"), ("reason", "refused")))) == 161)
    assert len(api.event_list()) == count and process.output().count("needs the roles of") == 1
    api.rights.add(("create", "events"))
    numbers(QUIET)
    wait_for("the next event", 20, lambda: len(events("DiskFullIsOver")) == 4)
    wait_for("no problem", 20, lambda: "refuses nothing any more" in process.output())

    # The right for conditions is missing: events go on, and the condition comes with a heartbeat.
    api.rights.discard(("patch", "nodes/status"))
    count = len(events("DiskFull"))
    numbers(QUIET + 'test_disk{n="e"} 1\n')
    wait_for("the event without a right for conditions", 20, lambda: len(events("DiskFull")) == count + 1)
    wait_for("the words for it", 20, lambda: said("403", "to VitaldDiskFull"))
    assert status("VitaldDiskFull") == "False"
    api.rights.add(("patch", "nodes/status"))
    wait_for("the condition with the right", 20, lambda: status("VitaldDiskFull") == "True")

    # Events are not taken now: the heart beats, and they come.
    api.events_down = 503
    numbers(QUIET + 'test_disk{n="e"} 1\ntest_disk{n="f"} 1\n')
    wait_for("an event that waits", 20, problem)
    beats("a heartbeat while it waits")
    assert len(events("DiskFull")) == count + 1
    api.events_down = None
    wait_for("the event that waited", 40, lambda: len(events("DiskFull")) == count + 2)
    numbers(QUIET)
    wait_for("the end", 20, lambda: status("VitaldDiskFull") == "False" and len(events("DiskFullIsOver")) == 6)

    # One that the API does not like costs itself; names that have no letter of ASCII have conditions of their own.
    api.denied = {"VitaldDiskFull"}
    numbers(QUIET + 'test_disk{n="g"} 1\ntest_cyrillic 1\ntest_chinese 1\n')
    other = wait_for("the others", 20, lambda: len(o := {k: c for k, c in api.conditions().items() if k.startswith("VitaldAlert")
                                                        and c["status"] == "True"}) == 2 and o)
    assert sorted(c["message"].split(" ")[0] for c in other.values()) == ["Диск:", "磁盘:"], other
    wait_for("the words for it", 20, lambda: said("422", "to VitaldDiskFull"))
    assert status("VitaldDiskFull") == "False"
    wait_for("the problem of the receiver", 20, lambda: "422" in problem() and "to VitaldDiskFull" in problem())
    told = subprocess.run([VITALD, "alerts", "receivers", f"--url={url}"], check=True, capture_output=True, text=True).stdout
    assert "refused" in told and "cluster: " in told and "422" in told, told
    api.denied = set()
    wait_for("what is liked again", 20, lambda: status("VitaldDiskFull") == "True")
    wait_for("no problem of the receiver", 20, lambda: not problem())

    # Narrowed: it fires on, and nobody says that it is over.
    configure(", matchers: ['alertname!=\"disk full\"']")
    wait_for("what is not told any more", 20, lambda: status("VitaldDiskFull") == "False")
    assert condition("VitaldDiskFull")["reason"] == "AlertIsNotTold" and "not told" in condition("VitaldDiskFull")["message"]
    configure("")
    wait_for("what is told again", 20, lambda: status("VitaldDiskFull") == "True")
    numbers(QUIET)
    wait_for("the end", 20, lambda: condition("VitaldDiskFull")["reason"] == "AlertIsOver" and len(events("DiskFullIsOver")) == 7)

    # Conditions that are turned off go, True or not; those of others stay.
    numbers(QUIET + 'test_disk{n="off"} 1\n')
    wait_for("what fires", 20, lambda: status("VitaldDiskFull") == "True")
    configure(", conditions: false")
    wait_for("no condition", 20, lambda: not [c for c in api.conditions() if c.startswith("Vitald") and c != "VitaldForeign"])
    assert status("VitaldForeign") == "True"
    # Also where that is refused: it is tried with each heartbeat until it may be.
    for what in (("patch", "nodes/status"), ("get", "nodes")):
        configure("")
        wait_for("the condition again", 20, lambda: status("VitaldDiskFull") == "True")
        api.rights.discard(what)
        configure(", conditions: false")
        wait_for(f"the words for it, without {what}", 20, lambda: "403" in problem())
        time.sleep(2.5)
        assert status("VitaldDiskFull") == "True" and "403" in problem(), (what, condition("VitaldDiskFull"), problem())
        api.rights.add(what)
        wait_for(f"no condition, with {what} again", 20, lambda: not condition("VitaldDiskFull"))
        wait_for("no problem of the receiver", 20, lambda: not problem())
    configure("")
    wait_for("the condition again", 20, lambda: status("VitaldDiskFull") == "True")
    numbers(QUIET)
    wait_for("the end", 20, lambda: status("VitaldDiskFull") == "False" and len(events("DiskFullIsOver")) == 8)

    # Behind more events than go at once, none of which the API takes, conditions are told all the same.
    api.events_down = 503
    numbers(QUIET + "".join(f'test_hot{{n="b{i}"}} 1\n' for i in range(90)))
    wait_for("events that wait", 20, problem)
    numbers(QUIET + "".join(f'test_hot{{n="b{i}"}} 1\n' for i in range(90)) + 'test_disk{n="behind"} 1\n')
    wait_for("the condition behind them", 40, lambda: status("VitaldDiskFull") == "True")
    api.events_down = None
    numbers(QUIET)
    wait_for("the end", 90, lambda: status("VitaldDiskFull") == "False" and len(events("DiskFullIsOver")) == 9)

    # Killed while an event waits, and what fired is over before it is back: the event comes, the condition ends.
    count = len(events("DiskFull"))
    api.down = 503
    numbers(QUIET + 'test_disk{n="h"} 1\n')
    wait_for("what fires", 20, lambda: "disk full" in str(get_json(f"{url}/api/v1/alerts")) and problem())
    time.sleep(1)
    process.process.kill()
    process.process.wait()
    api.down = None
    numbers(QUIET)
    process, url = stack.enter_context(start())
    wait_for("the event that waited", 30, lambda: len(events("DiskFull")) == count + 1)
    wait_for("its event", 30, lambda: len(events("DiskFullIsOver")) == 10)
    wait_for("the end of it", 20, lambda: status("VitaldDiskFull") == "False")

    # Of what is silenced nothing is told.
    subprocess.run([VITALD, "alerts", "silence", "alertname=disk full", "--duration=1h", f"--url={url}", "--by=test"],
                   check=True, capture_output=True)
    beats = len(api.patches)
    numbers('test_disk{n="silent"} 1\ntest_hot 1\ntest_note 1\n')
    wait_for("three heartbeats", 30, lambda: len(api.patches) >= beats + 3)
    assert status("VitaldDiskFull") == "False" and not [e for e in events("DiskFull") if "n=silent" in e["message"]], \
        condition("VitaldDiskFull")

    # Conditions that are turned off over a restart go, too: nobody runs meanwhile. Without the right it is tried until
    # there is one, over another restart as well.
    def ours():
        return {kind: c["status"] for kind, c in api.conditions().items() if kind.startswith("Vitald") and kind != "VitaldForeign"}

    def restart(more):
        process.process.terminate()
        assert process.process.wait(10) == 0
        (folder / "vitald.yaml").write_text(CONFIG.format(top=top, more=more))
        return stack.enter_context(start())

    numbers(QUIET + "test_cyrillic 1\n")
    wait_for("what fires", 20, lambda: "True" in ours().values())
    api.rights.discard(("patch", "nodes/status"))
    for _ in range(2):
        process, url = restart(", conditions: false")
        wait_for("the words for it, after a restart", 20, lambda: "403" in problem())
        assert "True" in ours().values(), ours()
    api.rights.add(("patch", "nodes/status"))
    wait_for("no condition after a restart", 20, lambda: not ours())
    assert status("VitaldForeign") == "True"

    assert not api.refused, api.refused
    print(f"{len(api.patches)} patches, {len(api.event_list())} events, {api.repeated} told again, {len(api.requests)} requests")
