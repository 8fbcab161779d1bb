"""Runs one attack against one address and prints what happened as JSON.

The attack is made on one connection; when that ends before the time does, on the next one. Windows with the
attack and quiet ones take turns, and in both a good client measures what others feel; the server's memory is
watched. The attacker steps back wherever CPU time is short, so that what the good client feels is the server's
doing and not his thirst.
"""

import argparse
import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from pathlib import Path

import bomb
import continuation
import floods
import madeyoureset
import resets
import slow
import smuggle

FAMILIES = (resets, madeyoureset, continuation, bomb, floods, slow)
ATTACKS = {name: attack for family in FAMILIES for name, attack in family.ATTACKS.items()}

# Seconds after an attack that belong to nobody.
AFTERMATH = 0.1

# Good requests beside the attack that tell a 99th percentile, and how many times the rounds are made for them.
ENOUGH = 300
MORE = 3

# Frames after which an attack over one connection has made its point.
FRAMES = 200_000


class Pace:
    """How long an attack over one connection goes on."""

    def __init__(self, seconds):
        self.deadline = time.monotonic() + seconds

    def left(self):
        return max(0.0, self.deadline - time.monotonic())

    def goes_on(self, peer):
        """Until the server ends it, the time is up, or enough was sent; while the server is slow it waits."""
        while peer.clogged and self.left() and not peer.over:
            peer.pump(0.05, until=lambda: not peer.clogged)
        return not peer.over and bool(self.left()) and sum(peer.sent.values()) < FRAMES


class Memory(threading.Thread):
    """Resident memory of processes, watched until it is stopped."""

    def __init__(self, pids):
        super().__init__(daemon=True)
        self.pids = pids
        self.stopped = threading.Event()
        self.before = self.peak = self.now()

    def now(self):
        return sum(self._rss(pid) for pid in self.pids)

    @staticmethod
    def _rss(pid):
        try:
            lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        except OSError:
            return 0
        return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon:"))

    def run(self):
        while not self.stopped.wait(0.02):
            self.peak = max(self.peak, self.now())

    def report(self):
        self.stopped.set()
        self.join()
        return {"beforeKib": self.before, "peakKib": max(self.peak, self.now()), "afterKib": self.now()}


def p99(values):
    """The 99th percentile in milliseconds."""
    values = sorted(values)
    return round(1000 * values[min(len(values) - 1, int(len(values) * 0.99))], 3) if values else None


def good_report(lines, windows):
    """What the good client saw while it was quiet, and while it was not."""
    samples = [line.split() for line in lines if len(line.split()) == 2]
    took = {True: [], False: []}
    failed = 0
    for at, value in samples:
        kind = next((attacked for start, end, attacked in windows if start <= float(at) < end), None)
        if kind is None:
            continue
        if value == "failed":
            failed += kind
        else:
            took[kind].append(float(value))
    return {
        "quiet": len(took[False]),
        "quietP99Ms": p99(took[False]),
        "attacked": len(took[True]),
        "attackedP99Ms": p99(took[True]),
        "failed": failed,
    }


def attack_for(seconds, attack, target):
    """The attack on connection after connection; each ends by itself."""
    deadline = time.monotonic() + seconds
    peers = []
    while time.monotonic() < deadline:
        try:
            peer = attack(target, Pace(deadline - time.monotonic()))
        except OSError:
            # No connection to be had: that is for the good client to judge.
            time.sleep(0.01)
            continue
        # The last words of the server.
        peer.pump(0.2, until=lambda: peer.closed)
        peers.append(peer)
        peer.close()
    return peers


def report(peers):
    """What was done, and how the server took it."""
    sent, statuses, resets_by_server = Counter(), Counter(), Counter()
    for peer in peers:
        sent.update(peer.sent)
        statuses.update(peer.statuses.values())
        resets_by_server.update(peer.resets.values())
    first = peers[0] if peers else None
    ends = [peer for peer in peers if peer.over]
    after = [peer.goaway_after if peer.goaway_after is not None else peer.closed_after for peer in ends]
    return {
        "connections": len(peers),
        "ended": len(ends),
        "goaway": first.goaway if first else None,
        # Of all connections, the one that was let go on longest.
        "endedAfterS": round(max(after), 3) if after else None,
        "sent": dict(sent),
        "sentPerConnection": max((sum(peer.sent.values()) for peer in peers), default=0),
        "statuses": dict(statuses),
        "resets": dict(resets_by_server),
        "streamsLeft": sum(len(_open(peer)) for peer in peers if not peer.closed),
    }


def _open(peer):
    return set(range(1, peer.next_stream, 2)) - peer.resets.keys() - peer.ended


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("attack", nargs="?", help="its name, or `smuggle`")
    parser.add_argument("target", nargs="?", metavar="HOST:PORT", help="a server that speaks HTTP/2 in clear")
    parser.add_argument("--pid", type=int, action="append", default=[], help="a process of the server, for its memory")
    parser.add_argument("--rounds", type=int, default=2, help="how often it is made")
    parser.add_argument("--seconds", type=float, default=2, help="how long it goes on each time")
    parser.add_argument("--calm", type=float, default=1, help="how long the good client is measured before each, and behind the last")
    parser.add_argument("--list", action="store_true", help="name all attacks and what they do")
    args = parser.parse_args()
    if args.list:
        for name, attack in ATTACKS.items():
            print(f"{name:34} {(attack.__doc__ or '').splitlines()[0]}")
        return
    host, _, port = args.target.rpartition(":")
    target = (host, int(port))
    if args.attack == "smuggle":
        print(json.dumps({"attack": "smuggle", "cases": smuggle.run(target)}))
        return
    attack = ATTACKS[args.attack]
    here = Path(__file__).parent
    good = subprocess.Popen([sys.executable, "-B", here / "good.py", args.target], stdout=subprocess.PIPE, text=True)
    # An attacker has a machine of his own. Here he shares that of all others, so he steps back where it is short.
    os.nice(19)
    lines = []
    reading = threading.Thread(target=lambda: lines.extend(good.stdout), daemon=True)
    reading.start()
    windows, peers = [], []
    try:
        # The first requests pay for connections and caches.
        time.sleep(0.3)
        memory = Memory(args.pid)
        while more(lines, windows, args.rounds):
            windows.append(quiet(args.calm))
            if not memory.is_alive():
                memory.start()
            start = time.monotonic()
            peers += attack_for(args.seconds, attack, target)
            windows.append((start, time.monotonic(), True))
        windows.append(quiet(args.calm))
    finally:
        good.terminate()
        good.wait()
    reading.join(5)
    attacked = sum(end - start for start, end, attacked in windows if attacked)
    rounds = sum(attacked for _, _, attacked in windows)
    result = {"attack": args.attack, "rounds": rounds, "seconds": round(attacked, 3), **report(peers)}
    result["memory"] = memory.report()
    result["good"] = good_report(lines, windows)
    print(json.dumps(result))


def more(lines, windows, rounds):
    """Whether another round is made: as many as are asked for, and some more where few good requests came through."""
    attacked = [(start, end) for start, end, attacked in windows if attacked]
    if len(attacked) < rounds:
        return True
    times = [float(line.split()[0]) for line in list(lines) if line.split()]
    seen = sum(start <= at < end for at in times for start, end in attacked)
    return seen < ENOUGH and len(attacked) < MORE * rounds


def quiet(seconds):
    """A window without the attack; what it left behind is not counted to either kind."""
    time.sleep(AFTERMATH)
    start = time.monotonic()
    time.sleep(seconds)
    return start, time.monotonic(), False


if __name__ == "__main__":
    main()
