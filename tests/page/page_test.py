#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The live page in a real browser: every view, narrow and wide, light and dark; without a complaint on the console; what
comes from the host is text; a browser's clock that is wrong and a part that fails spoil nothing; an alert is acknowledged through it, below a proxy's path and with a password; it costs the
agent next to nothing, and nothing while nobody looks. VITALD_SCREENSHOTS names a folder that keeps pictures."""

import base64
import contextlib
import ctypes
import ctypes.util
import datetime
import gzip
import http.server
import json
import os
import pathlib
import re
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
from browser import Browser  # noqa: E402
from harness import VITALD, Process, free_port, get, get_json, need, vitald, wait_for  # noqa: E402
from npm import PAGE, give_back, packages  # noqa: E402

need("chromium")
FOLDER = tempfile.TemporaryDirectory()
HERE = pathlib.Path(FOLDER.name)
SHOTS = os.environ.get("VITALD_SCREENSHOTS")
VIEWS = ("", "owners", "guests", "sensors", "alerts", "query", "agent")
EVIL = '<img src=x onerror="window.hacked=1">'
BROWSER = {"Accept": "text/html,application/xhtml+xml"}

# A host with owners, guests, sensors and thousands of other series, some of whose names try to be HTML. What the probes
# would say is said here, so they are off.
escaped = EVIL.replace("\\", "\\\\").replace('"', '\\"')
TEXTFILE = HERE / "textfile"
TEXTFILE.mkdir()


# A fan that is slow, a voltage within its limits, a supply over its cap, a current whose limits nobody has set.
LIMITED = {"fan_rpm": 500, "fan_min_rpm": 600, "in_volts": 12.1, "in_min_volts": 11.4, "in_max_volts": 12.6, "power_watt": 210,
           "power_cap_watt": 250, "curr_amps": 3, "curr_min_amps": 0, "curr_max_amps": 0}


def families(seconds):
    """Numbers that grow with the time."""
    owners = [("pod", escaped, "shop", escaped, "api"), ("guest", "vm-1", "", "", ""), ("unit", "nginx.service", "", "", "")]
    rows = []
    for i, (kind, owner, namespace, pod, container) in enumerate(owners):
        labels = f'owner_kind="{kind}",owner="{owner}",namespace="{namespace}",pod="{pod}",container="{container}"'
        rows += [f"vitald_owner_cpu_seconds_total{{{labels}}} {seconds * (0.5 + i)}",
                 f'vitald_owner_wait_seconds_total{{cause="contention",{labels}}} {seconds * 0.1 * i}',
                 f'vitald_owner_block_bytes_total{{operation="read",{labels}}} {seconds * 1e6 * i}']
    rows += [f'vitald_owner_blamed_wait_seconds_total{{culprit_kind="unit",culprit="{escaped}",owner_kind="guest",owner="vm-1"}} {seconds * 0.2}',
             # The first kill of an owner: the counter was not there before.
             'vitald_owner_oom_kills_total{scope="memcg",owner_kind="guest",owner="vm-1"} 1',
             *(f'node_network_{what}_total{{device="page0"}} {seconds * rate}' for what, rate in
               (("receive_bytes", 1000), ("transmit_bytes", 2000), ("receive_drop", 0), ("receive_errs", 0), ("transmit_drop", 50), ("transmit_errs", 0))),
             "vitald_owners 3", "libvirt_up 1", 'node_hwmon_chip_names{chip="c0",chip_name="coretemp"} 1',
             'node_hwmon_temp_celsius{chip="c0",sensor="temp1"} 91',
             # A diode that is not connected, and a counter that nothing counts on.
             'node_hwmon_temp_celsius{chip="c1",sensor="temp9"} 127', 'node_rapl_package_joules_total{index="1",path="q"} 0',
             'node_hwmon_temp_max_celsius{chip="c0",sensor="temp1"} 80', 'node_hwmon_temp_crit_celsius{chip="c0",sensor="temp1"} 100',
             # sensors.conf scales this one, so its limits are of another scale.
             'node_hwmon_in_volts{chip="c0",sensor="in2"} 5', 'node_hwmon_in_max_volts{chip="c0",sensor="in2"} 2.5',
             'vitald_sensor_info{chip="c0",sensor="in2",computed="true"} 1',
             *(f'node_hwmon_{name}{{chip="c0",sensor="{name.split("_")[0]}1"}} {value}' for name, value in LIMITED.items()),
             f'node_hwmon_sensor_label{{chip="c0",sensor="temp1",label="{escaped}"}} 1',
             f'node_rapl_package_joules_total{{index="0",path="p"}} {seconds * 42}']
    for i, domain in enumerate((escaped, "vm-1")):
        labels = f'domain="{domain}",uuid="{i}"'
        rows += [f"libvirt_domain_info_cpu_time_seconds_total{{{labels}}} {seconds * 0.3}",
                 f"libvirt_domain_info_virtual_cpus{{{labels}}} 2", f"libvirt_domain_info_vstate{{{labels}}} 1"]
    for i in range(24):
        rows.append(f'vitald_sched_runqueue_latency_seconds_bucket{{le="{2.0 ** (i - 20)}"}} {seconds * 10 * i}')
    rows.append(f'vitald_sched_runqueue_latency_seconds_bucket{{le="+Inf"}} {seconds * 240}')
    rows += [f'page_filler{{number="{i}",text="some label of the usual length"}} {i}' for i in range(4200)]
    return "".join(row + "\n" for row in rows)


def write_families(seconds):
    (TEXTFILE / "new").write_text(families(seconds))
    (TEXTFILE / "new").rename(TEXTFILE / "host.prom")


(HERE / "rules.yaml").write_text(f"""groups:
  - name: page
    rules:
      - alert: PageTest
        expr: page_filler{{number="7"}} > 1
        labels: {{severity: critical, odd: '{EVIL}'}}
        annotations: {{summary: 'It is {EVIL} now'}}
      - {{record: page:recorded, expr: vector(1)}}
