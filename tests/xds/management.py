"""A management server of somebody else's: xDS over ADS as Envoy's published protos have it, on grpcio.

Takes orders as JSON lines on stdin and tells what it hears as JSON lines on stdout. Nothing of it knows Weir.

    management.py [--variant delta|sotw|both] [--port N] [--token T] [--cert F --key F [--client-ca F]]

Orders:
    {"do": "put", "resources": [RESOURCE...]}       adds or replaces; each in protobuf's JSON, with its "@type"
    {"do": "drop", "resources": [[TYPE, NAME]...]}  takes away; TYPE is the last word of the type's URL
    {"do": "raw", "what": "replay|truncated|huge"}  sends something that no server should
    {"do": "close"}                                 ends all streams
    {"do": "many", "clusters": N, "endpoints": M}   puts N clusters of M endpoints each
    {"do": "flap", "cluster": NAME, "times": N, "ports": [PORT...]}
                                                    changes its endpoint N times, each as soon as the last was answered
"""

import argparse
import itertools
import json
import queue
import sys
import threading
import time
from concurrent import futures

import grpc
from google.protobuf import any_pb2, json_format

from envoy.config.cluster.v3 import cluster_pb2
from envoy.config.endpoint.v3 import endpoint_pb2
from envoy.config.listener.v3 import listener_pb2
from envoy.config.route.v3 import route_pb2
from envoy.extensions.filters.http.router.v3 import router_pb2  # noqa: F401, named in "@type"
from envoy.extensions.filters.network.http_connection_manager.v3 import http_connection_manager_pb2  # noqa: F401
from envoy.extensions.transport_sockets.tls.v3 import secret_pb2, tls_pb2  # noqa: F401
from envoy.service.discovery.v3 import discovery_pb2

SERVICE = "envoy.service.discovery.v3.AggregatedDiscoveryService"
PREFIX = "type.googleapis.com/"
# In the order in which they are sent: what is named before who names it.
TYPES = {
    "Cluster": PREFIX + "envoy.config.cluster.v3.Cluster",
    "ClusterLoadAssignment": PREFIX + "envoy.config.endpoint.v3.ClusterLoadAssignment",
    "Secret": PREFIX + "envoy.extensions.transport_sockets.tls.v3.Secret",
    "Listener": PREFIX + "envoy.config.listener.v3.Listener",
    "RouteConfiguration": PREFIX + "envoy.config.route.v3.RouteConfiguration",
}
WILDCARD = {TYPES["Cluster"], TYPES["Listener"]}
MESSAGES = {
    TYPES["Cluster"]: cluster_pb2.Cluster,
    TYPES["ClusterLoadAssignment"]: endpoint_pb2.ClusterLoadAssignment,
    TYPES["Secret"]: secret_pb2.Secret,
    TYPES["Listener"]: listener_pb2.Listener,
    TYPES["RouteConfiguration"]: route_pb2.RouteConfiguration,
}

# Versions of another run of this server are others.
RUN = f"{time.time_ns():x}"
lock = threading.Lock()
nonces = itertools.count(1)
versions = itertools.count(1)
# type -> name -> (version, Any)
state = {url: {} for url in TYPES.values()}
streams = []
answered = threading.Condition()
answers = 0


def tell(**event):
    with lock:
        print(json.dumps(event), flush=True)


def short(url):
    return url.rsplit(".", 1)[-1]


def name_of(any_):
    message = MESSAGES[any_.type_url]()
    any_.Unpack(message)
    return getattr(message, "name", "") or getattr(message, "cluster_name", "")


