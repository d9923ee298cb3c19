#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The hooks we ship, run as vitald runs them: a few variables, the webhook's JSON on standard input, a fake sendmail
and a chat that listens on a free port."""
import base64
import email
import email.header
import http.server
import json
import os
import subprocess
import sys
import tempfile
import threading
import unittest

HOOKS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "deploy", "hooks")


def environment(**changes):
    env = {"PATH": "/usr/bin:/bin", "LANG": "C.UTF-8", "HOSTNAME": "node1", "VITALD_ALERT_NAME": "Disk",
           "VITALD_ALERT_STATUS": "firing", "VITALD_ALERT_SEVERITY": "critical", "VITALD_ALERT_VALUE": "0.02",
           "VITALD_ALERT_FINGERPRINT": "00ff", "VITALD_ALERT_STARTS_AT": "2026-01-01T00:00:00Z",
           "VITALD_ALERT_ENDS_AT": "", "VITALD_ALERT_SUMMARY": "/ is full", "VITALD_ALERT_LABELS": '{"a":"b"}'}
    env.update(changes)
    return env


def payload(status="firing", **labels):
    labels = {"alertname": "Disk", "severity": "critical", "mountpoint": "/", **labels}
    return json.dumps({"version": "4", "alerts": [{"status": status, "labels": labels, "value": "0.02",
                                                   "annotations": {"summary": "/ is full <!channel>"}}]})


class Mail(unittest.TestCase):
    def run_hook(self, *arguments, sendmail="cat >\"$OUT\"; echo \"$@\" >\"$OUT.args\"", **changes):
        with tempfile.TemporaryDirectory() as folder:
            if sendmail:
                path = os.path.join(folder, "sendmail")
                with open(path, "w", encoding="utf-8") as f:
                    f.write("#!/bin/sh\n" + sendmail + "\n")
                os.chmod(path, 0o755)
            out = os.path.join(folder, "out")
            env = environment(**changes)
            env.update(PATH=f"{folder}:/usr/bin:/bin", OUT=out)
            done = subprocess.run([os.path.join(HOOKS, "mail"), *arguments], input=payload(), env=env,
                                  capture_output=True, text=True, timeout=30)
            if not os.path.exists(out):
                return done, None
            with open(out, encoding="utf-8") as f:
                return done, email.message_from_string(f.read())

    def test_is_a_mail(self):
        done, mail = self.run_hook("ops@example.net", "two@example.net")
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(mail["To"], "ops@example.net, two@example.net")
        self.assertEqual(mail["Subject"], "[firing] node1: Disk (critical)")
        text = mail.get_payload(decode=True).decode()
        self.assertTrue(text.startswith("/ is full\n\nhost      node1\n"), text)
        self.assertIn(payload(), text)
        self.assertNotIn("until", text)

    def test_resolved_says_until_when(self):
        _, mail = self.run_hook("o@e", VITALD_ALERT_STATUS="resolved", VITALD_ALERT_ENDS_AT="2026-01-01T01:00:00Z")
        self.assertIn("until     2026-01-01T01:00:00Z", mail.get_payload(decode=True).decode())

    def test_labels_make_no_headers(self):
        _, mail = self.run_hook("o@e", VITALD_ALERT_NAME="x\nBcc: evil@example.net", VITALD_ALERT_SUMMARY="s\n.\nQUIT")
        self.assertIsNone(mail["Bcc"])
        self.assertEqual(mail["Subject"], "[firing] node1: xBcc: evil@example.net (critical)")

    def test_names_may_be_any_utf8(self):
        _, mail = self.run_hook("o@e", VITALD_ALERT_NAME="Überhitzt")
        decoded = str(email.header.make_header(email.header.decode_header(mail["Subject"])))
        self.assertEqual(decoded, "[firing] node1: Überhitzt (critical)")

    def test_failures_are_failures(self):
        self.assertEqual(self.run_hook("o@e", sendmail="cat >/dev/null; exit 75")[0].returncode, 75)
        done, _ = self.run_hook()
        self.assertEqual(done.returncode, 64)
        self.assertIn("usage", done.stderr)


class Chat(unittest.TestCase):
    def run_hook(self, body=None, answer=200, url=None):
        got = []

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                got.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
                self.send_response(answer)
                self.end_headers()
                self.wfile.write(b"no_such_channel")

            def log_message(self, *_):
                pass

        server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            with tempfile.NamedTemporaryFile("w", suffix=".url") as f:
                f.write(url or f"http://127.0.0.1:{server.server_port}/secret\n")
                f.flush()
                done = subprocess.run([sys.executable, os.path.join(HOOKS, "chat"), f.name], input=body or payload(),
                                      env=environment(), capture_output=True, text=True, timeout=30)
        finally:
            server.shutdown()
            thread.join()
            server.server_close()
        return done, got

    def test_posts_what_a_person_needs(self):
        done, got = self.run_hook()
        self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual(got, [{"text": "FIRING: Disk on node1 (critical)\n/ is full &lt;!channel&gt;\n"
                                        "mountpoint=/ value=0.02"}])
        _, got = self.run_hook(payload("resolved"))
        self.assertTrue(got[0]["text"].startswith("resolved: Disk on node1"))

    def test_failures_are_failures_and_keep_the_secret(self):
        done, _ = self.run_hook(answer=404)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("the chat answers 404", done.stderr)
        self.assertIn("no_such_channel", done.stderr)
        done, _ = self.run_hook(url="http://127.0.0.1:1/secret")
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("does not answer", done.stderr)
        self.assertNotIn("secret", done.stderr)
        done, _ = self.run_hook(url="not a url")
        self.assertIn("no URL", done.stderr)


class Ticket(unittest.TestCase):
    """A tracker that keeps issues as GitHub and Gitea do."""

    def setUp(self):
        self.issues, self.comments, self.answer = [], [], 200
        test = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def reply(self, body):
                data = json.dumps(body).encode()
                self.send_response(test.answer)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

            def take(self):
                test.assertEqual(self.headers["Authorization"], "token s3cret")
                return json.loads(self.rfile.read(int(self.headers["Content-Length"])))

            def do_GET(self):
                first = "page=1&" in self.path + "&"
                self.reply([i for i in test.issues if i["state"] == "open"] if first else [])

            def do_POST(self):
                body = self.take()
                if self.path.endswith("/comments"):
                    test.comments.append(body["body"])
                else:
                    test.issues.append({"number": len(test.issues) + 1, "state": "open", **body})
                self.reply({})

            def do_PATCH(self):
                test.issues[int(self.path.rsplit("/", 1)[1]) - 1].update(self.take())
                self.reply({})

            def log_message(self, *_):
                pass

        self.server = http.server.HTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever)
        self.thread.start()

    def tearDown(self):
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()

    def run_hook(self, transition, status="firing"):
        body = json.loads(payload(status))
        body["alerts"][0].update(fingerprint="00ff", transition=transition, startsAt="2026-01-01T00:00:00Z")
        with tempfile.NamedTemporaryFile("w") as f:
            f.write("s3cret\n")
            f.flush()
            return subprocess.run([sys.executable, os.path.join(HOOKS, "ticket"),
                                   f"http://127.0.0.1:{self.server.server_port}", "ops/incidents", f.name],
                                  input=json.dumps(body), env=environment(), capture_output=True, text=True, timeout=30)

    def test_one_issue_for_one_alert(self):
        for _ in range(2):  # told twice
            done = self.run_hook(1)
            self.assertEqual((done.returncode, done.stderr), (0, ""))
        self.assertEqual([(i["title"], i["state"]) for i in self.issues], [("Disk on node1", "open")])
        self.assertIn("/ is full", self.issues[0]["body"])
        self.assertEqual(self.comments, [])
        self.run_hook(2)  # it fires again while the issue is open
        self.assertTrue(self.comments[0].startswith("It fires again."))
        self.assertEqual(self.run_hook(3, "resolved").returncode, 0)
        self.assertEqual(self.issues[0]["state"], "closed")
        self.run_hook(4)
        self.assertEqual([i["state"] for i in self.issues], ["closed", "open"])

    def test_failures_are_failures_and_keep_the_secret(self):
        self.answer = 403
        done = self.run_hook(1)
        self.assertNotEqual(done.returncode, 0)
        self.assertIn("the tracker answers 403", done.stderr)
        self.assertNotIn("s3cret", done.stderr)


class RestartUnit(unittest.TestCase):
    def run_hook(self, *arguments, age=100_000, state="active", **changes):
        with tempfile.TemporaryDirectory() as folder:
            with open("/proc/uptime", encoding="utf-8") as f:
                since = int((float(f.read().split()[0]) - age) * 1_000_000)
            with open(os.path.join(folder, "systemctl"), "w", encoding="utf-8") as f:
                f.write(f"""#!/bin/sh