""")
OFF = [f"--no-probe.{p}" for p in ("block_latency", "compaction", "hardirq_latency", "limit_reclaim", "migrations", "oom_kills", "owner_io",
                                   "owner_peaks", "owner_waits", "process_life", "runq_latency", "softirq_latency", "tcp_life")]


def agent(*flags):
    return vitald(f"--collector.textfile.directory={TEXTFILE}", f"--rules.file={HERE}/rules.yaml", "--pipeline.interval=1s",
                  "--no-collector.libvirt", "--no-collector.hwmon", "--no-collector.netdev", "--no-collector.sensors", "--no-collector.rapl", *OFF, *flags)


def ready(page):
    page.until("the view", "document.querySelector('main')?.getAttribute('aria-busy') === 'false'")
    assert page.evaluate("window.hacked") is None, "a label became HTML"


def cpu_seconds(pid):
    fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextlib.contextmanager
def proxy(url, prefix):
    """A reverse proxy that shows `url` below a path of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_):
            pass

        def pass_on(self):
            length = int(self.headers.get("Content-Length") or 0)
            body = self.rfile.read(length) if length else None
            if not self.path.startswith(prefix):
                return self.answer(404, {}, b"not below the prefix")
            headers = {k: v for k, v in self.headers.items() if k.lower() not in ("connection", "content-length")}
            request = urllib.request.Request(url + "/" + self.path[len(prefix):], data=body, headers=headers, method=self.command)
            try:
                with urllib.request.urlopen(request, timeout=60) as got:
                    self.answer(got.status, got.headers, got.read())
            except urllib.error.HTTPError as error:
                self.answer(error.code, error.headers, error.read())
            except OSError:
                self.answer(502, {}, b"")
            return None

        def answer(self, status, headers, body):
            self.send_response(status)
            for k, v in headers.items():
                if k.lower() not in ("connection", "content-length", "date", "server"):
                    self.send_header(k, v)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_DELETE = pass_on

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}{prefix}"
    finally:
        server.shutdown()
        server.server_close()


def what_is_sent(url):
    """Headers, packing and caches, without a browser."""
    status, headers, page = get(url + "/", BROWSER)
    assert status == 200 and headers["Content-Type"] == "text/html; charset=utf-8", (status, headers)
    assert page == (PAGE / "built/page.html").read_bytes(), "not the page of the checkout"
    status, _, packed = get(url + "/", {**BROWSER, "Accept-Encoding": "gzip"})
    assert status == 200 and gzip.decompress(packed) == page and len(packed) <= 150_000
    policy = headers["Content-Security-Policy"]
    assert "script-src 'sha256-" in policy and "unsafe" not in policy and "default-src 'none'" in policy, policy
    assert headers["X-Content-Type-Options"] == "nosniff" and headers["X-Frame-Options"] == "DENY"
    assert headers["Vary"] == "Accept, Accept-Encoding" and "no-cache" in headers["Cache-Control"]
    assert get(url + "/", {**BROWSER, "If-None-Match": f'"other", {headers["ETag"]}'})[0::2] == (304, b"")
    assert get(url + "/", {**BROWSER, "If-None-Match": '"other"'})[0] == 200
    # Without a script: for text browsers, for those who have none, and for programs.
    for path, accept in (("/?plain", BROWSER), ("/", {}), ("/?plain=1", {})):
        status, headers, plain = get(url + path, accept)
        assert status == 200 and b"<script" not in plain and b"PageTest" in plain and b">textfile<" in plain, plain[:500]
        assert EVIL.encode() not in plain


