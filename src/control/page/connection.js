// A connection of the protocol that comes back by itself: it resumes its session, takes up its room
// where it was, and waits between attempts for a random time, so that a crowd does not return at once.

const WAIT_MAX_MS = 30_000;
const WAIT_FIRST_MS = 500;
const PING_EVERY_MS = 5_000;
const PATIENCE_MS = 15_000;

export class Connection extends EventTarget {
  #room;
  #socket = null;
  #session = null;
  #position = null;
  #attempts = 0;
  #nextId = 1;
  #answers = new Map();
  #timer = null;
  #pings = null;
  #retryAfter = 0;
  #ended = false;

  /** What comes of it are events: `state`, `welcome`, `joined`, `message`, `gap`, `latency`. */
  constructor(room) {
    super();
    this.#room = room;
    this.#open();
    addEventListener("online", this.#hurry);
    document.addEventListener("visibilitychange", this.#hurry);
  }

  /** Sends a command; what comes is its answer. It fails if the connection does. */
  ask(command) {
    return new Promise((resolve, reject) => {
      if (this.#socket?.readyState !== WebSocket.OPEN) {
        reject(new Error("not connected"));
        return;
      }
      const id = this.#nextId++;
      this.#answers.set(id, { resolve, reject });
      this.#socket.send(JSON.stringify({ ...command, id }));
    });
  }

  /** Sends a command to whose answer nobody listens; lost if there is no connection. */
  tell(command) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(command));
  }

  end() {
    this.#ended = true;
    clearTimeout(this.#timer);
    removeEventListener("online", this.#hurry);
    document.removeEventListener("visibilitychange", this.#hurry);
    this.#socket?.close(1000);
  }

  #open() {
    this.#say("state", this.#attempts === 0 ? "connecting" : "reconnecting");
    const url = new URL("/ws", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    if (this.#session) url.searchParams.set("session", this.#session);
    const socket = new WebSocket(url, "ringroom.v1.json");
    this.#socket = socket;
    const patience = setTimeout(() => socket.close(), PATIENCE_MS);
    socket.onmessage = ({ data }) => {
      clearTimeout(patience);
      const message = JSON.parse(data);
      for (const one of Array.isArray(message) ? message : [message]) this.#take(one);
    };
    socket.onclose = ({ code }) => {
      clearTimeout(patience);
      this.#closed(code);
    };
  }

  #take(message) {
    switch (message.type) {
      case "welcome":
        this.#welcome(message);
        break;
      case "ok":
      case "pong":
        this.#answers.get(message.id)?.resolve(message);
        this.#answers.delete(message.id);
        break;
      case "error":
        this.#answers.get(message.id)?.reject(Object.assign(new Error(message.message), message));
        this.#answers.delete(message.id);
        break;
      case "message":
        this.#receive(message);
        break;
      case "gap":
        this.#position = { epoch: message.epoch, offset: message.to };
        this.#say("gap", message);
        break;
      case "disconnect":
        this.#retryAfter = message.retry_after_ms ?? 0;
        if (!message.reconnect) this.#fail(message.reason);
        break;
    }
  }

  async #welcome(welcome) {
    this.#session = welcome.session ?? null;
    this.#say("welcome", welcome);
    const kept = welcome.rooms?.find(({ room }) => room === this.#room);
    try {
      const joined = kept ?? (await this.#join());
      this.#position ??= { epoch: joined.epoch, offset: joined.offset };
      this.#attempts = 0;
      this.#say("state", "open");
      this.#say("joined", joined);
      this.#startPings();
    } catch (error) {
      if (error.code) this.#fail(error.message);
    }
  }

  async #join() {
    // Whoever is first makes the room one that remembers; for everyone else it exists.
    const config = { mode: "reliable", history_size: 100 };
    await this.ask({ type: "room.create", room: this.#room, config }).catch(() => {});
    const since = this.#position ?? undefined;
    const joined = await this.ask({ type: "join", room: this.#room, since });
    if (!joined.recovered) this.#position = { epoch: joined.epoch, offset: joined.offset };
    return joined;
  }

  #receive(message) {
    if (message.offset !== undefined) {
      const { epoch, offset } = message;
      const seen = this.#position;
      if (seen && seen.epoch === epoch && offset <= seen.offset) return;
      this.#position = { epoch, offset };
    }
    this.#say("message", message);
  }

  #startPings() {
    clearInterval(this.#pings);
    const ping = async () => {
      if (document.hidden) return;
      const began = performance.now();
      await this.ask({ type: "ping" }).then(
        () => this.#say("latency", performance.now() - began),
        () => {},
      );
    };
    ping();
    this.#pings = setInterval(ping, PING_EVERY_MS);
  }

  #closed(code) {
    clearInterval(this.#pings);
    for (const { reject } of this.#answers.values()) reject(new Error("the connection is lost"));
    this.#answers.clear();
    if (this.#ended) return;
    if (code === 1008 || code === 1002) return this.#fail("the server does not want this client");
    const most = Math.min(WAIT_MAX_MS, WAIT_FIRST_MS * 2 ** this.#attempts++);
    const wait = this.#retryAfter + Math.random() * most;
    this.#retryAfter = 0;
    this.#say("state", "reconnecting");
    this.#timer = setTimeout(() => this.#open(), wait);
  }

  /** The network is back, or someone looks at the page: no need to wait. */
  #hurry = () => {
    if (document.hidden || this.#socket?.readyState !== WebSocket.CLOSED || this.#ended) return;
    clearTimeout(this.#timer);
    this.#open();
  };

  #fail(reason) {
    this.end();
    this.#say("state", "ended");
    this.#say("failed", reason);
  }

  #say(type, detail) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
