"""A good client: small requests one after the other on one connection, and how long each took.

Prints a line for each request: when it was sent (seconds of the monotonic clock) and how long its answer
took (seconds), or `failed`. A connection that ends is made anew. Runs until it is ended.
"""

import sys
import time

from peer import Peer, request

PAUSE = 0.002
PATIENCE = 10


def main(target):
    peer = None
    while True:
        start = time.monotonic()
        try:
            if peer is None or peer.over or peer.next_stream > 2**20:
                peer = Peer(target)
            stream = peer.open(request(b"/good"))
            peer.pump(PATIENCE, until=lambda: stream in peer.ended or stream in peer.resets)
            good = peer.statuses.get(stream) == "200" and stream in peer.ended
        except OSError:
            good = False
        taken = time.monotonic() - start
        if not good:
            peer = None
        print(start, taken if good else "failed", flush=True)
        time.sleep(PAUSE)


if __name__ == "__main__":
    host, _, port = sys.argv[1].rpartition(":")
    main((host, int(port)))