def axe(page, folder, where):
    page.evaluate((folder / "node_modules/axe-core/axe.min.js").read_text() + "; true")
    found = json.loads(page.evaluate("axe.run(document).then(r => JSON.stringify(r.violations.map(v => ({id: v.id, help: v.help, nodes: "
                                     "v.nodes.slice(0, 3).map(n => n.html.slice(0, 200) + ' ' + n.failureSummary.slice(0, 300))}))))"))
    assert not found, f"axe at {where}: {json.dumps(found, indent=1)}"


def steady(page, where):
    """What is on the screen stays where it is while the rest arrives (cumulative layout shift)."""
    moved = page.evaluate("new Promise(done => { setTimeout(() => done(0), 300); new PerformanceObserver(l => done(l.getEntries().reduce("
                          "(sum, e) => sum + (e.hadRecentInput ? 0 : e.value), 0))).observe({type: 'layout-shift', buffered: true}); })")
    assert moved < 0.1, f"{where}: layout shift {moved:.3f}"


def all_views(page, url, folder):
    for view in VIEWS:
        page.look(1400)
        page.go(f"{url}#/{view}")
        ready(page)
        steady(page, f"#/{view} at 1400 px")
        for width, dark in ((1400, False), (1400, True), (400, False), (400, True)):
            where = f"#/{view} at {width} px, {'dark' if dark else 'light'}"
            page.look(width, dark)
            page.evaluate("new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))")
            wide = page.evaluate("document.documentElement.scrollWidth")
            assert wide <= width, f"{where}: {wide} px wide, it must be scrolled sideways"
            if SHOTS:
                page.screenshot(f"{SHOTS}/{view or 'overview'}-{width}-{'dark' if dark else 'light'}.png")
            if folder and (width == 1400) != dark:  # each colour, each width
                axe(page, folder, where)
    if folder:
        print("axe-core: nothing to complain of in any view")


def what_views_say(page, url):
    """Numbers, names as they are, and reasons where there is nothing."""
    text = "document.querySelector('main').innerText"
    page.look(400)
    for view, wanted in {
        "": ["CPU", "Memory", "91 °C", "File systems", "now half within", EVIL, "/s lost", "No such file|not attached|--no-probe|no-probe.block_latency"],
        "owners": [EVIL, "vm-1", "waits because of", "ms/s", "OOM kills"],
        "guests": [EVIL, "running"],
        "sensors": [EVIL, "coretemp", "high", "80 / 100 °C", "from 600 rpm", "11.4 to 12.6 V", "250 W"],
        "alerts": [f"It is {EVIL} now", "Acknowledge", "firing, critical"],
        "agent": ["textfile", "--no-probe.runq_latency", "page:recorded", "There are none: notify:"],
    }.items():
        page.go(f"{url}#/{view}")
        ready(page)
        page.until(f"#/{view}: a rate", "document.querySelectorAll('main svg path, main tbody tr, main .alert').length > 0")
        for want in wanted:
            found = " || ".join(f"t.includes({json.dumps(w)})" for w in ([want] if want == EVIL or EVIL in want else want.split("|")))
            page.until(f"#/{view}: {want!r}", f"(() => {{ const t = {text}; return {found}; }})()")
        if view == "sensors":
            assert page.evaluate(f"!{text}.includes('2.5 V')"), "a limit of another scale"
        steady(page, f"#/{view} at 400 px")
    assert page.evaluate("document.querySelectorAll('main img').length") == 0


@contextlib.contextmanager
def before_the_page(page, script):
    """`script` runs in every document before its own."""
    added = page.call("Page.addScriptToEvaluateOnNewDocument", source=script)["identifier"]
    try:
        yield
    finally:
        page.call("Page.removeScriptToEvaluateOnNewDocument", identifier=added)


def clocks_that_differ(page, url):
    """The browser's clock is ten minutes ahead of the host's, or behind: what is shown is the host's time."""
    age = "parseInt(document.querySelector('.age').innerText)"
    for shift in (600, -600):
        with before_the_page(page, f"{{ const real = Date.now; Date.now = () => real() + {shift * 1000}; }}"):
            page.go(url)
            ready(page)
            page.until(f"{shift} s: CPU", "/\\d %/.test(document.querySelector('.tile .value').innerText)")
            page.evaluate("1")
            loaded = sum("query_range" in r for r in page.requests())
            time.sleep(5)
            # One that goes by its own clock is minutes off for ever; a machine that stands still for some seconds is not.
            page.until(f"{shift} s: the age", f"{age} <= 5 && !document.querySelector('.age.bad')")
            # A page that takes itself for one that was away asks for its past again in each of five rounds.
            page.evaluate("1")
            again = sum("query_range" in r for r in page.requests()) - loaded
            assert again <= 1, f"{shift} s: the past is asked for again, {again} times"
            page.go(f"{url}#/query/node_load1")
            ready(page)
            page.until(f"{shift} s: a graph", "document.querySelectorAll('.plot canvas').length > 0")
            page.go(f"{url}#/alerts")
            ready(page)
            began_s = get_json(url + "api/v1/alerts")["data"]["alerts"][0]["firedAt"]
            truly = time.time() - datetime.datetime.fromisoformat(began_s[:19] + "+00:00").timestamp()
            shown = page.until(f"{shift} s: an alert's age", "document.querySelector('.alert .note')?.innerText")
            want = (truly - 25, truly + 25)  # a busy machine shows it late; the other clock is minutes off
            m = re.match(r"fires for (?:(\d+) min|(\d+) s)", shown)
            seconds = int(m[1]) * 60 if m[1] else int(m[2])
            assert want[0] - (60 if m[1] else 0) <= seconds <= want[1], (shift, shown, truly)


