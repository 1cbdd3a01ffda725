// node `ws`: every path is an echo, but /broadcast, where each message goes to everyone there.
// With WS_NO_BUFFER_UTIL=1 it masks in JavaScript, else with the native bufferutil.
import { WebSocketServer, WebSocket } from "ws";

const port = Number(process.argv[2]);
const server = new WebSocketServer({ host: "127.0.0.1", port, backlog: 4096, perMessageDeflate: false });
const everyone = new Set();

server.on("connection", (socket, request) => {
  socket.on("error", () => socket.terminate());
  if (request.url !== "/broadcast") {
    socket.on("message", (data, isBinary) => socket.send(data, { binary: isBinary }));
    return;
  }
  everyone.add(socket);
  socket.on("close", () => everyone.delete(socket));
  socket.on("message", (data, binary) => {
    for (const member of everyone) {
      if (member.readyState === WebSocket.OPEN) member.send(data, { binary });
    }
  });
});
