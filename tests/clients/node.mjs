// node's ws: echoes of all sizes with compression, a room, a clean close.
import assert from "node:assert/strict";
import { once } from "node:events";
import WebSocket from "ws";

const address = process.argv[2];
const limit = AbortSignal.timeout(60_000);
limit.onabort = () => {
  console.error("node ws: no answer in time");
  process.exit(1);
};

async function open(target, protocols, options) {
  const socket = new WebSocket(`ws://${address}${target}`, protocols, options);
  const inbox = [];
  socket.waiting = [];
  socket.on("message", (data, isBinary) => {
    const message = { data, isBinary };
    const next = socket.waiting.shift();
    next ? next(message) : inbox.push(message);
  });
  socket.next = () =>
    inbox.length ? Promise.resolve(inbox.shift()) : new Promise((give) => socket.waiting.push(give));
  await once(socket, "open");
  return socket;
}

async function echo(options, expected) {
  const socket = await open("/echo", [], options);
  assert.equal(socket.extensions.includes("permessage-deflate"), expected);
  for (const length of [0, 1, 125, 126, 1_023, 1_024, 5_000, 65_535, 65_536]) {
    const text = "real time ".repeat(length / 10 + 1).slice(0, length);
    socket.send(text);
    const { data, isBinary } = await socket.next();
    assert.equal(isBinary, false);
    assert.equal(data.toString(), text, `${length} bytes`);
    const bytes = Buffer.from(Array.from({ length }, (_, index) => (index * 7919) % 256));
    socket.send(bytes);
    const echoed = await socket.next();
    assert.equal(echoed.isBinary, true);
    assert.deepEqual(echoed.data, bytes, `${length} bytes`);
  }
  socket.ping("round trip");
  assert.equal((await once(socket, "pong"))[0].toString(), "round trip");
  socket.close(3000, "done");
  assert.equal((await once(socket, "close"))[0], 3000);
}

class Member {
  static async enter(room) {
    const member = new Member();
    member.socket = await open(`/ws/${room}`, ["ringroom.v1.json"]);
    assert.equal(member.socket.protocol, "ringroom.v1.json");
    member.welcome = await member.event("welcome");
    return member;
  }

  async event(type) {
    for (;;) {
      const message = JSON.parse((await this.socket.next()).data);
      if (message.type === type) return message;
      assert.notEqual(message.type, "error", JSON.stringify(message));
    }
  }

  send(message) {
    this.socket.send(JSON.stringify(message));
  }
}

async function room() {
  const [one, other] = [await Member.enter("node"), await Member.enter("node")];
  assert.equal(one.welcome.rooms[0].room, "node");
  const data = { text: "hello ".repeat(500), exact: 12345678901234 };
  one.send({ type: "publish", id: 1, room: "node", data, event: "say" });
  const ok = await one.event("ok");
  const message = await other.event("message");
  assert.deepEqual(message.data, data);
  assert.equal(message.event, "say");
  assert.equal(message.offset, ok.offset);
  other.send({ type: "leave", id: 2, room: "node" });
  assert.equal((await other.event("ok")).room, "node");
  one.socket.close();
  other.socket.close();
}

await echo({ perMessageDeflate: true }, true);
await echo({ perMessageDeflate: { serverMaxWindowBits: 10, clientMaxWindowBits: 10 } }, true);
await echo({ perMessageDeflate: false }, false);
await room();
console.log("node ws: echoes with and without deflate, a room");
process.exit(0);
