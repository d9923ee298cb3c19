#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pushing over TLS to a server that wants a certificate of ours: a CA of its own, a name that is not the URL's; what is
wrong costs nothing and is named. And what --config.check says of settings that cannot work, all of it at once."""

import pathlib
import ssl
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, metrics, need, vitald, wait_for  # noqa: E402
from remote_write import Receiver  # noqa: E402

need("openssl")

WRONG = {
    "name: a, url: ftp://x/": "push.remote_write[0]: url: 'ftp://x' found, expected http://HOST or https://HOST",
    "name: a": "no 'url', expected the URL that takes remote write",
    "url: http://x/": "no 'name', expected one",
    "name: a, url: http://x/, interval: soon": "'soon' is not a duration",
    "name: a, url: http://x/, aggregate: median": "aggregate: 'median' found, expected last, avg or max",
    "name: a, url: http://x/, histograms: both": "histograms: 'both' found, expected classic or native",
    "name: a, url: http://x/, protocol: 3": "protocol: '3' found, expected auto, 1 or 2",
    "name: a, url: http://x/, labels: [rack]": "labels: 'rack' is not NAME=VALUE",
    "name: a, url: http://x/, standby: http://y": "expected a list of http(s)://HOST:PORT",
    "name: a, url: http://x/, standby_retry: 1ms": "is outside 1s..",
    "name: a, url: http://x/, relabel: [{action: bend}]": "bend",
    "name: a, url: http://x/, queue_disk: 0": "0 is outside 1..",
    "name: a, url: http://x/, token: secret": "push.remote_write[0].token: unknown key",
}


def check(folder, text):
    path = pathlib.Path(folder, "check.yaml")
    path.write_text(text)
    done = subprocess.run([VITALD, f"--config.file={path}", "--config.check"], capture_output=True, text=True, timeout=60)
    return done.returncode, done.stdout + done.stderr


def wrong_settings(folder):
    for settings, want in WRONG.items():
        code, said = check(folder, "push:\n  remote_write:\n    - {" + settings + "}\n")
        assert code == 1 and want in said and "check.yaml:3:" in said, (settings, code, said)
    # All at once, each at its place.
    code, said = check(folder, "push:\n  remote_write:\n" + "".join(
        f"    - {{name: n{i}, url: 'http://x/', {rest}}}\n" for i, rest in enumerate((
            "ca_file: /no/ca.pem", "cert_file: /no/cert.pem", "standby: ['http://y/path']", "bearer_token_env: NO_SUCH"))))
    assert code == 1, said
    for place, want in (("3:", "/no/ca.pem"), ("4:", "expected both 'cert_file' and 'key_file' or none"),
                        ("5:", "standby: 'http://y' has a path"), ("6:", "the variable NO_SUCH is not set")):
        assert any(f"check.yaml:{place}" in line and want in line for line in said.splitlines()), (place, want, said)


def tls(folder):
    def openssl(*words):
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=folder)
    curve = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    for name in ("ca", "other"):
        openssl("req", "-x509", *curve, "-days", "2", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.pem")
    pathlib.Path(folder, "ext").write_text("subjectAltName=DNS:push.example\n")
    for name, ca in (("server", "ca"), ("client", "ca"), ("stranger", "other")):
        openssl("req", *curve, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", f"{ca}.pem", "-CAkey", f"{ca}.key", "-CAcreateserial",
                "-days", "2", "-extfile", "ext", "-out", f"{name}.pem")
    receiver = Receiver()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(f"{folder}/server.pem", f"{folder}/server.key")
    context.load_verify_locations(f"{folder}/ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED
    receiver.server.socket = context.wrap_socket(receiver.server.socket, server_side=True)
    url = receiver.url.replace("http://", "https://")
    ours = {"name": "good", "ca_file": f"{folder}/ca.pem", "cert_file": f"{folder}/client.pem",
            "key_file": f"{folder}/client.key", "server_name": "push.example"}
    cases = {"good": ours,
             "wrong-ca": {**ours, "ca_file": f"{folder}/other.pem"},
             "wrong-name": {k: v for k, v in ours.items() if k != "server_name"},
             "no-certificate": {k: v for k, v in ours.items() if k not in ("cert_file", "key_file")},
             "strangers-certificate": {**ours, "cert_file": f"{folder}/stranger.pem", "key_file": f"{folder}/stranger.key"}}
    rows = [{**settings, "name": name, "url": url, "interval": "500ms", "timeout": "5s"} for name, settings in cases.items()]
    config = pathlib.Path(folder, "vitald.yaml")
    config.write_text("push:\n  remote_write:\n" + "".join(
        "    - {" + ", ".join(f"{k}: '{v}'" for k, v in row.items()) + "}\n" for row in rows))
    quiet = ("--collector.disable-defaults", "--collector.self", "--collector.loadavg")
    with vitald(f"--config.file={config}", *quiet) as (_, base):
        def of(name, destination):
            kind = (("data_type", "samples"),) if name.startswith("vitald_delivery_") else ()
            return metrics(base)[1].get((name, kind + (("destination", destination),)), 0)
        wait_for("the right one is taken", 20, lambda: of("vitald_push_sent_samples_total", "good") > 0)
        for name in cases:
            if name == "good":
                continue
            wait_for(f"{name}: an attempt has failed", 20, lambda: of("vitald_delivery_failed_total", name) > 0)
            assert of("vitald_push_sent_samples_total", name) == 0 and of("vitald_delivery_queued", name) > 0, name
        dropped = sum(v for (n, _), v in metrics(base)[1].items() if n == "vitald_push_dropped_samples_total")
        assert dropped == 0, dropped
    doctor = subprocess.run([VITALD, "doctor", f"--config.file={config}", *quiet, "--state.directory="],
                            capture_output=True, text=True, timeout=120).stdout
    for name in cases:
        line = next(text for text in doctor.splitlines() if f"remote_write '{name}'" in text)
        assert (line.split()[0] == "ok") == (name == "good"), line
    assert not receiver.problems, receiver.problems[:3]
    receiver.stop()
    print("TLS: taken with the right CA, name and certificate, and with nothing else", flush=True)


with tempfile.TemporaryDirectory() as top:
    pathlib.Path(top).chmod(0o755)
    wrong_settings(top)
    tls(top)
