# SPDX-License-Identifier: Apache-2.0
"""A strict receiver of Prometheus remote write 2.0 (and 1.0), written from the protocol's definition, that answers what
a test wants. Its snappy and protobuf decoders are its own."""

import http.server
import struct
import sys
import threading
import time

STALE = 0x7FF0000000000002
HISTOGRAM = {1: 0, 3: 1, 4: 0, 5: 1, 6: 0, 12: 2, 15: 0, 17: 0}  # fields that vitald uses, and their wire types
V2 = "application/x-protobuf;proto=io.prometheus.write.v2.Request"


class Malformed(Exception):
    pass


def varint(data, at):
    value = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise Malformed("varint")
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def snappy(block):
    """The block format: the length, then literals and copies."""
    size, at = varint(block, 0)
    out = bytearray()
    while at < len(block):
        tag = block[at]
        at += 1
        kind = tag & 3
        if kind == 0:
            length = (tag >> 2) + 1
            if length > 60:
                more = length - 60
                length = int.from_bytes(block[at:at + more], "little") + 1
                at += more
            if at + length > len(block):
                raise Malformed("a literal beyond the end")
            out += block[at:at + length]
            at += length
            continue
        if kind == 1:
            length, offset = ((tag >> 2) & 7) + 4, (tag >> 5) << 8 | block[at]
            at += 1
        elif kind == 2:
            length, offset = (tag >> 2) + 1, int.from_bytes(block[at:at + 2], "little")
            at += 2
        else:
            length, offset = (tag >> 2) + 1, int.from_bytes(block[at:at + 4], "little")
            at += 4
        if offset == 0 or offset > len(out):
            raise Malformed("a copy from before the beginning")
        start = len(out) - offset
        if offset >= length:
            out += out[start:start + length]
        else:
            for i in range(length):
                out.append(out[start + i])
    if len(out) != size:
        raise Malformed(f"{len(out)} bytes, {size} were promised")
    return bytes(out)


def fields(data):
    """(number, wire type, value) of each field of a message."""
    at = 0
    while at < len(data):
        tag, at = varint(data, at)
        number, wire = tag >> 3, tag & 7
        if wire == 0:
            value, at = varint(data, at)
        elif wire == 1:
            if at + 8 > len(data):
                raise Malformed("fixed64 beyond the end")
            value, at = struct.unpack_from("<Q", data, at)[0], at + 8
        elif wire == 2:
            size, at = varint(data, at)
            if at + size > len(data):
                raise Malformed("bytes beyond the end")
            value, at = data[at:at + size], at + size
        else:
            raise Malformed(f"wire type {wire}")
        yield number, wire, value


def check(condition, what):
    if not condition:
        raise Malformed(what)


def check_labels(labels):
    names = [name for name, _ in labels]
    check(names == sorted(names), f"labels are not sorted: {names}")
    check(len(set(names)) == len(names), f"a label twice: {names}")
    check(all(name and value for name, value in labels), f"an empty label: {labels}")
    check("__name__" in names, f"no name: {labels}")


def signed(v):
    return (v >> 1) ^ -(v & 1)


def histogram(data, version):
    """((bits of the sum, count, schema, {index: count}), ms, start ms) of a native one; or the stale marker's bits."""
    got, spans = {}, []
    for n, w, v in fields(data):
        if n == 11:
            span = {k: x for k, _, x in fields(v)}
            spans.append((signed(span.get(1, 0)), span[2]))
            continue
        check(n not in got, f"field {n} of Histogram twice")
        check(HISTOGRAM.get(n) == w and (n != 17 or version == 2), f"field {n} of Histogram")
        got[n] = v
    if got[3] == STALE:
        check(set(got) == {3, 15}, "a stale marker and more")
        return STALE, got[15], 0
    check(got[5] > 0 and got.get(6, 0) == 0, "zero bucket")
    deltas, at = [], 0
    while at < len(got.get(12, b"")):
        delta, at = varint(got[12], at)
        deltas.append(signed(delta))
    buckets, index, count = {}, 0, 0
    for n, (offset, length) in enumerate(spans):
        check(n == 0 or offset >= 0, "spans overlap")
        index = offset if n == 0 else index + offset
        for _ in range(length):
            count += deltas.pop(0)
            check(count >= 0, "a negative bucket")
            if count:
                buckets[index] = count
            index += 1
    check(not deltas, "more deltas than buckets")
    check(sum(buckets.values()) == got.get(1, 0), "the count is not that of the buckets")
    return (got[3], got.get(1, 0), signed(got[4]), buckets), got[15], got.get(17, 0)


