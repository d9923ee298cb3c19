#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""--web.config.file: TLS, client certificates, passwords and headers, as real clients see them."""

import base64
import concurrent.futures
import contextlib
import ctypes
import ctypes.util
import pathlib
import socket
import ssl
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from harness import VITALD, Process, free_port, get_json, need, running, sanitizer, wait_for  # noqa: E402

need("openssl", "curl", "prometheus")
FOLDER = tempfile.TemporaryDirectory()
HERE = pathlib.Path(FOLDER.name)
warnings.simplefilter("ignore", DeprecationWarning)  # TLS 1.0 and 1.1 are meant

libcrypt = ctypes.CDLL(ctypes.util.find_library("crypt"))
libcrypt.crypt.restype = ctypes.c_char_p


def bcrypt(password, cost=8, kind="2b"):
    return libcrypt.crypt(password.encode(), f"${kind}${cost:02}$abcdefghijklmnopqrstuu".encode()).decode()


def openssl(*argv):
    subprocess.run(["openssl", *argv], check=True, capture_output=True, cwd=HERE)


def authority(name):
    openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
            "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.crt")


def certificate(name, ca, purpose, kind=("ec", "-pkeyopt", "ec_paramgen_curve:prime256v1")):
    openssl("req", "-newkey", *kind, "-nodes", "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", "req.pem")
    (HERE / "ext").write_text(f"subjectAltName=DNS:{name},DNS:localhost,IP:127.0.0.1\nextendedKeyUsage={purpose}\n")
    openssl("x509", "-req", "-in", "req.pem", "-CA", f"{ca}.crt", "-CAkey", f"{ca}.key", "-CAcreateserial", "-days", "2",
            "-extfile", "ext", "-out", f"{name}.crt")


for ca in ("ca", "other"):
    authority(ca)
certificate("server", "ca", "serverAuth")
certificate("renewed", "ca", "serverAuth")
certificate("rsa", "ca", "serverAuth", ("rsa:2048",))
certificate("client", "ca", "clientAuth")
certificate("stranger", "other", "clientAuth")
certificate("wrong-purpose", "ca", "serverAuth")

SERVER = "tls_server_config:\n  cert_file: server.crt\n  key_file: server.key\n"


def context(client=None, highest=None, lowest=None, ciphers=None):
    made = ssl.create_default_context(cafile=HERE / "ca.crt")
    if client:
        made.load_cert_chain(HERE / f"{client}.crt", HERE / f"{client}.key")
    if lowest:
        made.minimum_version = lowest
    if highest:
        made.maximum_version = highest
    if ciphers:
        made.set_ciphers(ciphers)
    return made


