"""Requests that are wrong in HTTP/2, or that would become something else when written as HTTP/1.1.

Each case goes over a connection of its own, with its name in the path (`/case/NAME`), so that whoever
looks at the origin can tell what became of it. `/smuggled` stands where a request would have been smuggled.
What a proxy may do with a case:

    refused    answer 4xx, or reset the stream, or close; nothing reaches the origin
    cut        refuse it; the origin may have seen its beginning by then, but never its end
    safe       refuse it, or forward exactly one well-formed request
    good       forward it; the case shows that the script itself does no harm
"""

import time

from hyperframe.frame import ContinuationFrame, DataFrame, HeadersFrame

from peer import Peer, integer, request

EVIL = b"GET /smuggled HTTP/1.1\r\nHost: a.example\r\n\r\n"
PATIENCE = 3


class Case:
    """Fields, the body's frames, trailers; and what may become of them."""

    def __init__(self, name, verdict, fields, data=(), trailers=None, ends=True, send=None):
        self.name = name
        self.verdict = verdict
        self.fields = fields
        self.data = data
        self.trailers = trailers
        self.ends = ends
        # How the trailers are sent, where it is not in one frame.
        self.send = send

    def run(self, target):
        """Sends it, and says in a word or two what came back."""
        peer = Peer(target)
        plain = not self.data and self.trailers is None
        stream = peer.open(self.fields, end=plain and self.ends)
        for at, data in enumerate(self.data):
            frame = DataFrame(stream, data=data)
            if self.trailers is None and self.ends and at == len(self.data) - 1:
                frame.flags.add("END_STREAM")
            peer.send(frame)
        if self.send:
            self.send(peer, stream, peer.encode(self.trailers))
        elif self.trailers is not None:
            frame = HeadersFrame(stream, data=peer.encode(self.trailers))
            frame.flags.add("END_HEADERS")
            if self.ends:
                frame.flags.add("END_STREAM")
            peer.send(frame)
        answered = lambda: stream in peer.statuses or stream in peer.resets or peer.over
        peer.pump(PATIENCE, until=answered)
        # A reset or GOAWAY may follow an answer at once.
        peer.pump(0.02, until=lambda: peer.over)
        peer.close()
        if stream in peer.statuses:
            return peer.statuses[stream]
        if stream in peer.resets:
            return f"reset {peer.resets[stream]}"
        if peer.goaway:
            return f"goaway {peer.goaway}"
        return "closed" if peer.closed else "silence"


def _in_two_writes(peer, stream, block):
    """One frame, of which a part comes later."""
    head = len(block).to_bytes(3, "big") + b"\x01\x05" + stream.to_bytes(4, "big")
    for part in (head + block[:3], block[3:]):
        peer.out += part
        peer.flush(1)
        time.sleep(0.05)


def _in_two_frames(peer, stream, block):
    """HEADERS and CONTINUATION."""
    first, last = HeadersFrame(stream, data=block[:3]), ContinuationFrame(stream, data=block[3:])
    first.flags.add("END_STREAM")
    last.flags.add("END_HEADERS")
    peer.send(first, last)


def _by_index(peer, stream, block):
    """The newest entry of the dynamic table, which is what a request before had as its path."""
    path = b"/case/trailers-pseudo-entry"
    pseudo = peer.encode([field for field in request(b"") if field[0] != b":path"])
    # A literal with incremental indexing (RFC 7541, section 6.2.1), its name the fourth of the static table.
    peer.open(None, block=pseudo + b"\x44" + integer(len(path)) + path)
    frame = HeadersFrame(stream, data=b"\xbe")
    frame.flags.add("END_HEADERS")
    frame.flags.add("END_STREAM")
    peer.send(frame)


def _get(name, *extra):
    return request(b"/case/" + name.encode(), extra=extra)


def _post(name, *extra):
    return request(b"/case/" + name.encode(), method=b"POST", extra=extra)


