"""httpx over HTTP/2 and TLS: many requests at once, a body up, a stream down, one that is given up.

    python http2.py HOST:PORT CA_FILE
"""

import asyncio
import ssl
import sys

import httpx


async def chunks(count):
    for n in range(count):
        yield b"%06d\n" % n * 100


async def main(target, ca):
    context = ssl.create_default_context(cafile=ca)
    async with httpx.AsyncClient(http2=True, verify=context, base_url=f"https://{target}", timeout=10) as client:
        answers = await asyncio.gather(*(client.get("/", params={"n": n}) for n in range(50)))
        assert {(a.status_code, a.http_version) for a in answers} == {(200, "HTTP/2")}, answers

        sent = b"".join([chunk async for chunk in chunks(300)])
        echoes = await asyncio.gather(*(client.post("/echo", content=chunks(300)) for _ in range(20)))
        assert all(echo.content == sent for echo in echoes), [len(echo.content) for echo in echoes]

        async with client.stream("GET", "/stream/20?interval=5ms") as answer:
            lines = [line async for line in answer.aiter_lines()]
        assert lines == [f"chunk {n}" for n in range(1, 21)], lines

        # Given up in the middle; the connection goes on.
        async with client.stream("GET", "/bytes/100000000") as answer:
            async for _ in answer.aiter_bytes():
                break
        assert (await client.get("/status/204")).status_code == 204
    print("ok")


asyncio.run(main(*sys.argv[1:]))
