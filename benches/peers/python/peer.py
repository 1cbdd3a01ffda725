"""FastAPI on uvicorn, one worker: /broadcast sends what is said to everyone there, all else is an echo."""

import contextlib
import sys

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
everyone: set[WebSocket] = set()


@app.websocket("/broadcast")
async def broadcast(socket: WebSocket) -> None:
    await socket.accept()
    everyone.add(socket)
    try:
        while True:
            said = await socket.receive_text()
            for member in tuple(everyone):
                with contextlib.suppress(RuntimeError, WebSocketDisconnect):
                    await member.send_text(said)
    except WebSocketDisconnect:
        everyone.discard(socket)


@app.websocket("/{path:path}")
async def echo(socket: WebSocket) -> None:
    await socket.accept()
    with contextlib.suppress(WebSocketDisconnect):
        while True:
            await socket.send_text(await socket.receive_text())


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), backlog=4096, loop="uvloop", http="httptools",
                log_level="error", ws_per_message_deflate=False)
