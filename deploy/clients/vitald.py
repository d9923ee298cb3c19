# SPDX-License-Identifier: Apache-2.0
"""Telemetry of hosts that run vitald, for schedulers, with Python's standard library alone:

    telemetry = VitaldTelemetry({provider_uuid: "http://compute-001:9100", ...})
    telemetry.get_utilization(provider_uuid)          # {"cpu": 12.5, "memory": 61.0, "power": 310.0, ...}
    best = max(hosts, key=telemetry.weight)

The uuid of a host and where it is: GET /api/v1/registration of its vitald (`registration(url)`).
"""

import base64
import concurrent.futures
import http.client
import http.server
import json
import logging
import threading
import urllib.error
import urllib.parse
import urllib.request

log = logging.getLogger("vitald")
_AT_ONCE = 32  # hosts that are asked at the same time


class TelemetryError(RuntimeError):
    """A host did not answer, or refused; the text says which and why. `failed`, where several were asked:
    {provider uuid: why}."""

    def __init__(self, text, failed=None):
        super().__init__(text)
        self.failed = failed or {}


class Metrics(dict):
    """What query_metrics answers: a dict of the hosts that answered, and beside it `failed`, {provider uuid: why}, of those that
    did not."""

    def __init__(self, *args, failed=None):
        super().__init__(*args)
        self.failed = failed or {}


def _each(keys, work):
    """({key: what work(key) gave}, {key: why it did not}), in the order of `keys`; as many as _AT_ONCE at the same time."""
    keys = list(dict.fromkeys(keys))
    done, failed = {}, {}

    def take(key, give):
        try:
            done[key] = give()
        except TelemetryError as error:
            failed[key] = str(error)

    if len(keys) < 2:
        for key in keys:
            take(key, lambda: work(key))
        return done, failed
    pool = concurrent.futures.ThreadPoolExecutor(min(len(keys), _AT_ONCE), "vitald")
    try:
        for key, future in [(key, pool.submit(work, key)) for key in keys]:
            take(key, future.result)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)  # where somebody interrupts, nobody waits for the rest
    return done, failed


def _call(url, method="GET", body=None, timeout=5.0, access=None):
    headers = {"Content-Type": "application/json"}
    user, password, context = access or (None, None, None)
    if user is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()
    data = None if body is None else json.dumps(body).encode()
    try:
        request = urllib.request.Request(url, method=method, data=data, headers=headers)
        with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
            return json.loads(answer.read())["data"]
    except urllib.error.HTTPError as error:
        raise TelemetryError(f"{url}: {error.code}: {_reason(error)}") from error
    except (OSError, ValueError, KeyError, TypeError, http.client.HTTPException) as error:
        raise TelemetryError(f"{url}: {str(error) or type(error).__name__}") from error


def _reason(refusal):
    """The words of an answer that is an error."""
    try:
        text = refusal.read(4096).decode(errors="replace")
    except (OSError, http.client.HTTPException) as error:
        return f"{refusal.reason} (the rest of the answer: {error})"
    try:
        return str(json.loads(text)["error"]).strip()
    except (ValueError, KeyError, TypeError):  # not vitald's, but of a proxy before it: as it is
        return text.strip()


def registration(url, timeout=5.0, user=None, password=None, ssl_context=None):
    """uuid, name, endpoint_url, type, scrape_interval, enabled, created_at, updated_at of the vitald at `url`."""
    return _call(url.rstrip("/") + "/api/v1/registration", timeout=timeout, access=(user, password, ssl_context))


