// socket.io over WebSocket alone: what is said in a room goes to all of the room, as an event.
// A room of one is an echo.
import { createServer } from "node:http";
import { Server } from "socket.io";

const port = Number(process.argv[2]);
const http = createServer();
const io = new Server(http, { transports: ["websocket"], serveClient: false });

io.on("connection", (socket) => {
  const { room } = socket.handshake.query;
  socket.join(room);
  socket.on("message", (data) => io.to(room).emit("message", data));
});
http.listen({ host: "127.0.0.1", port, backlog: 4096 });