class Target:
    def __init__(self, process, port, config):
        self.process, self.port, self.config = process, port, config

    def get(self, path="/metrics", user=None, password="", tls=None, headers=None, timeout=20):
        request = urllib.request.Request(f"{'https' if tls else 'http'}://127.0.0.1:{self.port}{path}",
                                         headers=headers or {})
        if user is not None:
            token = base64.b64encode(f"{user}:{password}".encode()).decode()
            request.add_header("Authorization", f"Basic {token}")
        try:
            with urllib.request.urlopen(request, timeout=timeout, context=tls) as answer:
                return answer.status, answer.headers, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.headers, error.read()

    def refused(self, tls):
        """Whether the handshake or the first read fails (TLS 1.3 tells the client only then)."""
        try:
            self.get(tls=tls)
        except (ssl.SSLError, ConnectionError, urllib.error.URLError, OSError):
            return True
        return False

    def within(self, is_so):
        """The files are looked at once a second."""
        wait_for("the new web configuration", 10, is_so)

    def peer(self):
        """The common name of the certificate that a new connection is shown."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=10) as raw, \
                context().wrap_socket(raw, server_hostname="localhost") as tls:
            return dict(pair[0] for pair in tls.getpeercert()["subject"])["commonName"]


@contextlib.contextmanager
def vitald(config):
    port = free_port()
    path = HERE / "web.yaml"
    path.write_text(config)
    process = Process([VITALD, f"--web.listen-address=127.0.0.1:{port}", f"--web.config.file={path}"])
    try:
        def listens():
            with socket.socket() as s:
                return not process.alive() or s.connect_ex(("127.0.0.1", port)) == 0
        wait_for("vitald listening", 20, listens)
        assert process.alive(), process.output()
        yield Target(process, port, path)
        assert process.alive(), process.output()
    except BaseException:
        print(f"--- vitald, with\n{config}---\n{process.output()}---", flush=True)
        raise
    finally:
        process.stop()


def rewrite(path, text):
    """As configuration management does: a new file in its place."""
    fresh = path.with_suffix(".new")
    fresh.write_text(text)
    fresh.rename(path)


(HERE / "cli.yml").write_text(SERVER)

# 1. TLS: a client that trusts the CA, curl, and one that does not; versions; a renewed certificate.
with vitald(SERVER) as v:
    status, headers, body = v.get(tls=context())
    assert status == 200 and b"node_load1 " in body
    curl = subprocess.run(["curl", "-sS", "--http2", "--cacert", HERE / "ca.crt", "-o", "/dev/null", "-w",
                           "%{http_code} %{http_version}", f"https://localhost:{v.port}/metrics", "--resolve",
                           f"localhost:{v.port}:127.0.0.1"], capture_output=True, text=True, check=True)
    assert curl.stdout == "200 1.1", curl.stdout
    assert v.refused(ssl.create_default_context())
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        assert v.get(tls=context(lowest=version, highest=version))[0] == 200, version
    assert v.refused(context(lowest=ssl.TLSVersion.TLSv1, highest=ssl.TLSVersion.TLSv1_1,
                             ciphers="ALL:@SECLEVEL=0"))
    assert "https://127.0.0.1:" in wait_for("report", 10, lambda: v.process.output())
    # `vitald alerts` with the daemon's own flags asks by TLS; without them it says what to try.
    own = [VITALD, "alerts", f"--web.listen-address=127.0.0.1:{v.port}"]
    asked = subprocess.run([*own, f"--web.config.file={HERE}/cli.yml", f"--ca-file={HERE}/ca.crt"], capture_output=True, text=True)
    assert asked.returncode == 0 and asked.stdout == "no alerts\n", asked
    asked = subprocess.run(own, capture_output=True, text=True)
    assert asked.returncode == 1 and "https://HOST:PORT where it speaks TLS" in asked.stderr, asked
    with socket.create_connection(("127.0.0.1", v.port), timeout=10) as plain:  # plain HTTP to a TLS port
        plain.sendall(b"GET / HTTP/1.0\r\n\r\n")
        with contextlib.suppress(ConnectionResetError):
            assert not plain.recv(100).startswith(b"HTTP")

    assert v.peer() == "server"
    # In two steps, and for a moment they don't fit: the old pair stays.
    rewrite(HERE / "server.crt", (HERE / "renewed.crt").read_text())
    v.within(lambda: "certificate " in v.process.output())
    assert v.peer() == "server"
    rewrite(HERE / "server.key", (HERE / "renewed.key").read_text())
    v.within(lambda: v.peer() == "renewed")
    rewrite(v.config, SERVER + "  min_version: TLS13\n")
    v.within(lambda: v.refused(context(highest=ssl.TLSVersion.TLSv1_2)))
    assert v.get(tls=context())[0] == 200
    rewrite(v.config, SERVER + "  min_versoin: TLS12\n")
    v.within(lambda: "4:3: tls_server_config.min_versoin: unknown key" in v.process.output())
    assert v.refused(context(highest=ssl.TLSVersion.TLSv1_2)) and v.get(tls=context())[0] == 200
print("TLS: served, refused below min_version, renewed without a restart")

# 2. Suites, with an RSA certificate; by default only those with forward secrecy.
RSA = "tls_server_config:\n  cert_file: rsa.crt\n  key_file: rsa.key\n"
with vitald(RSA) as v:
    assert v.refused(context(ciphers="AES128-GCM-SHA256:AES256-SHA", highest=ssl.TLSVersion.TLSv1_2))
    assert v.get(tls=context(ciphers="ECDHE-RSA-AES128-GCM-SHA256", highest=ssl.TLSVersion.TLSv1_2))[0] == 200
with vitald(RSA + "  max_version: TLS12\n  cipher_suites: [TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384]\n"
            "  curve_preferences: [CurveP384]\n") as v:
    assert v.get(tls=context())[0] == 200
    assert v.refused(context(ciphers="ECDHE-RSA-AES128-GCM-SHA256", highest=ssl.TLSVersion.TLSv1_2))
    assert v.refused(context(lowest=ssl.TLSVersion.TLSv1_3))
inline = "".join(f"  {key}: |\n" + "".join(f"    {line}\n" for line in (HERE / f"rsa.{end}").read_text().splitlines())
                 for key, end in (("cert", "crt"), ("key", "key")))
with vitald("tls_server_config:\n" + inline) as v:
    assert v.get(tls=context())[0] == 200 and v.peer() == "rsa"

# 3. Client certificates. What each policy does with none, a good one, one of another CA, and a server's.
POLICIES = {
    "NoClientCert": (True, True, True, True),
    "RequestClientCert": (True, True, True, True),
    "RequireAnyClientCert": (False, True, True, True),
    "VerifyClientCertIfGiven": (True, True, False, False),
    "RequireAndVerifyClientCert": (False, True, False, False),
}
for policy, wanted in POLICIES.items():
    ca = "" if policy == "NoClientCert" else "  client_ca_file: ca.crt\n"
    with vitald(RSA + f"  client_auth_type: {policy}\n{ca}") as v:
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            got = tuple(not v.refused(context(c, highest=version))
                        for c in (None, "client", "stranger", "wrong-purpose"))
            # A certificate of a CA that the server does not name is not even sent by a client of TLS 1.2 or 1.3.
            assert got[:2] == wanted[:2] and got[2:] in (wanted[2:], (wanted[0],) * 2), (policy, version, got)
            if policy == "RequireAndVerifyClientCert":
                assert got == wanted, got
for names, allowed in (("[nobody]", False), ("[nobody, client]", True), ("[127.0.0.1]", True)):
    with vitald(RSA + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n"
                f"  client_allowed_sans: {names}\n") as v:
        assert v.refused(context("client")) != allowed, names
print("client certificates: five policies, with none, good, foreign and wrong ones")

# 4. Passwords and headers.
users = {"alice": bcrypt("secret"), "bob": bcrypt("pässwörd", 4, "2a"), "carol": bcrypt("c:o", 4, "2y")}
AUTH = "basic_auth_users:\n" + "".join(f"  {u}: {h}\n" for u, h in users.items()) + """
http_server_config:
  headers:
    X-Frame-Options: deny
    Content-Security-Policy: "default-src 'self'"