class Stream:
    """One client: what it asked for, what it was sent."""

    def __init__(self, delta):
        self.delta = delta
        self.queue = queue.Queue()
        self.asked = {}  # type -> names, None for all
        self.sent = {}  # type -> name -> version
        self.pending = {}  # nonce -> type
        self.first = None

    def hear(self, request):
        global answers
        url = request.type_url
        if request.response_nonce:
            refused = request.HasField("error_detail")
            tell(
                event="nack" if refused else "ack",
                type=short(url),
                nonce=request.response_nonce,
                error=request.error_detail.message,
            )
            with answered:
                answers += 1
                answered.notify_all()
        if self.delta:
            self.wish(url, request)
        else:
            self.names(url, request)

    def wish(self, url, request):
        new = url not in self.asked
        added, gone = list(request.resource_names_subscribe), list(request.resource_names_unsubscribe)
        if new:
            self.asked[url] = None if url in WILDCARD and not added else set()
            self.sent[url] = dict(request.initial_resource_versions)
        if self.asked[url] is not None:
            self.asked[url].update(added)
            self.asked[url].difference_update(gone)
        for name in added:
            # Asked for again it is sent again, but for what the client has from before.
            if not new:
                self.sent[url].pop(name, None)
        for name in gone:
            self.sent[url].pop(name, None)
        if new or added or gone:
            known = dict(request.initial_resource_versions)
            tell(event="subscribe", type=short(url), names=added, gone=gone, known=known)

    def names(self, url, request):
        wanted = None if url in WILDCARD else set(request.resource_names)
        if self.asked.get(url, "nothing") != wanted:
            self.asked[url] = wanted
            self.sent.pop(url, None)
            tell(event="subscribe", type=short(url), names=sorted(wanted or []), gone=[], known={})

    def responses(self):
        """What there is to be sent."""
        for url in TYPES.values():
            if url not in self.asked:
                continue
            wanted = self.asked[url]
            with lock:
                there = {n: r for n, r in state[url].items() if wanted is None or n in wanted}
            response = self.changes(url, there) if self.delta else self.whole(url, there)
            if response is not None:
                response.nonce = f"n{next(nonces)}"
                tell(event="sent", type=short(url), nonce=response.nonce)
                yield response.SerializeToString()

    def changes(self, url, there):
        sent = self.sent.setdefault(url, {})
        new = {n: r for n, r in there.items() if sent.get(n) != r[0]}
        gone = [n for n in sent if n not in there]
        if not new and not gone:
            return None
        response = discovery_pb2.DeltaDiscoveryResponse(type_url=url, removed_resources=gone)
        for name, (version, any_) in new.items():
            response.resources.add(name=name, version=version, resource=any_)
        self.sent[url] = {n: r[0] for n, r in there.items()}
        return response

    def whole(self, url, there):
        now = {n: r[0] for n, r in there.items()}
        if self.sent.get(url) == now or (url not in WILDCARD and not now):
            return None
        self.sent[url] = now
        return discovery_pb2.DiscoveryResponse(
            type_url=url, version_info=f"{RUN}-{next(versions)}", resources=[r[1] for r in there.values()]
        )

    def raw(self, what):
        kind = discovery_pb2.DeltaDiscoveryResponse if self.delta else discovery_pb2.DiscoveryResponse
        if what == "replay":
            return self.first
        if what == "truncated":
            return self.first[: len(self.first) - 3]
        response = kind(type_url=TYPES["Cluster"], nonce="huge")
        padding = any_pb2.Any(type_url=TYPES["Cluster"], value=b"x" * (65 << 20))
        if self.delta:
            response.resources.add(name="huge", version="1", resource=padding)
        else:
            response.resources.append(padding)
        return response.SerializeToString()


def serve_stream(delta, token):
    def handler(requests, context):
        if token:
            shown = dict(context.invocation_metadata()).get("authorization", "")
            if shown != f"Bearer {token}":
                tell(event="unauthenticated")
                context.abort(grpc.StatusCode.UNAUTHENTICATED, "no such node")
        stream = Stream(delta)

        def listen():
            try:
                for request in requests:
                    stream.queue.put(("request", request))
            except grpc.RpcError:
                pass
            stream.queue.put(("end", None))

        threading.Thread(target=listen, daemon=True).start()
        with lock:
            streams.append(stream)
        try:
            yield from converse(stream)
        finally:
            with lock:
                streams.remove(stream)
            tell(event="closed")

    return handler


