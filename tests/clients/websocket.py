"""A WebSocket client: messages of all sizes, there and back.

    python websocket.py ws://HOST:PORT/ws
    python websocket.py wss://HOST:PORT/ws CA_FILE
"""

import asyncio
import ssl
import sys

from websockets.asyncio.client import connect


async def main(url, ca=None):
    tls = {"ssl": ssl.create_default_context(cafile=ca)} if ca else {}
    async with connect(url, max_size=None, **tls) as socket:
        for size in (0, 1, 125, 126, 65_535, 65_536, 1_000_000):
            await socket.send("x" * size)
            assert await socket.recv() == "x" * size, size
            await socket.send(b"\0" * size)
            assert await socket.recv() == b"\0" * size, size
        waiter = await socket.ping()
        await asyncio.wait_for(waiter, 10)
    assert socket.close_code == 1000, socket.close_code
    print("ok")


asyncio.run(main(*sys.argv[1:]))