def parts_that_fail(page, url):
    """A verdict that has no answer, or none for long, leaves the rest of the overview; a value that JSON has no number
    for is none."""
    for name, answer, says in (("broken", "Promise.resolve(new Response('the verdict broke', {status: 500}))", "Nobody knows: the verdict broke"),
                               ("slow", "new Promise(() => {})", "Asking …")):
        with before_the_page(page, f"{{ const real = fetch; window.fetch = (u, o) => String(u).includes('api/v1/verdict') ? {answer} : real(u, o); }}"):
            page.go(url)
            ready(page)
            page.until(f"{name}: the reason", f"document.querySelector('main').innerText.includes('{says}')")
            page.until(f"{name}: CPU", "/\\d %/.test(document.querySelector('.tile .value').innerText)")
            assert page.evaluate("!document.querySelector('.age.bad')"), page.evaluate("document.querySelector('.age').innerText")
    with before_the_page(page, "{ const real = fetch; window.fetch = async (u, o) => { const got = await real(u, o); if (!String(u).endsWith('api/v1/alerts')) "
                               "return got; const a = await got.json(); for (const x of a.data.alerts) x.current_value = null; "
                               "return new Response(JSON.stringify(a)); }; }"):
        page.go(f"{url}#/alerts")
        ready(page)
        page.until("no value", "document.querySelector('.alert').innerText.includes('page_filler is –;')")


    # Alerts that cannot be asked for are missing aloud, and nothing else is.
    with before_the_page(page, "{ const real = fetch; window.fetch = (u, o) => String(u).endsWith('api/v1/alerts') ? "
                               "Promise.resolve(new Response('the alerts broke', {status: 500})) : real(u, o); }"):
        page.go(url)
        ready(page)
        page.until("CPU without alerts", "/\\d %/.test(document.querySelector('.tile .value').innerText)")
        page.until("why there are no alerts", "document.querySelector('.urgent').innerText.includes('the alerts broke')")
        page.go(f"{url}#/alerts")
        ready(page)
        page.until("why there are none", "document.querySelector('main').innerText.includes('the alerts broke')")
        assert page.evaluate("!document.querySelector('main').innerText.includes('Nothing fires')")


# The page's stream of events is `stream`, from the beginning and not only for those who stay.
STREAM = ("{ const real = setTimeout; window.setTimeout = (f, ms, ...a) => real(f, ms === 10000 ? 0 : ms, ...a);"
          "window.EventSource = class extends EventTarget { constructor() { super(); window.stream = this; } close() {} }; }")


def many_events(page, url):
    """Hundreds of events at once: of deaths come no questions for alerts, of alerts one a second, and one after the last."""
    with before_the_page(page, STREAM + "{ const ask = fetch; window.asked = []; window.fetch = (u, o) => { if (String(u).endsWith('api/v1/alerts')) asked.push(Date.now()); return ask(u, o); }; }"):
        page.go(f"{url}#/owners")
        ready(page)
        page.until("a stream", "!!window.stream")

        def events(kind, times, apart_ms):
            """Questions for alerts while they come and two seconds later, beside those of the rounds."""
            return page.evaluate("(async () => { const before = asked.length, began = Date.now(); const sleep = (ms) => new Promise((done) => setTimeout(done, ms));"
                                 f"let last; for (let i = 0; i < {times}; i++) {{ stream.dispatchEvent(new MessageEvent('{kind}', {{data: '{{}}'}})); last = Date.now(); await sleep({apart_ms}); }}"
                                 "await sleep(2000); return [asked.length - before, asked.filter((t) => t >= last).length, (Date.now() - began) / 1000]; })()")

        for kind, times, apart_ms in (("process_death", 200, 0), ("oom_kill", 50, 20)):
            asked, _, seconds = events(kind, times, apart_ms)
            # A round, every two seconds at an interval of one, asks for them as well.
            assert asked <= seconds / 2 + 1, f"{times} {kind}: {asked} questions for alerts in {seconds:.1f} s"
        asked, after, seconds = events("alert_firing", 200, 10)
        assert asked <= seconds + 1 + seconds / 2 + 1, f"200 alerts: {asked} questions in {seconds:.1f} s"
        assert after >= 1, "nothing is asked for after the last of them"