def converse(stream):
    while True:
        order, value = stream.queue.get()
        if order == "end":
            return
        if order == "raw":
            yield stream.raw(value)
            continue
        if order == "request":
            if value.HasField("node"):
                variant = "delta" if stream.delta else "sotw"
                node = value.node
                tell(event="stream", variant=variant, node=node.id, agent=node.user_agent_name)
            stream.hear(value)
        for response in stream.responses():
            if stream.first is None:
                stream.first = response
            yield response


def wake(order="changed", value=None):
    with lock:
        for stream in streams:
            stream.queue.put((order, value))


def put(resources):
    for resource in resources:
        any_ = json_format.ParseDict(resource, any_pb2.Any())
        with lock:
            state[any_.type_url][name_of(any_)] = (f"{RUN}-{next(versions)}", any_)


def assignment(name, ports):
    endpoints = [
        {"endpoint": {"address": {"socketAddress": {"address": "127.0.0.1", "portValue": port}}}} for port in ports
    ]
    url = TYPES["ClusterLoadAssignment"]
    return {"@type": url, "clusterName": name, "endpoints": [{"lbEndpoints": endpoints}]}


def many(clusters, endpoints):
    for at in range(clusters):
        name = f"many-{at}"
        ports = [20000 + (at * endpoints + n) % 40000 for n in range(endpoints)]
        config = {"edsConfig": {"ads": {}, "resourceApiVersion": "V3"}}
        put([{"@type": TYPES["Cluster"], "name": name, "type": "EDS", "edsClusterConfig": config}])
        put([assignment(name, ports)])


def flap(cluster, times, ports):
    micros = []
    for at in range(times):
        with answered:
            before = answers
        began = time.monotonic()
        put([assignment(cluster, [ports[at % len(ports)]])])
        wake()
        with answered:
            answered.wait_for(lambda: answers > before, timeout=30)
        micros.append(int((time.monotonic() - began) * 1e6))
    tell(event="flapped", micros=micros)


def obey(order):
    do = order["do"]
    if do == "put":
        put(order["resources"])
        wake()
    elif do == "drop":
        with lock:
            for kind, name in order["resources"]:
                state[TYPES[kind]].pop(name, None)
        wake()
    elif do == "raw":
        wake("raw", order["what"])
    elif do == "close":
        wake("end")
    elif do == "many":
        many(order["clusters"], order["endpoints"])
        wake()
    elif do == "flap":
        flap(order["cluster"], order["times"], order["ports"])
    tell(event="done", do=do)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--variant", default="both", choices=["delta", "sotw", "both"])
    parser.add_argument("--port", type=int, default=0)
    for name in ["token", "cert", "key", "client-ca"]:
        parser.add_argument(f"--{name}")
    args = parser.parse_args()
    handlers = {}
    for variant, method, request in [
        ("delta", "DeltaAggregatedResources", discovery_pb2.DeltaDiscoveryRequest),
        ("sotw", "StreamAggregatedResources", discovery_pb2.DiscoveryRequest),
    ]:
        if args.variant in (variant, "both"):
            handlers[method] = grpc.stream_stream_rpc_method_handler(
                serve_stream(variant == "delta", args.token),
                request_deserializer=request.FromString,
                response_serializer=lambda bytes_: bytes_,
            )
    options = [("grpc.max_send_message_length", -1), ("grpc.so_reuseport", 0)]
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=32), options=options)
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(SERVICE, handlers),))
    address = f"127.0.0.1:{args.port}"
    if args.cert:
        pair = [(open(args.key, "rb").read(), open(args.cert, "rb").read())]
        roots = open(args.client_ca, "rb").read() if args.client_ca else None
        credentials = grpc.ssl_server_credentials(pair, roots, require_client_auth=roots is not None)
        port = server.add_secure_port(address, credentials)
    else:
        port = server.add_insecure_port(address)
    server.start()
    tell(event="listening", port=port)
    for line in sys.stdin:
        obey(json.loads(line))
    server.stop(None)


main()