case "$*" in
  *ActiveEnterTimestampMonotonic*) echo {since} ;;
  *ActiveState*) echo {state} ;;
  *) echo "$@" >> {folder}/done ;;
esac
""")
            os.chmod(os.path.join(folder, "systemctl"), 0o755)
            env = environment(**changes)
            env["PATH"] = f"{folder}:/usr/bin:/bin"
            done = subprocess.run([os.path.join(HOOKS, "restart-unit"), *arguments], input=payload(), env=env,
                                  capture_output=True, text=True, timeout=30)
            path = os.path.join(folder, "done")
            if not os.path.exists(path):
                return done, ""
            with open(path, encoding="utf-8") as f:
                return done, f.read().strip()

    def test_restarts_when_it_should(self):
        restart = "restart -- nginx.service"
        cases = [  # arguments, what is special, what is done
            (("nginx.service",), {"age": 1000}, restart),
            (("nginx.service",), {"age": 100}, ""),
            (("nginx.service", "60"), {"age": 100}, restart),
            (("nginx.service",), {"age": 100, "state": "failed"}, restart),
            (("nginx.service",), {"age": 1000, "VITALD_ALERT_STATUS": "resolved"}, ""),
            (("nginx.service", "60", "Other"), {"age": 1000}, ""),
            (("nginx.service", "60", "Other", "Disk"), {"age": 1000}, restart),
        ]
        for arguments, special, want in cases:
            with self.subTest(arguments=arguments, special=special):
                done, got = self.run_hook(*arguments, **special)
                self.assertEqual((done.returncode, got), (0, want), done.stderr)

    def test_mistakes(self):
        for arguments in ((), ("nginx.service", "soon")):
            done, got = self.run_hook(*arguments)
            self.assertEqual((done.returncode, got), (2, ""))


if __name__ == "__main__":
    unittest.main()
