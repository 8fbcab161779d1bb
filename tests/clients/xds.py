"""grpcio finds a service by xDS: calls are spread over as many endpoints as the control plane says, and follow it.

    python xds.py CONTROL_HOST:PORT SERVICE COUNT...
"""

import json
import os
import sys
import time

control, service, *counts = sys.argv[1:]
os.environ["GRPC_XDS_BOOTSTRAP_CONFIG"] = json.dumps({
    "xds_servers": [{
        "server_uri": control,
        "channel_creds": [{"type": "insecure"}],
        "server_features": ["xds_v3"],
    }],
    "node": {"id": "grpc-1"},
})

import grpc  # noqa: E402  (it reads the environment when it is loaded)

channel = grpc.insecure_channel("xds:///" + service)
call = channel.unary_unary("/weir.origin.v1.Echo/Unary")


def who():
    """The endpoint that answers a call."""
    _, state = call.with_call(b"hello", timeout=15, wait_for_ready=True)
    return dict(state.initial_metadata())["x-origin-name"]


for count in map(int, counts):
    deadline = time.monotonic() + 15
    while len(seen := {who() for _ in range(30)}) != count:
        assert time.monotonic() < deadline, (count, seen)
    print(count, "answer", flush=True)
print("ok")
