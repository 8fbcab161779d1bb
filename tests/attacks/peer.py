"""One HTTP/2 connection in clear that may be as rude as it likes.

Nothing is checked on the way out. What comes back is parsed and counted. Reading and writing go on
together, so that a server that stops reading never blocks an attack beyond its deadline.
"""

import select
import socket
import time
from collections import Counter

from hpack import Decoder, Encoder
from hpack.exceptions import HPACKError
from hyperframe.exceptions import HyperframeError
from hyperframe.frame import (
    ContinuationFrame,
    DataFrame,
    Frame,
    GoAwayFrame,
    HeadersFrame,
    PingFrame,
    RstStreamFrame,
    SettingsFrame,
)

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"

CODES = (
    "NO_ERROR PROTOCOL_ERROR INTERNAL_ERROR FLOW_CONTROL_ERROR SETTINGS_TIMEOUT STREAM_CLOSED FRAME_SIZE_ERROR "
    "REFUSED_STREAM CANCEL COMPRESSION_ERROR CONNECT_ERROR ENHANCE_YOUR_CALM INADEQUATE_SECURITY HTTP_1_1_REQUIRED"
).split()

# Bytes waiting to be sent beyond which an attack waits for the server to read.
BACKLOG = 256 * 1024


def code_name(code):
    """The name of an error code (RFC 9113, section 7)."""
    return CODES[code] if code < len(CODES) else hex(code)


def integer(value, prefix=7, first=0):
    """An integer behind the bits of `first` (RFC 7541, section 5.1)."""
    most = (1 << prefix) - 1
    if value < most:
        return bytes([first | value])
    octets, value = bytearray([first | most]), value - most
    while value >= 128:
        octets.append(value % 128 | 128)
        value //= 128
    octets.append(value)
    return bytes(octets)


def request(path, method=b"GET", authority=b"a.example", extra=()):
    """The fields of an ordinary request, with more behind them."""
    pseudo = [(b":method", method), (b":scheme", b"http"), (b":authority", authority), (b":path", path)]
    return pseudo + list(extra)