def exemplar(data, symbol=None):
    """(labels, value, ms) of one of version 2, or without `symbol` of version 1."""
    labels, value, ms = [], None, None
    for n, w, v in fields(data):
        if n == 1 and symbol:
            check(w == 2 and not labels, "labels_refs are not packed")
            refs, at = [], 0
            while at < len(v):
                ref, at = varint(v, at)
                refs.append(symbol(ref))
            check(len(refs) % 2 == 0, "half a label")
            labels = list(zip(refs[::2], refs[1::2]))
        elif n == 1:
            label = {k: x.decode() for k, _, x in fields(v)}
            labels.append((label[1], label.get(2, "")))
        elif n == 2:
            check(w == 1, "type of an exemplar's value")
            value = struct.unpack("<d", struct.pack("<Q", v))[0]
        elif n == 3:
            check(w == 0, "type of an exemplar's time")
            ms = v
        else:
            raise Malformed(f"field {n} of Exemplar")
    check(value is not None and ms, "an exemplar without value or time")
    check(sum(len(n) + len(v) for n, v in labels) <= 128 and all(n for n, _ in labels), f"labels of an exemplar: {labels}")
    return tuple(labels), value, ms


def parse2(data):
    """[(labels, bits, ms, start ms, type, help, exemplars)], everything that the definition demands is checked. `bits` of a
    histogram are (bits of the sum, count, schema, {index: count})."""
    symbols, series = [], []
    for number, wire, value in fields(data):
        if number == 4:
            check(wire == 2, "symbols are text")
            symbols.append(value.decode("utf-8"))
        elif number == 5:
            series.append(value)
        else:
            raise Malformed(f"field {number} of Request")
    check(symbols and symbols[0] == "", "the first symbol is not empty")
    check(len(set(symbols)) == len(symbols), "a symbol twice")
    out, used = [], {0}

    def symbol(ref):
        check(ref < len(symbols), f"symbol {ref} of {len(symbols)}")
        used.add(ref)
        return symbols[ref]

    for message in series:
        labels, samples, kind, help_text, exemplars = None, [], 0, "", []
        for number, wire, value in fields(message):
            check(wire == 2, f"field {number} of TimeSeries")
            if number == 1:
                check(labels is None, "labels_refs are not packed")
                refs, at = [], 0
                while at < len(value):
                    ref, at = varint(value, at)
                    refs.append(symbol(ref))
                check(len(refs) % 2 == 0, "half a label")
                labels = list(zip(refs[::2], refs[1::2]))
            elif number == 2:
                sample = {n: (w, v) for n, w, v in fields(value)}
                check(set(sample) <= {1, 2, 3}, f"fields {set(sample)} of Sample")
                check(all(sample[n][0] == w for n, w in ((1, 1), (2, 0), (3, 0)) if n in sample), "types of Sample")
                get = lambda n: sample.get(n, (0, 0))[1]  # noqa: E731
                samples.append((get(1), get(2), get(3)))
            elif number == 3:
                samples.append(histogram(value, version=2))
            elif number == 4:
                exemplars.append(exemplar(value, symbol))
            elif number == 5:
                for n, w, v in fields(value):
                    check(w == 0 and n in (1, 3, 4), f"field {n} of Metadata")
                    if n == 1:
                        kind = v
                    elif n == 3:
                        help_text = symbol(v)
                    else:
                        symbol(v)
            else:
                raise Malformed(f"field {number} of TimeSeries")
        check(labels, "no labels")
        check_labels(labels)
        check(len(samples) == 1, f"{len(samples)} samples of {labels}")
        bits, ms, start = samples[0]
        check(start <= ms, f"begins after its time: {labels}")
        times = [at for _, _, at in exemplars]
        check(times == sorted(set(times)) and (not times or times[0] > 0), f"times of exemplars: {times}")
        check(not exemplars or any(n == "le" for n, _ in labels) or isinstance(bits, tuple), f"exemplars of {labels}")
        out.append((tuple(labels), bits, ms, start, kind, help_text, exemplars))
    check(used == set(range(len(symbols))), "symbols that nobody uses")
    return out


def parse1(data):
    """The same of a WriteRequest of version 1, and {family: (type, help)}."""
    out, metadata = [], {}
    for number, _, message in fields(data):
        if number == 1:
            labels, samples, exemplars = [], [], []
            for n, _, value in fields(message):
                if n == 1:
                    label = {k: v.decode() for k, _, v in fields(value)}
                    labels.append((label[1], label[2]))
                elif n == 2:
                    sample = {k: v for k, _, v in fields(value)}
                    samples.append((sample.get(1, 0), sample[2]))
                elif n == 3:
                    exemplars.append(exemplar(value))
                elif n == 4:
                    samples.append(histogram(value, version=1)[:2])
                else:
                    raise Malformed(f"field {n} of TimeSeries")
            check_labels(labels)
            check(len(samples) == 1, "samples")
            out.append((tuple(labels), *samples[0], 0, 0, "", exemplars))
        elif number == 3:
            one = {k: v for k, _, v in fields(message)}
            metadata[one[2].decode()] = (one.get(1, 0), one.get(4, b"").decode())
        else:
            raise Malformed(f"field {number} of WriteRequest")
    return out, metadata


