"""Python's websockets and aiohttp: echoes of all sizes with compression, a room, a clean close."""

import asyncio
import json
import sys

import aiohttp
import websockets.asyncio.client as websockets

ADDRESS = sys.argv[1]
LENGTHS = [0, 1, 125, 126, 1_023, 1_024, 5_000, 65_535, 65_536]
MESSAGES = [("real time " * 7_000)[:length] for length in LENGTHS] + [
    bytes(index * 7_919 % 256 for index in range(length)) for length in LENGTHS
]


async def websockets_echo(compression):
    async with websockets.connect(f"ws://{ADDRESS}/echo", compression=compression) as socket:
        for message in MESSAGES:
            await socket.send(message)
            assert await socket.recv() == message, len(message)
        await (await socket.ping(b"round trip"))
        # In fragments.
        await socket.send(["frag", "", "ments"])
        assert await socket.recv() == "fragments"
        await socket.close(3000)
    assert socket.protocol.close_code == 3000


async def aiohttp_echo(compress):
    async with aiohttp.ClientSession() as session:
        async with session.ws_connect(f"http://{ADDRESS}/echo", compress=compress) as socket:
            assert bool(socket.compress) == bool(compress)
            for message in MESSAGES:
                if isinstance(message, str):
                    await socket.send_str(message)
                else:
                    await socket.send_bytes(message)
                assert (await socket.receive()).data == message, len(message)
        assert socket.close_code == 1000
        async with session.get(f"http://{ADDRESS}/ready") as response:
            assert response.status == 200


async def room():
    async def until(socket, kind):
        while True:
            message = json.loads(await socket.recv())
            assert message["type"] != "error", message
            if message["type"] == kind:
                return message

    url = f"ws://{ADDRESS}/ws/python"
    protocols = ["ringroom.v1.json"]
    async with websockets.connect(url, subprotocols=protocols) as one:
        async with websockets.connect(url, subprotocols=protocols) as other:
            await until(one, "welcome")
            await until(other, "welcome")
            data = {"text": "hello " * 500}
            publish = {"type": "publish", "id": "a", "room": "python", "data": data}
            await one.send(json.dumps(publish))
            message = await until(other, "message")
            assert message["data"] == data
            assert (await until(one, "ok"))["offset"] == message["offset"]


async def main():
    for compression in ("deflate", None):
        await websockets_echo(compression)
    for compress in (15, 0):
        await aiohttp_echo(compress)
    await room()
    print("python websockets and aiohttp: echoes with and without deflate, a room")


asyncio.run(asyncio.wait_for(main(), 60))
