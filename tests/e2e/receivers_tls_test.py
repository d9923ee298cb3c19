#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A webhook over TLS: a CA of its own, a certificate for another name than the URL's, a token that changes; and what
`vitald doctor` and --config.check say of receivers that cannot be reached."""

import http.server
import json
import pathlib
import ssl
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, free_port, metrics, need, vitald, wait_for  # noqa: E402

need("openssl")


class Handler(http.server.BaseHTTPRequestHandler):
    def answer(self, status):
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def do_HEAD(self):
        if self.path in ("/405", "/501"):
            return self.answer(int(self.path[1:]))
        return self.answer(200 if self.headers["Authorization"] == self.server.wanted else 401)

    def do_POST(self):
        message = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.headers["Authorization"] != self.server.wanted:
            return self.answer(503)
        self.server.names += [a["labels"]["alertname"] for a in message["alerts"]]
        return self.answer(200)

    def log_message(self, *_):
        pass


class Plain(http.server.BaseHTTPRequestHandler):
    """Answers with the status that the path begins with, and to /am as an Alertmanager."""

    def answer(self):
        self.rfile.read(int(self.headers["Content-Length"] or 0))
        first = self.path.split("/")[1]
        body = (b'{"cluster":{"name":"","peers":[],"status":"ready"},"config":{"original":""},"uptime":"x"}' if first == "am"
                else b"{}" if first == "200" else b"words")
        self.send_response(200 if first == "am" else int(first))
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(b"" if self.command == "HEAD" else body)

    do_GET = do_HEAD = do_POST = answer

    def log_message(self, *_):
        pass


def what_answers():
    """doctor of what is there and is no Alertmanager, or has trouble of its own."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Plain)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_port}"
    trouble = "it is there, and cannot take anything now"
    told = {"am": ("ok", "answers 200"), "404": ("FIX", "this is no Alertmanager"), "200": ("FIX", "this is no Alertmanager"),
            "405": ("FIX", "this is no Alertmanager"), "500": ("FIX", trouble)}
    pushes = {"remote_write": "/500", "influx": "/500", "otlp": "/500/v1/metrics", "pushgateway": "/500"}
    more = {"influx": ", database: d"}
    with tempfile.TemporaryDirectory() as top:
        path = pathlib.Path(top, "vitald.yaml")
        path.write_text("notify:\n  alertmanagers:\n" + "".join(
            f'    - {{name: a{name}, urls: ["{url}/{name}"]}}\n' for name in told)
            + f'  webhooks: [{{name: hook, url: "{url}/503"}}, '
            + ", ".join(f'{{name: hook-{status}, url: "{url}/{status}"}}' for status in (404, 500, 502, 504, 507)) + ']\npush:\n' + "".join(
            f'  {kind}: [{{name: {kind}-away, url: "{url}{at}"{more.get(kind, "")}}}]\n' for kind, at in pushes.items()))
        done = subprocess.run([VITALD, "doctor", f"--config.file={path}", "--collector.disable-defaults", "--state.directory="],
                              capture_output=True, text=True, timeout=60)
    rows = {words[1]: (words[0], line) for line in done.stdout.splitlines() if len(words := line.split()) > 2}
    want = {f"a{name}": found for name, found in told.items()} | {"hook": ("FIX", trouble), "hook-404": ("ok", "answers 404")} | {
        f"hook-{status}": ("ok", f"answers {status} to HEAD, which says nothing of POST") for status in (500, 507)} | {
        f"hook-{status}": ("FIX", trouble) for status in (502, 504)} | {
        f"{kind}-away": ("FIX", trouble) for kind in pushes}
    for name, (mark, words) in want.items():
        assert rows[name][0] == mark and words in rows[name][1], (name, rows[name])
    assert done.returncode != 0, done.stdout
    server.shutdown()
    server.server_close()