class Peer:
    """A connection and what happened on it."""

    def __init__(self, target, settings=None, reads=True):
        """Connects and says the preface. A peer that does not read leaves all in the socket's buffer."""
        self.began = time.monotonic()
        self.socket = socket.create_connection(target, timeout=5)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.socket.setblocking(False)
        self.reads = reads
        self.encoder = Encoder()
        self.decoder = Decoder()
        self.out = bytearray(PREFACE)
        self.input = bytearray()
        self.block = None
        self.sent = Counter()
        self.received = Counter()
        self.statuses = {}
        self.data = Counter()
        self.resets = {}
        self.ended = set()
        self.goaway = None
        self.goaway_after = None
        self.closed_after = None
        self.next_stream = 1
        # Whether SETTINGS and PING of the server stay unanswered; what is never to be read is not answered anyway.
        self.mute = False
        self.send(SettingsFrame(0, settings=settings or {}))

    # --- sending -----------------------------------------------------------------------------------------

    def send(self, *frames):
        """Queues frames; waits for the server only when much is queued already."""
        for frame in frames:
            self.sent[type(frame).__name__] += 1
            self.out += frame.serialize()
        if len(self.out) > BACKLOG:
            self.pump(0)

    def begin_block(self, fields):
        """Begins a field block on a new stream, behind which only CONTINUATION may come."""
        # The server's SETTINGS are answered before, not in the middle.
        self.pump(2, until=lambda: self.received["SettingsFrame"])
        self.flush(1)
        self.mute = True
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        self.send(HeadersFrame(stream, data=self.encode(fields)))
        return stream

    def raw(self, kind, flags, stream, payload, name="raw"):
        """Queues a frame of which nothing has to be right."""
        self.sent[name] += 1
        head = len(payload).to_bytes(3, "big") + bytes([kind, flags]) + stream.to_bytes(4, "big")
        self.out += head + payload
        if len(self.out) > BACKLOG:
            self.pump(0)

    def open(self, fields, end=True, block=None):
        """Opens a stream with these fields, or with a block as it is; gives its number."""
        stream, self.next_stream = self.next_stream, self.next_stream + 2
        frame = HeadersFrame(stream, data=block if block is not None else self.encode(fields))
        frame.flags.add("END_HEADERS")
        if end:
            frame.flags.add("END_STREAM")
        self.send(frame)
        return stream

    def encode(self, fields):
        """Fields as a block; any byte may stand in them, and nothing is put into the dynamic table."""
        return self.encoder.encode([(name, value, True) for name, value in fields], huffman=False)

    def finish(self, stream, data=b""):
        """The end of a request's body."""
        frame = DataFrame(stream, data=data)
        frame.flags.add("END_STREAM")
        self.send(frame)

    # --- both ways ---------------------------------------------------------------------------------------

    @property
    def closed(self):
        return self.closed_after is not None

    @property
    def over(self):
        """Whether the server has said, or shown, that it has had enough."""
        return self.closed or self.goaway is not None

    @property
    def clogged(self):
        """Whether the server does not take what is queued."""
        return len(self.out) > BACKLOG

    def pump(self, seconds, until=None):
        """Reads and writes for that long; less when the connection ends or `until` comes true."""
        deadline = time.monotonic() + seconds
        while not self.closed and not (until and until()):
            left = max(0, deadline - time.monotonic())
            readable = [self.socket] if self.reads else []
            writable = [self.socket] if self.out else []
            readable, writable, _ = select.select(readable, writable, [], left)
            try:
                if writable:
                    del self.out[: self.socket.send(self.out)]
                if readable:
                    self._read()
            except (BlockingIOError, InterruptedError):
                pass
            except OSError:
                self._ended()
            if time.monotonic() >= deadline:
                return

    def flush(self, seconds):
        """Sends what is queued, if the server takes it."""
        self.pump(seconds, until=lambda: not self.out)

    def close(self):
        self.socket.close()

    def _ended(self):
        self.closed_after = time.monotonic() - self.began

    def _read(self):
        data = self.socket.recv(1 << 18)
        if not data:
            return self._ended()
        self.input += data
        while len(self.input) >= 9:
            try:
                frame, length = Frame.parse_frame_header(memoryview(bytes(self.input[:9])))
                if len(self.input) < 9 + length:
                    return None
                frame.parse_body(memoryview(bytes(self.input[9 : 9 + length])))
            except HyperframeError:
                self.received["unreadable"] += 1
                return self._ended()
            del self.input[: 9 + length]
            self._take(frame)
        return None

    def _take(self, frame):
        self.received[type(frame).__name__] += 1
        if isinstance(frame, GoAwayFrame):
            if self.goaway is None or frame.error_code:
                self.goaway = code_name(frame.error_code)
            if self.goaway_after is None:
                self.goaway_after = time.monotonic() - self.began
        elif isinstance(frame, RstStreamFrame):
            self.resets[frame.stream_id] = code_name(frame.error_code)
        elif isinstance(frame, SettingsFrame) and "ACK" not in frame.flags and not self.mute:
            self.send(SettingsFrame(0, flags=["ACK"]))
        elif isinstance(frame, PingFrame) and "ACK" not in frame.flags and not self.mute:
            self.send(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, DataFrame):
            self.data[frame.stream_id] += len(frame.data)
        elif isinstance(frame, (HeadersFrame, ContinuationFrame)):
            self._head(frame)
        if "END_STREAM" in frame.flags and "ACK" not in frame.flags:
            self.ended.add(frame.stream_id)

    def _head(self, frame):
        self.block = frame.data if isinstance(frame, HeadersFrame) else self.block + frame.data
        if "END_HEADERS" not in frame.flags:
            return
        try:
            fields = self.decoder.decode(self.block, raw=True)
        except HPACKError:
            self.received["undecodable"] += 1
            return
        for name, value in fields:
            if bytes(name) == b":status" and not bytes(value).startswith(b"1"):
                self.statuses[frame.stream_id] = bytes(value).decode()
