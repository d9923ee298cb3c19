# SPDX-License-Identifier: Apache-2.0
"""The types of Kubernetes' API as python3-kubernetes has them, and a stand-in for its server: nodes, events and what an
account may do. What a real one would refuse it refuses, with the same status, and remembers why."""

import http.server
import json
import re
import ssl
import sys
import threading

sys.path.append("/usr/lib/python3/dist-packages")  # Debian's modules, where another Python is the first

try:
    from kubernetes.client import models
except ImportError:
    models = None


def type_problems(value, kind, where):
    """What of an object is not as the API's class has it: fields that there are not, values of another type."""
    if value is None:
        return []
    if match := re.fullmatch(r"list\[(.*)\]", kind):
        if not isinstance(value, list):
            return [f"{where}: a list expected"]
        return [p for i, item in enumerate(value) for p in type_problems(item, match[1], f"{where}[{i}]")]
    if match := re.fullmatch(r"dict\(str, (.*)\)", kind):
        return [p for key, item in value.items() for p in type_problems(item, match[1], f"{where}.{key}")]
    if kind in ("str", "int", "bool", "float"):
        types = {"str": str, "int": int, "bool": bool, "float": (int, float)}[kind]
        return [] if isinstance(value, types) else [f"{where}: {value!r} is no {kind}"]
    if kind == "object":
        return [] if isinstance(value, (str, int, dict)) else [f"{where}: {value!r}"]
    if kind == "datetime":
        # metav1.Time: RFC 3339 in whole seconds; with a fraction it would be a MicroTime.
        good = isinstance(value, str) and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", value)
        return [] if good else [f"{where}: {value!r} is no time"]
    if not hasattr(models, kind):
        return [f"{where}: unknown type {kind}"]
    model = getattr(models, kind)
    fields = {name: attribute for attribute, name in model.attribute_map.items()}
    out = []
    for key, item in value.items():
        if key not in fields:
            out.append(f"{where}: the API has no field {key} there")
        else:
            out += type_problems(item, model.openapi_types[fields[key]], f"{where}.{key}")
    return out


def missing(value, kind, where):
    """The fields that a whole object of the class must have: its constructor says so."""
    model = getattr(models, kind)
    try:
        model(**{a: value[name] for a, name in model.attribute_map.items() if name in value})
    except ValueError as error:
        return [f"{where}: {error}"]
    return []


def event_problems(event):
    """As the API server validates an event of core/v1 beyond its types."""
    out = type_problems(event, "CoreV1Event" if hasattr(models, "CoreV1Event") else "V1Event", "event")
    name = event.get("metadata", {}).get("name", "")
    if not re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*", name) or len(name) > 253:
        out.append(f"event: metadata.name {name!r} is no DNS subdomain")
    if event.get("involvedObject", {}).get("namespace", "") not in ("", event["metadata"].get("namespace")):
        out.append("event: involvedObject.namespace is another one than the event's")
    if not event.get("involvedObject", {}).get("kind"):
        out.append("event: involvedObject.kind is missing")
    if event.get("type") not in ("Normal", "Warning"):
        out.append(f"event: type {event.get('type')!r}")
    if len(event.get("message", "").encode()) > 1024 or len(event.get("reason", "")) > 128:
        out.append("event: message or reason is too long")
    if not re.fullmatch(r"[A-Za-z]\w*", event.get("reason", "")):
        out.append(f"event: reason {event.get('reason')!r} is not one word")
    return out


def condition_problems(condition, where):
    out = type_problems(condition, "V1NodeCondition", where) + missing(condition, "V1NodeCondition", where)
    if condition.get("status") not in ("True", "False", "Unknown"):
        out.append(f"{where}: status {condition.get('status')!r}")
    if not re.fullmatch(r"[A-Za-z]([\w,:]*\w)?", condition.get("reason", "")):
        out.append(f"{where}: reason {condition.get('reason')!r} is not one word")
    return out