def what_happened(page, url):
    """A program that dies all the time leaves the rest to be seen, is counted once each, and anew where some were missed."""
    at = time.time()
    events = [{"sequence": 1, "time": at, "type": "alert_firing", "text": "the alert that matters", "fields": {}}]
    events += [{"sequence": n, "time": at, "type": "process_death", "text": f"dier (process {n}) died", "fields": {"comm": "dier", "signal": "SIGKILL"}} for n in range(2, 900)]
    events += [{"sequence": n, "time": at, "type": "note", "text": f"note {n}.", "fields": {}} for n in range(900, 950)]
    answer = {"newest": events[-1]["sequence"], "events": events}
    with before_the_page(page, STREAM + f"{{ const real = fetch; window.had = {json.dumps(answer)}; window.fetch = async (u, o) => {{ const m = /events\\?.*after=(\\d+)/.exec(u); "
                               "if (!m) return real(u, o); return new Response(JSON.stringify({status: 'success', data: {newest: had.newest, events: had.events.filter((e) => e.sequence > m[1] || m[1] > had.newest)}})); }; }"):
        page.go(f"{url}#/alerts")
        ready(page)
        said = "document.querySelector('.events').innerText"
        page.until("the deaths", f"{said}.includes('dier (process 899) died (the last of 898 since')")
        assert page.evaluate(f"{said}.includes('the alert that matters') && {said}.includes('note 949.') && {said}.includes('note 920.') && !{said}.includes('note 919.')")
        assert page.evaluate("document.querySelectorAll('.events li').length") == 32

        def more(first):
            page.evaluate(f"had.newest = {first} + 1; had.events = [0, 1].map((n) => ({{sequence: {first} + n, time: {at}, type: 'process_death', "
                          f"text: `dier (process ${{{first} + n}}) died`, fields: {{comm: 'dier', signal: 'SIGKILL'}}}})); "
                          "stream.dispatchEvent(new MessageEvent('process_death', {data: '{}'})); true")

        more(950)
        page.until("two more", f"{said}.includes('dier (process 951) died (the last of 900 since')")
        more(5000)  # those between were overwritten
        page.until("counted anew", f"{said}.includes('dier (process 5001) died (the last of 2 since')")
        more(1)  # a run whose clock is behind that of the one before
        page.until("another run", f"{said}.includes('dier (process 2) died (the last of 2 since')")
        assert not page.evaluate(f"{said}.includes('the alert that matters')")


def runbooks(page, url):
    """Links to pages are links, what a browser would run is text."""
    for runbook, link in (("https://wiki.example/PageTest", True), ("javascript:window.hacked=1", False), ("data:text/html,x", False), ("see the wiki", False)):
        with before_the_page(page, "{ const real = fetch; window.fetch = async (u, o) => { const got = await real(u, o); if (!String(u).endsWith('api/v1/alerts')) "
                                   f"return got; const a = await got.json(); for (const x of a.data.alerts) x.annotations.runbook_url = {json.dumps(runbook)}; "
                                   "return new Response(JSON.stringify(a)); }; }"):
            page.go(f"{url}#/alerts")
            ready(page)
            page.until(runbook, f"document.querySelector('.alert')?.innerText.includes({json.dumps('Runbook: ' + runbook)})")
            links = page.evaluate("[...document.querySelectorAll('.alert a')].map((a) => a.href + ' ' + a.rel)")
            assert links == ([f"{runbook} noopener noreferrer"] if link else []), links


def narrow_tables(page, url):
    """On a telephone a sensor's value is in sight without scrolling, and its name has room."""
    page.look(400)
    page.go(f"{url}#/sensors")
    ready(page)
    page.until("sensors", "document.querySelectorAll('main tbody tr').length > 3")
    heads = page.evaluate("[...document.querySelectorAll('main thead th')].map((h) => h.innerText.trim())")
    assert heads == ["Sensor", "Now", "State", "Limit", "Past"], heads
    box = page.evaluate("(() => { const r = document.querySelector('main tbody tr'), s = r.closest('.scroll').getBoundingClientRect(); const [name, now] = r.children; "
                        "return {room: s.width, name: name.getBoundingClientRect().width, end: now.getBoundingClientRect().right - s.left}; })()")
    assert box["end"] <= box["room"] and 0.35 * box["room"] <= box["name"] <= 0.5 * box["room"], box
    page.look(1400)
    page.until("all columns again", "document.querySelectorAll('main thead th').length === 7")


def rules_that_fail(page, url):
    """Why a rule has no result stands below its expression, and is no part of it."""
    with before_the_page(page, "{ const real = fetch; window.fetch = async (u, o) => { const got = await real(u, o); if (!String(u).endsWith('api/v1/rules')) return got; "
                               "const a = await got.json(); Object.assign(a.data.groups[0].rules[0], {health: 'err', lastError: 'found duplicate series'}); "
                               "return new Response(JSON.stringify(a)); }; }"):
        page.go(f"{url}#/agent")
        ready(page)
        page.until("the error", "document.querySelector('td .error')?.innerText === 'found duplicate series'")
        assert page.evaluate("(() => { const e = document.querySelector('td .error'), q = e.parentElement.querySelector('code'); "
                             "return !e.closest('a') && e.getBoundingClientRect().top >= q.getBoundingClientRect().bottom - 1; })()")