class Receiver:
    """On a port of its own until stop(). `answers` are given in their order, then all is taken. An answer is a status, or
    (status, headers), "drop" for a connection that ends without one, or ("partial", n) for 400 after n samples were taken."""

    def __init__(self, version=2, port=0, most_series=None, check_order=True):
        self.version, self.most_series, self.check_order = version, most_series, check_order
        self.answers, self.problems, self.requests = [], [], []
        self.series = {}  # labels -> [(ms, bits)]
        self.kinds, self.starts, self.metadata = {}, {}, {}
        self.exemplars = {}  # labels -> [(labels, value, ms)]
        self.taken = self.doubles = 0
        self.lock = threading.Lock()
        self.delay = 0
        receiver = self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self):
                body = self.rfile.read(int(self.headers["Content-Length"]))
                status, headers = receiver.take(self.headers, body)
                if status == "drop":
                    self.close_connection = True
                    return
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                text = f"answer {status}".encode() if status >= 300 else b""
                self.send_header("Content-Length", str(len(text)))
                self.end_headers()
                self.wfile.write(text)

            def log_message(self, *_):
                pass

        class Server(http.server.ThreadingHTTPServer):
            allow_reuse_address = True
            daemon_threads = True

            def handle_error(self, *_):  # who was killed hangs up
                if not isinstance(sys.exc_info()[1], ConnectionError):
                    super().handle_error(*_)

        self.server = Server(("127.0.0.1", port), Handler)
        self.port = self.server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/api/v1/write"
        threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    def stop(self):
        self.server.shutdown()
        self.server.server_close()

    def take(self, headers, body):
        if self.delay:
            time.sleep(self.delay)
        with self.lock:
            try:
                return self.take_one(headers, body)
            except (Malformed, UnicodeDecodeError, IndexError, KeyError) as problem:
                self.problems.append(str(problem))
                return 400, {}

    def take_one(self, headers, body):
        two = headers["Content-Type"] == V2
        check(headers["Content-Encoding"] == "snappy", "Content-Encoding")
        check(headers["X-Prometheus-Remote-Write-Version"] == ("2.0.0" if two else "0.1.0"), "version")
        check(headers["User-Agent"].startswith("vitald/"), "User-Agent")
        self.requests.append((2 if two else 1, headers.get("Authorization")))
        answer = self.answers.pop(0) if self.answers else 204
        status, more = answer if isinstance(answer, tuple) else (answer, {})
        if status == "drop":
            return status, {}
        if two and self.version == 1:
            return 415, {}
        check(two or headers["Content-Type"] == "application/x-protobuf", "Content-Type")
        data = snappy(body)
        if two:
            got = parse2(data)
        else:
            got, metadata = parse1(data)
            self.metadata.update(metadata)
        if self.most_series and len(got) > self.most_series:
            return 413, {}
        if status == "partial":
            got = got[:more]
        elif status != 204:
            return status, more
        for labels, bits, ms, start, kind, _, exemplars in got:
            for one in exemplars:
                last = self.exemplars.setdefault(labels, [])
                check(not self.check_order or not last or one[2] > last[-1][2] or one == last[-1], f"exemplars out of order: {labels}")
                last.append(one)
            times = self.series.setdefault(labels, [])
            if times and ms == times[-1][0] and bits == times[-1][1]:
                self.doubles += 1
                continue
            if self.check_order:
                check(not times or ms > times[-1][0], f"out of order: {labels} {ms} after {times[-1:]}")
            times.append((ms, bits))
            self.kinds[labels], self.starts[labels] = kind, start
            self.taken += 1
        status = 400 if status == "partial" else 204
        if not two:
            return status, {}
        native = sum(isinstance(bits, tuple) for _, bits, *_ in got)
        return status, {"X-Prometheus-Remote-Write-Samples-Written": str(len(got) - native),
                     "X-Prometheus-Remote-Write-Histograms-Written": str(native),
                     "X-Prometheus-Remote-Write-Exemplars-Written": str(sum(len(g[6]) for g in got))}

    def histograms(self):
        """{(name, labels): (ms, sum, count, schema, {index: count})} of the native ones that have not ended."""
        out = {}
        with self.lock:
            for labels, times in self.series.items():
                ms, bits = times[-1]
                if not isinstance(bits, tuple):
                    continue
                rest = tuple((n, v) for n, v in labels if n != "__name__")
                total = struct.unpack("<d", struct.pack("<Q", bits[0]))[0]
                out[(dict(labels)["__name__"], rest)] = (ms, total, *bits[1:])
        return out

    def latest(self):
        """{(name, labels): (ms, value)} of the series that have not ended."""
        out = {}
        with self.lock:
            for labels, times in self.series.items():
                ms, bits = times[-1]
                if bits == STALE or isinstance(bits, tuple):
                    continue
                rest = tuple((n, v) for n, v in labels if n != "__name__")
                out[(dict(labels)["__name__"], rest)] = (ms, struct.unpack("<d", struct.pack("<Q", bits))[0])
        return out