class VitaldTelemetry:
    """query_metrics, get_utilization and register_callback as schedulers' telemetry plugins have them."""

    def __init__(self, hosts, timeout=5.0, callback_address=("127.0.0.1", 0), callback_url=None, user=None, password=None,
                 ssl_context=None):
        """`hosts`: {provider uuid: base URL}; `user`, `password` and an ssl.SSLContext as their web configuration wants
        them. Callbacks are received at `callback_address`, which the hosts reach as
        `callback_url` (default: that address)."""
        self.hosts = {uuid: url.rstrip("/") for uuid, url in hosts.items()}
        self.timeout, self.access = timeout, (user, password, ssl_context)
        self._address, self._url = callback_address, callback_url
        self._server, self._handlers = None, {}
        self._registered = {}  # (host's URL, number): None
        self._unsure = {}  # (host's URL, callback's): None: of these no answer came, and no word since
        self._numbers, self._given_up = 0, {}
        self._lock = threading.Lock()

    def query_metrics(self, provider_uuids, metric_names, time_range=None):
        """{uuid: {metric: value}}: of each metric the sum over its series, now or the mean over `time_range` (two
        datetimes). A metric that a host does not have is left out, and so is a host that is not known here.
        Hosts are asked at the same time. One that fails is left out, too, and is in the answer's attribute `failed`:
        {uuid: why}. TelemetryError: all failed."""
        if time_range and time_range[1] <= time_range[0]:
            raise ValueError("time_range: its end is not after its begin")
        parameters = [("metric", name) for name in metric_names]
        known = [uuid for uuid in provider_uuids if uuid in self.hosts]
        if not parameters:
            return Metrics({uuid: {} for uuid in known})
        if time_range:
            parameters += [("start", f"{time_range[0].timestamp():.3f}"), ("end", f"{time_range[1].timestamp():.3f}")]
        query = urllib.parse.urlencode(parameters)

        def ask(uuid):
            url = f"{self.hosts[uuid]}/api/v1/query_metrics?{query}"
            data = _call(url, timeout=self.timeout, access=self.access)
            if not isinstance(data, dict) or not isinstance(data.get("metrics"), dict):
                raise TelemetryError(f"{url}: the answer is none of vitald")
            return data["metrics"]

        done, failed = _each(known, ask)
        if failed and not done:
            raise TelemetryError("; ".join(failed.values()), failed)
        return Metrics(done, failed=failed)

    def utilization(self, provider_uuid, **thresholds):
        """What /api/v1/utilization says, whole. `thresholds`: cpu_threshold=90 and the like."""
        query = "?" + urllib.parse.urlencode(thresholds) if thresholds else ""
        return _call(f"{self.hosts[provider_uuid]}/api/v1/utilization{query}", timeout=self.timeout, access=self.access)

    def get_utilization(self, provider_uuid):
        """{"cpu": percent, "memory": percent, "disk": percent, "network": percent, "power": watts, "temperature":
        degrees Celsius, "available_capacity": percent}. What is not known is not in it: no default is made up."""
        data = self.utilization(provider_uuid)
        units = {"cpu": "percent", "memory": "percent", "disk": "percent", "network": "percent", "power": "watts",
                 "temperature": "celsius"}
        out = {name: data[name][unit] for name, unit in units.items() if name in data}
        if "available_capacity" in data:
            out["available_capacity"] = data["available_capacity"]
        return out

    def register_callback(self, event_type, handler):
        """`handler(provider_uuid, event)` is called in a thread for events of that type ("alert_firing", "*", ...) of
        every host. Several types, ["alert_firing", "alert_resolved"]: of these; the hosts tell all, the others are let go here, and
        nobody says that one is misspelt. Returns an id. A host goes on telling after its restart; close() ends it.

        event: {"id", "event_type", "host", "time", "collector", "text", "fields": {name: text}} (docs/schedulers.md).
        What the handler raises is logged by logger "vitald", and the event comes again, later each time; so does one that it takes
        more than five seconds for. Of a host, order holds within one registration only: of two, "fires" may come
        after its "is over". Ask for both in one, or compare fields["transition"].

        TelemetryError: a host is away or refuses. Nothing is registered then: what was is taken back, and where that cannot
        be done, the error says so. A second try makes nothing twice."""
        types = {event_type} if isinstance(event_type, str) else set(event_type)
        if not types:
            raise ValueError("event_type: none is given")
        wanted = next(iter(types)) if len(types) == 1 else "*"

        def handle(uuid, event):
            if "*" in types or event["event_type"] in types:
                handler(uuid, event)

        key = frozenset(types)
        with self._lock:
            if not self._server:
                self._listen()
            # A second try has the same URLs: what a host still has of the first one is the same registration.
            waiting = self._given_up.get(key)
            if waiting:
                number = waiting.pop()
            else:
                self._numbers += 1
                number = str(self._numbers)
            self._handlers[number] = handle
            base = self._url or "http://{}:{}".format(*self._server.server_address)
        try:
            self._register(wanted, f"{base}/{number}")
        except TelemetryError:
            with self._lock:
                del self._handlers[number]
                self._given_up.setdefault(key, []).append(number)
            raise
        return number

    def _register(self, event_type, base):
        """At every host or at none. All are asked before one is changed: what is there already is not ours to take back."""
        def call(uuid, read, path="", method="GET", body=None):
            url = f"{self.hosts[uuid]}/api/v1/callbacks{path}"
            data = _call(url, method, body, self.timeout, self.access)
            try:
                return read(data)
            except (KeyError, TypeError) as error:
                raise TelemetryError(f"{url}: the answer is none of vitald: {error!r}") from error

        def address(uuid):
            return f"{base}/{urllib.parse.quote(uuid, safe='')}"

        def made(uuid):
            return call(uuid, lambda data: data["id"], "", "POST", {"event_type": event_type, "url": address(uuid)})

        there, failed = _each(self.hosts, lambda uuid: call(uuid, lambda data: {callback["id"] for callback in data}))
        new, unsure = {}, {}
        if not failed:
            new, failed = _each(self.hosts, made)
            if not failed:
                self._registered.update(dict.fromkeys((self.hosts[uuid], number) for uuid, number in new.items()))
                return
            # Who gave no answer may have it all the same.
            found, unsure = _each(failed, lambda uuid: self._callbacks_to(self.hosts[uuid], address(uuid)))
            new.update({uuid: number for uuid, numbers in found.items() for number in numbers if number not in there[uuid]})
        new = {uuid: number for uuid, number in new.items() if number not in there[uuid]}
        _, left = _each(new, lambda uuid: self._take_back(self.hosts[uuid], new[uuid]))
        self._registered.update(dict.fromkeys((self.hosts[uuid], new[uuid]) for uuid in left))  # close() tries again
        self._unsure.update(dict.fromkeys((self.hosts[uuid], address(uuid)) for uuid in unsure))
        text = f"no callback, {len(failed)} of {len(self.hosts)} hosts failed: " + "; ".join(failed.values())
        if left:
            text += "; these keep it, it could not be taken back: " + "; ".join(left.values())
        if unsure:
            text += "; these may keep it, they do not say: " + "; ".join(unsure.values())
        raise TelemetryError(text, failed)

    def _callbacks_to(self, host, callback_url):
        """The numbers of those that the host has for this address; it shows no more than scheme, host and port of it."""
        shown = "/".join(callback_url.split("/")[:3])
        try:
            return [c["id"] for c in _call(f"{host}/api/v1/callbacks", timeout=self.timeout, access=self.access)
                    if c["url"] == shown]
        except (KeyError, TypeError) as error:
            raise TelemetryError(f"{host}/api/v1/callbacks: the answer is none of vitald: {error!r}") from error

    def _take_back(self, host, number):
        try:
            _call(f"{host}/api/v1/callbacks/{number}", "DELETE", timeout=self.timeout, access=self.access)
        except TelemetryError as error:
            if getattr(error.__cause__, "code", None) != 404:  # it has none of that number: that is what is wanted
                raise

    def close(self):
        """No host calls back any more; raises for those that cannot be told so."""
        failed = []
        for host, callback_url in self._unsure:  # without threads: at the interpreter's end there are no new ones
            try:
                self._registered.update(dict.fromkeys((host, number) for number in self._callbacks_to(host, callback_url)))
            except TelemetryError as error:
                failed.append(str(error))
        for host, number in self._registered:
            try:
                self._take_back(host, number)
            except TelemetryError as error:
                failed.append(str(error))
        self._registered, self._unsure = {}, {}
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._server = None
        if failed:
            raise TelemetryError("; ".join(failed))

    def weight(self, provider_uuid, utilization_weight=1.0, power_weight=1.0):
        """An example weigher: free capacity, less a point per 10 W and much for heat. None: do not place here, or it does
        not answer."""
        try:
            data = self.utilization(provider_uuid)
        except TelemetryError:
            return None
        if not data["schedulable"] or "available_capacity" not in data:
            return None
        celsius = data.get("temperature", {}).get("celsius", 0)
        heat = -1000 if celsius > 80 else -100 if celsius > 70 else 0
        power = -data.get("power", {}).get("watts", 0) / 1000
        return utilization_weight * data["available_capacity"] + power_weight * (power * 100 + heat)

    def _listen(self):
        handlers = self._handlers

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                parts = urllib.parse.urlparse(self.path).path.split("/")
                body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
                status = 404
                handler = handlers.get(parts[1]) if len(parts) == 3 else None
                if handler:
                    try:
                        handler(urllib.parse.unquote(parts[2]), json.loads(body))
                        status = 204
                    except Exception:  # noqa: BLE001: told to the host, which tries again
                        log.exception("a callback's handler failed, the event will come again: %.1000r", body)
                        status = 500
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format, *args):  # noqa: A002
                log.debug("callbacks: " + format, *args)  # requests, and those that are no HTTP

        self._server = http.server.ThreadingHTTPServer(self._address, Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