def destinations_as_they_are(page, url):
    """One that refuses all has an answer to everything, and nothing waits: it is none that "takes all"."""
    said = {"new": ({"done": 0}, "nothing sent yet"), "good": ({"done": 9, "taken": 3}, "takes all"),
            "refuses": ({"done": 0, "taken": 0, "lost": 7}, "takes nothing"), "some": ({"done": 9, "taken": 3, "lost": 7}, "loses some"),
            "waits": ({"done": 9, "queued": 19, "age": 47, "failed": 3}, "away"), "slow": ({"done": 9, "queued": 1, "age": 61}, "away")}
    more = [{"metric": {"q": f"d_{what}", "destination": name}, "value": [0, str(value)]}
            for name, (numbers, _) in said.items() for what, value in ({"queued": 0} | numbers).items()]
    with before_the_page(page, "{ const real = fetch; window.fetch = async (u, o) => { const got = await real(u, o); if (!String(u).endsWith('api/v1/query') "
                               "|| !o.body.includes('d_queued')) return got; const a = await got.json(); "
                               f"a.data.result.push(...{json.dumps(more)}); return new Response(JSON.stringify(a)); }}; }}"):
        page.go(f"{url}#/agent")
        ready(page)
        for name, (_, want) in said.items():
            page.until(f"{name}: {want}", "[...document.querySelectorAll('main tr')].some((r) => { const c = [...r.children].map((x) => x.innerText.trim()); "
                       f"return c[0] === {json.dumps(name)} && c.slice(1).includes({json.dumps(want)}); }})")


def a_query(page, url):
    # What has no number in JSON, and what is no list of values.
    for expression, want in (("1/0", "+Inf"), ("-1/0", "\u2212Inf"), ("0/0", "NaN"), ("page_filler{number='7'} / 0", "+Inf"),
                             ("node_load1[1m]", "A range of samples has no graph"), ('"words"', "A text has no graph")):
        page.go(f"{url}#/query/{urllib.request.quote(expression, safe='')}")
        ready(page)
        page.until(f"{expression}: {want}", f"document.querySelector('main')?.innerText.includes({json.dumps(want)})")
    page.go(f"{url}#/query/{urllib.request.quote('page_filler')}")
    ready(page)
    page.until("the answer", "document.querySelector('main').innerText.includes('1000 or more series are too many for a graph')")
    page.go(f"{url}#/query/{urllib.request.quote('page_filler < 30')}")
    page.until("its graph", "document.querySelector('main')?.innerText.includes('The first 20 of 30 series')")
    # Completion: of a metric's name, of a label, of its value; with the keyboard alone.
    page.evaluate("document.querySelector('textarea').focus(); document.querySelector('textarea').select(); true")
    page.call("Input.insertText", text="rate(page_fil")
    page.until("offers", "document.querySelector('#offers li')?.innerText.includes('page_filler')")

    def press(key, code):
        for kind in ("keyDown", "keyUp"):
            page.call("Input.dispatchKeyEvent", type=kind, key=key, code=key, windowsVirtualKeyCode=code)

    press("Tab", 9)
    page.until("the name", "document.querySelector('textarea').value === 'rate(page_filler'")
    page.call("Input.insertText", text="{num")
    page.until("labels", "document.querySelector('#offers li')?.innerText.includes('number')")
    press("ArrowDown", 40)
    press("Enter", 13)
    page.until("the label", "document.querySelector('textarea').value === 'rate(page_filler{number=\"'")
    page.call("Input.insertText", text="4199")
    page.until("values", "document.querySelector('#offers li')?.innerText.includes('4199')")
    press("Tab", 9)
    page.call("Input.insertText", text="}[30s])")
    press("Enter", 13)
    page.until("the rate", "document.querySelector('main tbody')?.innerText.includes('number=\"4199\"')")
    # A mistake is told as it is.
    page.evaluate("document.querySelector('textarea').select(); true")
    page.call("Input.insertText", text="rate(page_filler)")
    press("Enter", 13)
    page.until("the error", "document.querySelector('[role=alert]')?.innerText.includes('expected range vector')")
    page.events.clear()  # the browser tells the console of every answer that is no 200