def _pseudo(name, **changes):
    """An ordinary request with pseudo-fields changed, or left out where the change is None."""
    fields = {"method": b"GET", "scheme": b"http", "authority": b"a.example", "path": b"/case/" + name.encode()}
    fields.update(changes)
    return [(b":" + key.encode(), value) for key, value in fields.items() if value is not None]


def framing():
    """Content-Length against what DATA says, and codings."""
    ten = (b"0123456789",)
    yield Case("good-get", "good", _get("good-get"))
    yield Case("good-post", "good", _post("good-post", (b"content-length", b"10")), ten)
    yield Case("good-unsized", "good", _post("good-unsized"), ten)
    yield Case("body-is-a-request", "good", _post("body-is-a-request"), (b"0\r\n\r\n" + EVIL,))
    yield Case("length-below", "cut", _post("length-below", (b"content-length", b"5")), (b"01234" + EVIL,))
    yield Case("length-above", "cut", _post("length-above", (b"content-length", b"60")), ten)
    # Whole at its head already; what follows is refused.
    yield Case("length-zero", "safe", _post("length-zero", (b"content-length", b"0")), (EVIL,))
    yield Case("length-without-body", "refused", _post("length-without-body", (b"content-length", b"5")))
    same = ((b"content-length", b"10"),) * 2
    yield Case("length-twice", "safe", _post("length-twice", *same), ten)
    differ = ((b"content-length", b"10"), (b"content-length", b"5"))
    yield Case("lengths-differ", "refused", _post("lengths-differ", *differ), ten)
    for name, value in {
        "length-list": b"10, 10",
        "length-plus": b"+10",
        "length-minus": b"-10",
        "length-hex": b"0xa",
        "length-empty": b"",
        "length-overflow": b"18446744073709551626",
    }.items():
        yield Case(name, "refused", _post(name, (b"content-length", value)), ten)
    for name, coding in {"coding-chunked": b"chunked", "coding-identity": b"identity"}.items():
        fields = _post(name, (b"transfer-encoding", coding))
        yield Case(name, "refused", fields, (b"0\r\n\r\n" + EVIL,))
    for name, alias in {
        "coding-underscore": b"transfer_encoding",
        "coding-space": b"transfer-encoding ",
        "coding-tab": b"transfer-encoding\t",
        "coding-vt": b"transfer-encoding\x0b",
    }.items():
        verdict = "safe" if name == "coding-underscore" else "refused"
        yield Case(name, verdict, _post(name, (alias, b"chunked")), (b"0\r\n\r\n" + EVIL,))


def connection():
    """Fields that belong to a connection of HTTP/1.1 (RFC 9113, section 8.2.2)."""
    for name, field in {
        "connection": (b"connection", b"close"),
        "connection-names": (b"connection", b"host"),
        "keep-alive": (b"keep-alive", b"timeout=5"),
        "proxy-connection": (b"proxy-connection", b"keep-alive"),
        "upgrade": (b"upgrade", b"h2c"),
        "te-gzip": (b"te", b"gzip"),
    }.items():
        yield Case(name, "refused", _get(name, field))
    yield Case("te-trailers", "good", _get("te-trailers", (b"te", b"trailers")))
    yield Case("http2-settings", "safe", _get("http2-settings", (b"http2-settings", b"AAMAAABkAAQCAAAAAAIAAAAA")))