"""
with vitald(AUTH) as v:
    for path in ("/-/healthy", "/-/ready"):  # a kubelet has no password
        v.within(lambda: v.get(path)[0] == 200)  # ready once the first collection is at its end
    for path in ("/metrics", "/", "/-/reload", "/nothing", "/api/v1/alerts"):
        status, headers, _ = v.get(path)
        assert status == 401 and headers["WWW-Authenticate"] == "Basic", (path, status)
        assert headers["X-Frame-Options"] == "deny", path
    for user, password in (("alice", "secret"), ("bob", "pässwörd"), ("carol", "c:o")):
        for path in ("/metrics", "/metrics", "/"):
            status, headers, _ = v.get(path, user, password)
            assert status == 200 and headers["Content-Security-Policy"] == "default-src 'self'", (user, status)
    assert v.get("/nothing", "alice", "secret")[0] == 404
    for user, password in (("alice", "Secret"), ("alice", ""), ("mallory", "secret"), ("", ""), ("alice", "secret\0")):
        for _ in range(2):  # compared, and remembered
            assert v.get("/metrics", user, password)[0] == 401, (user, password)
    for header in ("Basic", "Basic !!!", "Bearer abc", "Basic " + base64.b64encode(b"nocolon").decode()):
        assert v.get(headers={"Authorization": header})[0] == 401, header
    rewrite(v.config, AUTH.replace(users["alice"], bcrypt("changed", 4)))
    v.within(lambda: v.get("/metrics", "alice", "secret")[0] == 401)
    assert v.get("/metrics", "alice", "changed")[0] == 200
    rewrite(v.config, "")  # written over just now, or by mistake
    v.within(lambda: "in force stays" in v.process.output())
    assert v.get("/metrics")[0] == 401
    for text in ("basic_auth_users:\n", "# nobody\n", "http_server_config: {}\n"):  # well-formed, and cut off
        said = v.process.output().count("no basic_auth_users, which are in force")
        rewrite(v.config, text)
        v.within(lambda: v.process.output().count("no basic_auth_users, which are in force") > said)  # noqa: B023
        assert v.get("/metrics")[0] == 401, text
        good = v.process.output().count("web configuration read again")
        rewrite(v.config, AUTH + f"# after {text!r}\n")  # what is the same problem twice in a row is told once
        v.within(lambda: v.process.output().count("web configuration read again") > good)  # noqa: B023
    rewrite(v.config, "basic_auth_users: {}\n")
    v.within(lambda: v.get("/metrics")[0] == 200)
    assert "Content-Security-Policy" not in v.get("/metrics")[1]

# Somebody tries passwords at a cost of half a second each; who is known already goes on at once.
with vitald(f"basic_auth_users:\n  alice: {bcrypt('secret', 13)}\n") as v, \
        concurrent.futures.ThreadPoolExecutor(8) as pool:
    began = time.monotonic()
    assert v.get("/metrics", "alice", "secret")[0] == 200
    first = time.monotonic() - began
    tries = [pool.submit(v.get, "/metrics", user, f"wrong{i}", timeout=120)
             for i, user in enumerate(["alice", "mallory"] * 4)]
    answered = 0
    while not tries[0].done():
        assert v.get("/metrics", "alice", "secret")[0] == 200
        answered += 1
    assert answered >= 2, "a known password waited for an unknown one"
    said = {t.result()[0] for t in tries}
    assert said <= {401, 503} and 401 in said, said  # 503: not compared within 20 s, where others have the CPUs
print(f"passwords: the first comparison took {first * 1000:.0f} ms; {answered} scrapes passed during the next one")

# Twenty connections that guess, from the same address and for the same user, each a new password all the time: a server
# that comes for the first time with the right one is answered within a second, and they do not take the machine.
with vitald(f"basic_auth_users:\n  alice: {bcrypt('secret', 10)}\n  bob: {bcrypt('word', 10)}\n"
            f"  carol: {bcrypt('c', 10)}\n") as v, \
        concurrent.futures.ThreadPoolExecutor(20) as pool:
    began = time.monotonic()
    assert v.get("/metrics", "carol", "c")[0] == 200
    alone = time.monotonic() - began
    until, guessed, took = time.monotonic() + 6, [], []

    def guess(number):
        n = 0
        while time.monotonic() < until:
            n += 1
            began = time.monotonic()
            guessed.append(v.get("/metrics", "alice", f"{number}.{n}", timeout=60)[0])
            took.append(time.monotonic() - began)

    guessers = [pool.submit(guess, n) for n in range(20)]
    waited = []
    for user, password in (("alice", "secret"), ("bob", "word")):
        time.sleep(1.5)
        began = time.monotonic()
        assert v.get("/metrics", user, password, timeout=20)[0] == 200
        waited.append(time.monotonic() - began)
    cpu = time.clock_gettime((~v.process.pid << 3) | 2)
    time.sleep(2)
    cpu = (time.clock_gettime((~v.process.pid << 3) | 2) - cpu) / 2
    for g in guessers:
        g.result()
    assert set(guessed) <= {401, 503} and 401 in guessed, set(guessed)
    print(f"20 guessers, {len(guessed)} guesses in 6 s, {cpu:.2f} of a core: the right passwords after "
          f"{', '.join(f'{w * 1000:.0f}' for w in waited)} ms, one alone after {alone * 1000:.0f} ms")
    # This machine may be busy: then guessers wait as well, and longer.
    assert max(waited) < max(1, 8 * alone, statistics.median(took)) and cpu < 1.2, (waited, alone, cpu, sorted(took))

# 5. Too many requests.
with vitald("rate_limit: {interval: 1h, burst: 2}\n") as v:
    assert [v.get("/metrics")[0] for _ in range(3)] == [200, 200, 429]

# 6. What is wrong is said before anything listens, and by --config.check.
for config, text in ((SERVER.replace("server.crt", "absent.crt"), "absent.crt"),
                     (SERVER.replace("server.key", "client.key"), "certificate"),
                     (RSA + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: rsa.key\n",
                      "no certificate in it"),
                     ("basic_auth_users: {john: doe}\n", "1:26: basic_auth_users.john: not a bcrypt hash"),
                     ("tls_server_config: {cert_file: a}\n", "no key, expected key_file or key")):
    (HERE / "bad.yaml").write_text(config)
    for flags in (["--config.check"], [f"--web.listen-address=127.0.0.1:{free_port()}"]):
        done = subprocess.run([VITALD, f"--web.config.file={HERE}/bad.yaml", *flags], capture_output=True, text=True,
                              timeout=20)
        assert done.returncode == 1 and text in done.stderr, (config, done)

# 7. Who connects and keeps silent costs no CPU, holds up nobody and is let go; an emptied file opens no door.
with vitald(RSA + AUTH) as v:
    def cpu_s():
        return time.clock_gettime((~v.process.pid << 3) | 2)

    # Loading the probes takes seconds of CPU time by itself, and is not what is asked about.
    wait_for("the probes", 120, lambda: b">starting<" not in v.get("/", "alice", "secret", tls=context())[2])
    began, with_silent = time.monotonic(), cpu_s()
    silent = [socket.create_connection(("127.0.0.1", v.port)) for _ in range(2)]
    silent[1].send(b"\x16\x03\x01\x02")  # the beginning of a handshake
    status, _, _ = v.get(tls=context(), user="alice", password="secret", timeout=5)
    assert status == 200
    for text in ("", AUTH):
        (HERE / v.config).write_text(text)
        wait_for("a word about it", 10, lambda: "in force stays" in v.process.output())
        assert v.get(tls=context())[0] == 401, text
    for connection in silent:
        connection.settimeout(20)
        while connection.recv(100):  # an alert that the session is over
            pass
    spent, took = cpu_s() - with_silent, time.monotonic() - began
    # With a sanitizer each round takes several times as long.
    assert took > 5 and spent < took / (1 if sanitizer() else 4), (spent, took)
    print(f"two silent TLS clients: {spent:.2f} s of CPU in {took:.0f} s")

# 8. A real Prometheus.
with vitald(RSA + "  client_auth_type: RequireAndVerifyClientCert\n  client_ca_file: ca.crt\n" + AUTH) as v:
    (HERE / "prometheus.yml").write_text(f"""
global: {{scrape_interval: 1s, scrape_timeout: 1s}}
scrape_configs:
  - job_name: vitald
    scheme: https
    tls_config: {{ca_file: {HERE}/ca.crt, cert_file: {HERE}/client.crt, key_file: {HERE}/client.key}}
    basic_auth: {{username: alice, password: secret}}
    static_configs: [{{targets: ["127.0.0.1:{v.port}"]}}]
""")
    port = free_port()
    base = f"http://127.0.0.1:{port}"
    with running(["prometheus", f"--config.file={HERE}/prometheus.yml", f"--storage.tsdb.path={HERE}/data",
                  f"--web.listen-address=127.0.0.1:{port}", "--log.level=warn"], base + "/-/ready", seconds=60):
        wait_for("up == 1", 30, lambda: [r for r in get_json(f"{base}/api/v1/query?query=up")["data"]["result"]
                                         if r["value"][1] == "1"])
        target = get_json(base + "/api/v1/targets")["data"]["activeTargets"][0]
        assert target["health"] == "up", target
        print(f"Prometheus scraped over TLS with a password in {target['lastScrapeDuration'] * 1000:.1f} ms")
FOLDER.cleanup()