def costs(page, process, url):
    """CPU of the agent with the page open and without, beyond what it does anyhow; and no request while hidden."""
    page.go(url)
    ready(page)
    page.until("a second round", "document.querySelectorAll('.plot canvas').length > 2")

    def spent(seconds):
        before = cpu_seconds(process.pid)
        time.sleep(seconds)
        return (cpu_seconds(process.pid) - before) / seconds

    seen = spent(5)
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true});"
                  "document.dispatchEvent(new Event('visibilitychange')); true")
    time.sleep(1)
    page.evaluate("1")
    asked = len(page.requests())
    unseen = spent(5)
    page.evaluate("1")
    assert len(page.requests()) == asked, f"hidden, it asked for {page.requests()[asked:]}"
    page.evaluate("delete document.hidden; document.dispatchEvent(new Event('visibilitychange')); true")
    end = time.monotonic() + 20
    while len(page.requests()) == asked:
        assert time.monotonic() < end, "shown again, it asks for nothing"
        time.sleep(0.2)
        page.evaluate("1")
    # CPU time is counted in ticks, and what a round costs differs with what runs beside it.
    for _ in range(2):
        if seen - unseen < 0.05:
            break
        seen = min(seen, spent(5))
    print(f"agent: {100 * seen:.1f} % of a CPU with the page open, {100 * unseen:.1f} % with the page hidden, at 1 s of interval, unoptimized or not")
    assert seen - unseen < 0.05, "the page costs the agent more than 5 % of a CPU"


def no_growth(page, url):
    """Views that are left leave nothing behind: after one round through all of them, three more add no nodes."""
    page.go(url)
    ready(page)

    def through():
        for view in (*VIEWS[1:], ""):
            page.evaluate(f"location.hash = '#/{view}'; true")
            page.until(f"#/{view}", f"document.querySelector('nav [aria-current]').getAttribute('href') === '#/{view}' && "
                       "document.querySelector('main').getAttribute('aria-busy') === 'false'")
        page.call("HeapProfiler.collectGarbage")
        counters = page.call("Memory.getDOMCounters")
        return counters["nodes"], counters["jsEventListeners"], page.call("Runtime.getHeapUsage")["usedSize"]

    through()
    first = through()
    through()
    last = through()
    print(f"after 2 rounds {first[0]} nodes, {first[1]} listeners, {first[2] >> 10} KiB; after 4 {last[0]}, {last[1]}, {last[2] >> 10} KiB")
    assert last[0] < first[0] * 1.3 + 200 and last[1] < first[1] * 1.3 + 50, "nodes or listeners stay behind"
    assert last[2] < first[2] * 1.5 + (2 << 20), "memory stays behind"


def first_paint(page, url):
    times = []
    for _ in range(5):
        page.go(url)
        ready(page)
        times.append(page.evaluate("performance.getEntriesByName('first-contentful-paint')[0]?.startTime ?? 1e9"))
    series = get_json(url + "api/v1/agent")["data"]["series"]
    busy = os.getloadavg()[0] / os.cpu_count()
    print(f"first paint after {min(times):.0f} ms ({', '.join(f'{t:.0f}' for t in times)}) with {series} series, load per CPU {busy:.1f}")
    # On a busy machine the browser waits for a CPU, of which the page knows nothing.
    assert min(times) < (1000 if busy < 1 else 5000), times
    assert series >= 5000, series


def field(page, name, value):
    page.until("an open dialog", f"!!document.querySelector('dialog[open] [name={name}]')")
    page.evaluate(f"document.querySelector('dialog [name={name}]').focus(); true")
    page.evaluate(f"document.querySelector('dialog [name={name}]').select(); true")
    page.call("Input.insertText", text=value)


def button(page, where, text):
    page.until(f"the button {text}", f"[...document.querySelectorAll('{where} button')].some(b => b.innerText === '{text}')")
    page.evaluate(f"[...document.querySelectorAll('{where} button')].find(b => b.innerText === '{text}').click(); true")


def people_at_work(page, url, direct):
    """Acknowledge, evidence, silence, and taking it back: through the page, below a path, with a password."""
    token = {"Authorization": "Basic " + base64.b64encode(b"carla:secret").decode()}

    def alert():
        (found,) = [a for a in json.loads(get(direct + "/api/v1/alerts", token)[2])["data"]["alerts"]]
        return found

    assert get(url, BROWSER)[0] == 401 and get(url + "api/v1/agent")[0] == 401
    page.go(url.replace("://", "://carla:secret@") + "#/alerts")
    ready(page)
    button(page, ".alert", "Acknowledge")
    field(page, "by", "carla")
    field(page, "comment", f"on it {EVIL}")
    button(page, "dialog", "Acknowledge")
    page.until("acknowledged", "document.querySelector('.alert')?.innerText.includes('acknowledged by carla')")
    assert alert()["acknowledgement"]["comment"] == f"on it {EVIL}", alert()
    button(page, ".alert", "Evidence")
    page.until("evidence", "document.querySelector('dialog .evidence')?.innerText.includes('Written down') && "
               "document.querySelector('dialog .evidence').innerText.includes('page_filler')")
    button(page, "dialog", "✕")
    button(page, ".alert", "Silence")
    field(page, "comment", "for now")
    button(page, "dialog", "Silence")
    page.until("silenced", "document.querySelector('.alert')?.innerText.includes('silenced')")
    assert alert()["silencedBy"], alert()
    button(page, ".rows", "End it now")
    page.until("no silence", "!document.querySelector('.alert').innerText.includes('silenced')")
    button(page, ".alert", "Take back")
    page.until("nobody has it", "document.querySelector('.alert').innerText.includes('Acknowledge')")
    assert not alert()["acknowledged"]
    assert page.evaluate("window.hacked") is None and not page.complaints(), page.complaints()
    outside = [r for r in page.requests() if not r.startswith((url, "data:", "about:")) and "carla:secret@" not in r]
    assert not outside, f"not below the prefix: {outside}"


