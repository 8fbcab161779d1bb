"""grpcio: every kind of call, deadlines, cancellation, statuses. Messages are bytes, so nothing is generated.

    python calls.py HOST:PORT [CA_FILE]
"""

import sys
import threading
import time

import grpc

ECHO = "/weir.origin.v1.Echo/"
HEALTH = "/grpc.health.v1.Health/Check"


def connect(target, ca=None):
    if ca is None:
        return grpc.insecure_channel(target)
    with open(ca, "rb") as file:
        return grpc.secure_channel(target, grpc.ssl_channel_credentials(file.read()))


def failure(call):
    """How a call fails, and how long that took."""
    start = time.monotonic()
    try:
        call()
    except grpc.RpcError as error:
        return error.code(), error.details(), time.monotonic() - start
    raise AssertionError("the call succeeded")


def unary(channel):
    call = channel.unary_unary(ECHO + "Unary")
    answer, state = call.with_call(b"hello", timeout=10)
    assert answer == b"hello"
    assert ("x-origin-end", "yes") in state.trailing_metadata(), state.trailing_metadata()
    large = b"x" * 1_000_000
    assert call(large, timeout=10) == large
    pending = [call.future(b"%d" % n, timeout=10) for n in range(100)]
    assert [one.result() for one in pending] == [b"%d" % n for n in range(100)]


def streams(channel):
    down = channel.unary_stream(ECHO + "ServerStream")
    assert list(down(b"a", timeout=10, metadata=[("x-origin-count", "20")])) == [b"a"] * 20
    up = channel.stream_unary(ECHO + "ClientStream")
    assert up((b"xy" for _ in range(1000)), timeout=10) == b"1000 messages, 2000 bytes"
    # In turn: each message waits for the answer to the one before.
    answered = threading.Semaphore(1)

    def messages():
        for n in range(10):
            answered.acquire()
            yield b"%d" % n

    both = channel.stream_stream(ECHO + "Bidi")
    seen = []
    for message in both(messages(), timeout=10):
        seen.append(message)
        answered.release()
    assert seen == [b"%d" % n for n in range(10)], seen


def deadlines(channel):
    call = channel.unary_unary(ECHO + "Unary")
    slow = [("x-origin-delay", "5s")]
    code, _, took = failure(lambda: call(b"a", timeout=0.3, metadata=slow))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED and took < 2, (code, took)
    down = channel.unary_stream(ECHO + "ServerStream")
    pause = [("x-origin-count", "100"), ("x-origin-interval", "100ms")]
    code, _, took = failure(lambda: list(down(b"a", timeout=0.5, metadata=pause)))
    assert code == grpc.StatusCode.DEADLINE_EXCEEDED and took < 2, (code, took)
    # Messages that would come for ever.
    over = threading.Event()

    def messages():
        while not over.wait(0.05):
            yield b"x"

    up = channel.stream_unary(ECHO + "ClientStream")
    both = channel.stream_stream(ECHO + "Bidi")
    for call in (lambda: up(messages(), timeout=0.5), lambda: list(both(messages(), timeout=0.5))):
        code, _, took = failure(call)
        assert code == grpc.StatusCode.DEADLINE_EXCEEDED and took < 2, (code, took)
    over.set()


def cancellation(channel):
    down = channel.unary_stream(ECHO + "ServerStream")
    call = down(b"a", timeout=10, metadata=[("x-origin-count", "1000"), ("x-origin-interval", "20ms")])
    assert next(call) == b"a"
    call.cancel()
    code, _, _ = failure(lambda: list(call))
    assert code == grpc.StatusCode.CANCELLED, code


def statuses(channel):
    call = channel.unary_unary(ECHO + "Unary")
    asked = [("x-origin-status", "9"), ("x-origin-message", "not now")]
    assert failure(lambda: call(b"a", timeout=10, metadata=asked))[:2] == (grpc.StatusCode.FAILED_PRECONDITION, "not now")
    # Over HTTP/2 a status of HTTP becomes one of gRPC (its table "HTTP to gRPC status code mapping").
    code, _, _ = failure(lambda: call(b"a", timeout=10, metadata=[("x-origin-http-status", "503")]))
    assert code == grpc.StatusCode.UNAVAILABLE, code
    missing = channel.unary_unary(ECHO + "Missing")
    assert failure(lambda: missing(b"", timeout=10))[0] == grpc.StatusCode.UNIMPLEMENTED
    assert channel.unary_unary(HEALTH)(b"", timeout=10) == b"\x08\x01"


def main():
    with connect(*sys.argv[1:]) as channel:
        for check in (unary, streams, deadlines, cancellation, statuses, unary):
            check(channel)
    print("ok")


main()