def fields():
    """Names and values that are none (section 8.2.1)."""
    for name, value in {
        "value-crlf": b"a\r\n" + EVIL,
        "value-crlf-field": b"a\r\ntransfer-encoding: chunked",
        "value-lf": b"a\nx-smuggled: 1",
        "value-cr": b"a\rx-smuggled: 1",
        "value-nul": b"a\0b",
    }.items():
        yield Case(name, "refused", _get(name, (b"x-value", value)))
    yield Case("value-space-before", "safe", _get("value-space-before", (b"x-value", b" a")))
    yield Case("value-space-behind", "safe", _get("value-space-behind", (b"x-value", b"a\t")))
    yield Case("value-obs-text", "safe", _get("value-obs-text", (b"x-value", b"\xfc")))
    yield Case("value-del", "safe", _get("value-del", (b"x-value", b"a\x7fb")))
    for name, field in {
        "name-upper": b"X-Upper",
        "name-upper-length": b"Content-Length",
        "name-empty": b"",
        "name-space": b"x name",
        "name-space-behind": b"x-name ",
        "name-colon": b"x-name:",
        "name-colon-value": b"host: b.example\r\nx",
        "name-crlf": b"x\r\nx-smuggled",
        "name-crlf-request": b"x: y\r\n\r\nGET /smuggled HTTP/1.1\r\nx",
        "name-nul": b"x\0y",
        "name-obs-text": b"x-\xfc",
        "name-paren": b"x(y)",
    }.items():
        value = b"0" if name == "name-upper-length" else b"1"
        yield Case(name, "refused", _get(name, (field, value)))


def pseudo():
    """Pseudo-fields that lack, double, come late or hold what no request line can (section 8.3)."""
    for key in ("method", "scheme", "path", "authority"):
        name = f"no-{key}"
        # Without an authority a Host would do; without both there is no host at all.
        yield Case(name, "refused", _pseudo(name, **{key: None}))
        name = f"twice-{key}"
        twice = _pseudo(name)
        again = dict(twice)[b":" + key.encode()] if key != "path" else b"/smuggled"
        yield Case(name, "refused", twice + [(b":" + key.encode(), again)])
    yield Case("late-pseudo", "refused", [*_pseudo("late-pseudo", path=None), (b"x-a", b"b"), (b":path", b"/case/late-pseudo")])
    yield Case("unknown-pseudo", "refused", [*_pseudo("unknown-pseudo"), (b":other", b"1")])
    yield Case("status-pseudo", "refused", [*_pseudo("status-pseudo"), (b":status", b"200")])
    yield Case("protocol-without-connect", "refused", [*_pseudo("protocol-without-connect"), (b":protocol", b"websocket")])
    for name, method in {
        "method-empty": b"",
        "method-space": b"GET /smuggled HTTP/1.1\r\nx:",
        "method-crlf": b"GET\r\n",
        "method-paren": b"G(T",
    }.items():
        yield Case(name, "refused", _pseudo(name, method=method))
    for name, path in {
        "path-empty": b"",
        "path-bare": b"smuggled",
        "path-space": b"/case/path-space /smuggled",
        "path-version": b"/case/path-version HTTP/1.1\r\nHost: b.example\r\n\r\nGET /smuggled",
        "path-lf": b"/case/path-lf\nx",
        "path-nul": b"/case/path-nul\0",
        "path-fragment": b"/case/path-fragment#x",
        "path-star": b"*",
        "path-obs-text": b"/case/path-obs-text\xfc",
    }.items():
        yield Case(name, "safe" if name in ("path-fragment", "path-star") else "refused", _pseudo(name, path=path))
    yield Case("path-absolute", "safe", _pseudo("path-absolute", path=b"http://b.example/case/path-absolute"))
    for name, scheme in {
        "scheme-empty": b"",
        "scheme-crlf": b"http\r\nx",
        "scheme-url": b"http://b.example/smuggled?",
    }.items():
        yield Case(name, "refused", _pseudo(name, scheme=scheme))


def authority():
    """Who is asked: `:authority` against Host (section 8.3.1), and what is no host."""
    for name, value in {
        "authority-crlf": b"a.example\r\nx-smuggled: 1",
        "authority-space": b"a.example b.example",
        "authority-userinfo": b"user@a.example",
        "authority-path": b"a.example/smuggled",
        "authority-port": b"a.example:port",
        "authority-nul": b"a.example\0",
        "authority-empty": b"",
    }.items():
        yield Case(name, "refused", _pseudo(name, authority=value))
    yield Case("host-alone", "good", [*_pseudo("host-alone", authority=None), (b"host", b"a.example")])
    yield Case("host-same", "good", [*_pseudo("host-same"), (b"host", b"a.example")])
    yield Case("host-other", "refused", [*_pseudo("host-other"), (b"host", b"b.example")])
    yield Case("host-twice", "refused", [*_pseudo("host-twice"), (b"host", b"a.example"), (b"host", b"b.example")])
    yield Case("hosts-alone", "refused", [*_pseudo("hosts-alone", authority=None), (b"host", b"a.example"), (b"host", b"b.example")])
    yield Case("host-crlf", "refused", [*_pseudo("host-crlf", authority=None), (b"host", b"a.example\r\nx-smuggled: 1")])