def refusals(page, url):
    """Without users nobody may change anything from a page; it says so in the agent's words."""
    page.go(f"{url}#/alerts")
    ready(page)
    button(page, ".alert", "Acknowledge")
    field(page, "by", "mallory")
    button(page, "dialog", "Acknowledge")
    page.until("the refusal", "document.querySelector('dialog [role=alert]')?.innerText.includes('refused')")
    page.events.clear()


def no_history(page):
    """Without rules there is no history: the page says so, and shows what the scheduler's API has."""
    with vitald(*OFF) as (_, url):
        page.go(url + "/")
        ready(page)
        page.until("the reason", "document.querySelector('main').innerText.includes('This host keeps no history')")
        page.until("CPU all the same", "/\\d %/.test(document.querySelector('.tile .value').innerText)")


began = time.time()
stop = threading.Event()


def keep_writing():
    while not stop.wait(1):
        write_families(time.time() - began + 100)


write_families(100)
writer = threading.Thread(target=keep_writing, daemon=True)
writer.start()
modules, why_not = packages()
if not modules:
    print(f"NOT CHECKED: accessibility by axe-core ({why_not})")
libcrypt = ctypes.CDLL(ctypes.util.find_library("crypt"))
libcrypt.crypt.restype = ctypes.c_char_p
hashed = libcrypt.crypt(b"secret", b"$2b$04$abcdefghijklmnopqrstuu").decode()
(HERE / "web.yaml").write_text(f"basic_auth_users:\n  carla: {hashed}\n")


def timed(what, *arguments):
    start = time.monotonic()
    what(*arguments)
    print(f"-- {what.__name__}: {time.monotonic() - start:.1f} s", flush=True)


with Browser() as page:
    with agent() as (process, url):
        wait_for("the alert", 30, lambda: any(a["state"] == "firing" for a in get_json(url + "/api/v1/alerts")["data"]["alerts"]))
        timed(what_is_sent, url)
        page.look(1400)
        timed(first_paint, page, url + "/")
        timed(what_views_say, page, url + "/")
        timed(all_views, page, url + "/", modules)
        assert not page.complaints(), "\n".join(c[:400] for c in page.complaints()[:5])
        timed(no_growth, page, url + "/")
        timed(costs, page, process, url + "/")
        assert not page.complaints(), "\n".join(c[:400] for c in page.complaints()[:5])
        timed(a_query, page, url + "/")
        timed(refusals, page, url + "/")
        timed(clocks_that_differ, page, url + "/")
        timed(parts_that_fail, page, url + "/")
        timed(destinations_as_they_are, page, url + "/")
        timed(narrow_tables, page, url + "/")
        timed(rules_that_fail, page, url + "/")
        timed(many_events, page, url + "/")
        timed(what_happened, page, url + "/")
        timed(runbooks, page, url + "/")
        assert not page.complaints(), "\n".join(c[:400] for c in page.complaints()[:5])
    timed(no_history, page)
    state = HERE / "state"
    state.mkdir()
    port = free_port()
    direct = f"http://127.0.0.1:{port}"
    process = Process([VITALD, f"--web.listen-address=127.0.0.1:{port}", f"--state.directory={state}", f"--web.config.file={HERE}/web.yaml",
                               f"--collector.textfile.directory={TEXTFILE}", f"--rules.file={HERE}/rules.yaml", "--pipeline.interval=1s",
                               "--no-evidence.last-words", *OFF])
    try:
        token = {"Authorization": "Basic " + base64.b64encode(b"carla:secret").decode()}

        def fires():
            try:
                return b'"state":"firing"' in get(direct + "/api/v1/alerts", token, timeout=5)[2]
            except OSError:
                assert process.alive(), process.output()
                return False

        wait_for("the alert", 30, fires)
        with proxy(direct, "/hosts/web1/") as url:
            page.events.clear()
            timed(people_at_work, page, url, direct)
    except BaseException:
        print(process.output())
        raise
    finally:
        process.stop()
stop.set()
writer.join()
give_back(modules)
print(f"the page works; {time.time() - began:.0f} s")