what_answers()
with tempfile.TemporaryDirectory() as top:
    folder = pathlib.Path(top)

    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=top)

    for name in ("ca", "other"):
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj",
                f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    openssl("req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=hook.example",
            "-keyout", "hook.key", "-out", "hook.csr")
    (folder / "ext").write_text("subjectAltName=DNS:hook.example\n")
    openssl("x509", "-req", "-in", "hook.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial", "-days", "2",
            "-extfile", "ext", "-out", "hook.pem")
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    server.names, server.wanted = [], "Bearer first"
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "hook.pem", folder / "hook.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    (folder / "token").write_text("first\n")
    url = f"https://127.0.0.1:{server.server_port}/"
    dead = free_port()
    good = f'url: "{url}", bearer_token_file: {top}/token, timeout: 5s, ca_file: {top}/ca.pem, server_name: hook.example'
    (folder / "vitald.yaml").write_text(f"""
pipeline: {{interval: 200ms}}
rules: {{files: [rules.yaml]}}
notify:
  webhooks:
    - {{name: good, {good}}}
    - {{name: wrong-name, {good.replace(", server_name: hook.example", "")}}}
    - {{name: wrong-ca, {good.replace("ca.pem", "other.pem")}}}
  alertmanagers:
    - {{name: dead, urls: ["http://127.0.0.1:{dead}"], timeout: 1s}}
""")
    (folder / "rules.yaml").write_text("groups: [{name: g, rules: [{alert: First, expr: vector(1)}]}]\n")

    # Two that know POST and no HEAD.
    (folder / "doctor.yaml").write_text((folder / "vitald.yaml").read_text().replace("  alertmanagers:", "".join(
        f"    - {{name: post-{status}, {good.replace(url, f'{url}{status}')}}}\n" for status in (405, 501)) + "  alertmanagers:"))
    doctor = subprocess.run([VITALD, "doctor", f"--config.file={top}/doctor.yaml", "--collector.disable-defaults",
                             "--state.directory="], capture_output=True, text=True, timeout=60)
    told = {line.split()[1]: line for line in doctor.stdout.split("Receivers\n")[1].splitlines()}
    assert told["good"].split()[0] == "ok" and "answers 200" in told["good"], doctor.stdout
    for status in (405, 501):
        line = told[f"post-{status}"]
        assert line.split()[0] == "ok" and f"answers {status}: it is there, and has no answer to HEAD" in line, line
    for name in ("wrong-name", "wrong-ca", "dead"):
        assert told[name].split()[0] == "FIX", told[name]
    assert "first" not in doctor.stdout + doctor.stderr

    with vitald(f"--config.file={top}/vitald.yaml", "--collector.disable-defaults", "--collector.self",
                f"--state.directory={top}/state") as (process, url):
        wait_for("the one with the right name and CA is told", 20, lambda: server.names == ["First"])
        for name in ("wrong-name", "wrong-ca", "dead"):
            wait_for(f"it waits for {name}", 10, lambda: metrics(url)[1].get(
                ("vitald_delivery_failed_total", (("data_type", "alerts"), ("destination", name))), 0) >= 1)
            assert metrics(url)[1][("vitald_delivery_queued", (("data_type", "alerts"), ("destination", name)))] >= 1, name
        assert server.names == ["First"], server.names
        # The token changes on both sides; nobody restarts anything.
        server.wanted = "Bearer second"
        (folder / "rules.yaml").write_text("groups: [{name: g, rules: [{alert: First, expr: vector(1)}, "
                                           "{alert: Second, expr: vector(1)}]}]\n")
        process.process.send_signal(1)
        wait_for("it is tried in vain", 20, lambda: metrics(url)[1].get(
            ("vitald_delivery_failed_total", (("data_type", "alerts"), ("destination", "good"))), 0) >= 1)
        (folder / "token").write_text("second\n")
        wait_for("it goes on with the new token", 30, lambda: server.names == ["First", "Second"])
        assert "second" not in process.output().replace("seconds", ""), process.output()

    for wrong, says in [('{name: a, url: "ftp://x"}', "expected http://HOST"), ("{name: a}", "expected one"),
                        ('{name: a, url: "http://u:p@x/"}', "a password in a URL"),
                        ('{name: a, url: "http://x", password_file: /x}', "expected both"),
                        ('{name: a, url: "http://x", bearer_token_env: NOT_SET_HERE}', "NOT_SET_HERE is not set"),
                        ('{name: a, url: "http://x", tls_skip_verify: maybe}', "neither true nor false"),
                        ('{name: a, url: "http://x", ca_file: /nowhere/ca}', "/nowhere/ca")]:
        (folder / "bad.yaml").write_text(f"notify: {{webhooks: [{wrong}]}}\n")
        done = subprocess.run([VITALD, f"--config.file={top}/bad.yaml", "--config.check", "--state.directory="],
                              capture_output=True, text=True)
        assert done.returncode == 1 and says in done.stderr, (wrong, done.stderr)
    (folder / "bad.yaml").write_text('inhibit_rules: [{source_matchers: ["a ! b"]}, {target_matchers: ["a=\\"b\\""]}]\n')
    done = subprocess.run([VITALD, f"--config.file={top}/bad.yaml", "--config.check", "--state.directory="],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "'a ! b' is no matcher" in done.stderr and "expected source_matchers" in done.stderr, done.stderr