def trailers():
    """Fields behind a body (section 8.1)."""
    ten = (b"0123456789",)
    yield Case("trailers", "good", _post("trailers"), ten, [(b"x-sum", b"1")])
    yield Case("trailers-pseudo", "cut", _post("trailers-pseudo"), ten, [(b":path", b"/smuggled")])
    for how, send in {"segments": _in_two_writes, "frames": _in_two_frames, "indexed": _by_index}.items():
        name = f"trailers-pseudo-{how}"
        yield Case(name, "cut", _post(name), ten, [(b":path", b"/smuggled")], send=send)
    for how, send in {"segments": _in_two_writes, "frames": _in_two_frames}.items():
        name = f"trailers-{how}"
        yield Case(name, "good", _post(name), ten, [(b"x-sum", b"1")], send=send)
    yield Case("trailers-endless", "cut", _post("trailers-endless"), ten, [(b"x-sum", b"1")], ends=False)
    for name, field in {
        "trailers-length": (b"content-length", b"5"),
        "trailers-host": (b"host", b"b.example"),
        "trailers-auth": (b"authorization", b"Basic eDp5"),
    }.items():
        yield Case(name, "safe", _post(name), ten, [field])
    for name, field in {
        "trailers-coding": (b"transfer-encoding", b"chunked"),
        "trailers-connection": (b"connection", b"close"),
        "trailers-upper": (b"X-Sum", b"1"),
        "trailers-crlf": (b"x-sum", b"1\r\n\r\n" + EVIL),
        "trailers-name-crlf": (b"x: y\r\n\r\nGET /smuggled HTTP/1.1\r\nx", b"1"),
    }.items():
        yield Case(name, "cut", _post(name), ten, [field])
    # With the length known ahead the origin has the whole request before the trailers come.
    fields = _post("trailers-sized", (b"content-length", b"10"))
    yield Case("trailers-sized", "safe", fields, ten, [(b"x-sum", b"1")])


def connect():
    """CONNECT, plain (section 8.5) and extended (RFC 8441)."""
    yield Case("connect-path", "refused", _pseudo("connect-path", method=b"CONNECT"))
    yield Case("connect-bare", "refused", _pseudo("connect-bare", method=b"CONNECT", scheme=None, authority=None, path=None))
    fields = _pseudo("connect-crlf", method=b"CONNECT", scheme=None, path=None, authority=b"a.example:80\r\nx: y")
    yield Case("connect-crlf", "refused", fields)
    # A tunnel to where the client says: nobody here asked for a forward proxy.
    fields = _pseudo("connect", method=b"CONNECT", scheme=None, path=None, authority=b"a.example:80")
    yield Case("connect", "refused", fields)
    extended = [*_pseudo("connect-protocol", method=b"CONNECT"), (b":protocol", b"connect-udp")]
    yield Case("connect-protocol", "refused", extended)
    crlf = [*_pseudo("connect-protocol-crlf", method=b"CONNECT"), (b":protocol", b"websocket\r\nx-smuggled: 1")]
    yield Case("connect-protocol-crlf", "refused", crlf)


def cases():
    """All of them."""
    for group in (framing, connection, fields, pseudo, authority, trailers, connect):
        yield from group()


def run(target):
    """Every case in turn, and what came back."""
    return [{"case": case.name, "verdict": case.verdict, "outcome": case.run(target)} for case in cases()]
