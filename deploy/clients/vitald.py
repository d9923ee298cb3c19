# SPDX-License-Identifier: Apache-2.0
"""Telemetry of hosts that run vitald, for schedulers, with Python's standard library alone:

    telemetry = VitaldTelemetry({provider_uuid: "http://compute-001:9100", ...})
    telemetry.get_utilization(provider_uuid)          # {"cpu": 12.5, "memory": 61.0, "power": 310.0, ...}
    best = max(hosts, key=telemetry.weight)

The uuid of a host and where it is: GET /api/v1/registration of its vitald (`registration(url)`).
"""

import base64
import http.server
import json
import threading
import urllib.error
import urllib.parse
import urllib.request


class TelemetryError(RuntimeError):
    """A host did not answer, or refused; the text says which and why."""


def _call(url, method="GET", body=None, timeout=5.0, access=None):
    headers = {"Content-Type": "application/json"}
    user, password, context = access or (None, None, None)
    if user is not None:
        headers["Authorization"] = "Basic " + base64.b64encode(f"{user}:{password or ''}".encode()).decode()
    request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode(), headers=headers)
    try:
        with urllib.request.urlopen(request, timeout=timeout, context=context) as answer:
            return json.loads(answer.read())["data"]
    except urllib.error.HTTPError as error:
        text = error.read(4096).decode(errors="replace")
        try:
            text = json.loads(text)["error"]
        except (ValueError, KeyError, TypeError):
            pass
        raise TelemetryError(f"{url}: {error.code}: {text.strip()}") from error
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise TelemetryError(f"{url}: {error}") from error


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
        self._server, self._handlers, self._registered = None, {}, []
        self._lock = threading.Lock()

    def query_metrics(self, provider_uuids, metric_names, time_range=None):
        """{uuid: {metric: value}}: of each metric the sum over its series, now or the mean over `time_range` (two
        datetimes). A metric that a host does not have is left out, and so is a host that is not known here."""
        if time_range and time_range[1] <= time_range[0]:
            raise ValueError("time_range: its end is not after its begin")
        out = {}
        for uuid in provider_uuids:
            if uuid not in self.hosts:
                continue
            parameters = [("metric", name) for name in metric_names]
            if time_range:
                parameters += [("start", f"{time_range[0].timestamp():.3f}"), ("end", f"{time_range[1].timestamp():.3f}")]
            url = f"{self.hosts[uuid]}/api/v1/query_metrics?{urllib.parse.urlencode(parameters)}"
            out[uuid] = _call(url, timeout=self.timeout, access=self.access)["metrics"] if metric_names else {}
        return out

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
        every host. Returns an id. A host goes on telling after its restart; close() ends it."""
        with self._lock:
            if not self._server:
                self._listen()
            number = str(len(self._handlers) + 1)
            self._handlers[number] = handler
        base = self._url or "http://{}:{}".format(*self._server.server_address)
        for uuid, url in self.hosts.items():
            made = _call(f"{url}/api/v1/callbacks", "POST",
                         {"event_type": event_type, "url": f"{base}/{number}/{urllib.parse.quote(uuid, safe='')}"}, self.timeout, self.access)
            self._registered.append((url, made["id"]))
        return number

    def close(self):
        """No host calls back any more; raises for those that cannot be told so."""
        failed = []
        for url, number in self._registered:
            try:
                _call(f"{url}/api/v1/callbacks/{number}", "DELETE", timeout=self.timeout, access=self.access)
            except TelemetryError as error:
                failed.append(str(error))
        self._registered = []
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
                if len(parts) == 3 and parts[1] in handlers:
                    try:
                        handlers[parts[1]](urllib.parse.unquote(parts[2]), json.loads(body))
                        status = 204
                    except Exception as error:  # noqa: BLE001: told to the host, which tries again
                        self.log_error("callback: %s", error)
                        status = 500
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, format, *args):  # noqa: A002
                pass

        self._server = http.server.ThreadingHTTPServer(self._address, Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