class ApiServer(http.server.ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, node, certificate=None):
        super().__init__(("127.0.0.1", 0), _Handler)
        self.lock = threading.Lock()
        self.node_name, self.token = node, None
        ready = {"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status",
                 "lastHeartbeatTime": "2026-01-01T00:00:00Z", "lastTransitionTime": "2026-01-01T00:00:00Z"}
        self.node_object = {"apiVersion": "v1", "kind": "Node", "metadata": {"name": node, "uid": "12345"},
                            "status": {"conditions": [ready]}}
        self.rights = {("get", "nodes"), ("patch", "nodes/status"), ("create", "events")}
        self.events, self.refused, self.requests, self.repeated = {}, [], [], 0
        self.down = None          # a status in place of every answer
        self.lose_answers = 0     # so many requests are done, and the answer is lost
        self.patches = []
        self.denied = set()       # types of conditions that somebody's admission webhook does not want
        self.events_down = None   # a status for each event: those may have a store of their own
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            self.socket = context.wrap_socket(self.socket, server_side=True)
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def handle_error(self, *_):
        pass  # a client that does not trust us, or went away

    def conditions(self):
        with self.lock:
            return {c["type"]: dict(c) for c in self.node_object["status"]["conditions"]}

    def event_list(self):
        with self.lock:
            return list(self.events.values())

    def patch_status(self, patch):
        """A strategic merge: conditions are merged by their type, what is not named stays."""
        problems = type_problems({**patch, "status": {k: v for k, v in patch["status"].items() if k != "conditions"}},
                                 "V1Node", "patch")
        conditions = [dict(c) for c in self.node_object["status"]["conditions"]]
        for change in patch["status"].get("conditions", []):
            at = next((c for c in conditions if c["type"] == change["type"]), None)
            if change.get("$patch") == "delete":
                conditions = [c for c in conditions if c is not at]
                continue
            if at is None:
                conditions.append(at := {})
            at.update(change)
        for c in conditions:
            problems += condition_problems(c, f"condition {c.get('type')}")
        if not problems:
            self.node_object["status"]["conditions"] = conditions
        return problems


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def reply(self, status, value):
        if self.server.lose_answers > 0 and status < 300 and self.command != "GET":
            self.server.lose_answers -= 1
            self.close_connection = True
            return
        body = json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def status(self, code, message):
        if code in (400, 404, 405, 415, 422):
            self.server.refused.append(f"{self.command} {self.path}: {message}")
        self.reply(code, {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": code, "message": message})

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        server = self.server
        with server.lock:
            server.requests.append(f"{self.command} {self.path}")
            if server.down:
                return self.status(server.down, "not now")
            if server.token is not None and self.headers["Authorization"] != f"Bearer {server.token}":
                return self.status(401, "Unauthorized")
            wanted = {"GET": None, "POST": "application/json", "PATCH": "application/strategic-merge-patch+json"}
            if self.command not in wanted:
                return self.status(405, "the server does not allow this method on the requested resource")
            if wanted[self.command] and self.headers["Content-Type"] != wanted[self.command]:
                return self.status(415, f"Content-Type {self.headers['Content-Type']}")
            try:
                value = json.loads(body) if body else None
            except ValueError as error:
                return self.status(400, str(error))
            return self.route(value)

    do_GET = do_POST = do_PATCH = do_HEAD = do_PUT = answer

    def may(self, verb, resource):
        if (verb, resource) in self.server.rights:
            return True
        self.status(403, f'User "system:serviceaccount:vitald:vitald" cannot {verb} resource "{resource}"')
        return False

    def route(self, value):
        server, node = self.server, f"/api/v1/nodes/{self.server.node_name}"
        if self.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews" and self.command == "POST":
            problems = type_problems(value, "V1SelfSubjectAccessReview", "review")
            if problems:
                return self.status(400, "; ".join(problems))
            asked = value["spec"]["resourceAttributes"]
            resource = "/".join(filter(None, (asked["resource"], asked.get("subresource"))))
            return self.reply(201, {**value, "status": {"allowed": (asked["verb"], resource) in server.rights}})
        if self.path == node and self.command == "GET":
            return self.may("get", "nodes") and self.reply(200, server.node_object)
        if self.path == node + "/status" and self.command == "PATCH":
            if not self.may("patch", "nodes/status"):
                return None
            denied = sorted(server.denied & {c["type"] for c in value["status"]["conditions"]})
            if denied:
                return self.reply(422, {"apiVersion": "v1", "kind": "Status", "status": "Failure", "code": 422,
                                        "message": f"admission webhook denied the request: {denied}"})
            server.patches.append(value)
            problems = server.patch_status(value)
            return self.status(422, "; ".join(problems)) if problems else self.reply(200, server.node_object)
        if self.path == "/api/v1/namespaces/default/events" and self.command == "POST":
            if not self.may("create", "events"):
                return None
            if server.events_down:
                return self.status(server.events_down, "not now")
            problems = event_problems(value)
            if problems:
                return self.status(422, "; ".join(problems))
            if value["metadata"]["name"] in server.events:
                server.repeated += 1
                return self.status(409, f'events "{value["metadata"]["name"]}" already exists')
            server.events[value["metadata"]["name"]] = value
            return self.reply(201, value)
        return self.status(404, "the server could not find the requested resource")

    def log_message(self, *_):
        pass
