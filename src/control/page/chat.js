// The chat: what is said is published, who types is told by transient messages, and so is who is
// here, since nobody has to log in to talk.

import { Connection } from "/connection.js";

const HERE_EVERY_MS = 20_000;
const GONE_AFTER_MS = 45_000;
const TYPING_EVERY_MS = 2_000;
const TYPING_LASTS_MS = 4_000;
const GROUP_WITHIN_MS = 300_000;
const MESSAGES_MAX = 500;
const STATES = {
  connecting: "Connecting",
  reconnecting: "Reconnecting",
  open: "Connected",
  ended: "Disconnected",
};

const at = (id) => document.getElementById(id);
const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit" });

/** A hue for a name, the same for everyone. */
function hue(name) {
  let sum = 0;
  for (const letter of name) sum = (sum * 31 + letter.codePointAt(0)) % 360;
  return sum;
}

function element(tag, className, text) {
  const made = document.createElement(tag);
  made.className = className;
  made.textContent = text;
  return made;
}

class Chat {
  constructor(name, room) {
    this.me = { id: crypto.randomUUID?.() ?? String(Math.random()).slice(2), name };
    this.room = room;
    this.people = new Map();
    this.typing = new Map();
    this.waiting = new Map();
    this.lastTyped = 0;
    this.hasHistory = false;
    this.connection = new Connection(room);
    const on = (type, act) => this.connection.addEventListener(type, ({ detail }) => act(detail));
    on("state", (state) => this.showState(state));
    on("joined", (joined) => this.joined(joined));
    on("message", (message) => this.receive(message));
    on("gap", ({ from, to }) => this.notice(`${to - from + 1} messages were missed.`));
    on("latency", (ms) => (at("latency").textContent = `${ms.toFixed(ms < 10 ? 1 : 0)} ms`));
    on("failed", (reason) => this.notice(`Disconnected: ${reason}.`));
    this.timer = setInterval(() => this.look(), 1_000);
    this.lastHere = 0;
  }

  async joined(joined) {
    this.announce("hello");
    if (!this.hasHistory || joined.recovered === false) await this.loadHistory();
    for (const [key, { text }] of this.waiting) this.publish(key, text);
  }

  async loadHistory() {
    const ask = { type: "history", room: this.room, limit: 50, reverse: true };
    const { messages } = await this.connection.ask(ask).catch(() => ({ messages: [] }));
    at("messages").replaceChildren();
    for (const message of messages.reverse()) this.receive(message);
    this.hasHistory = true;
  }

  // What comes.

  receive({ event, data, at: sentAt }) {
    if (typeof data !== "object" || data === null || typeof data.name !== "string") return;
    switch (event) {
      case "say":
        this.said(data, sentAt);
        break;
      case "hello":
        if (data.id !== this.me.id) this.announce("here");
      // fallthrough: whoever says hello is here
      case "here":
        this.people.set(data.id, { name: data.name, until: Date.now() + GONE_AFTER_MS });
        this.showPeople();
        break;
      case "bye":
        this.people.delete(data.id);
        this.typing.delete(data.id);
        this.showPeople();
        break;
      case "typing":
        if (data.id === this.me.id) break;
        this.typing.set(data.id, { name: data.name, until: Date.now() + TYPING_LASTS_MS });
        this.showTyping();
        break;
    }
  }

  said({ id, name, text, key }, sentAt) {
    if (typeof text !== "string") return;
    this.waiting.get(key)?.element.remove();
    this.waiting.delete(key);
    this.typing.delete(id);
    this.showTyping();
    this.show(name, text, sentAt);
  }

  // What goes.

  say(text) {
    const key = crypto.randomUUID?.() ?? String(Math.random()).slice(2);
    const shown = this.show(this.me.name, text, Date.now());
    shown.classList.add("waiting");
    this.waiting.set(key, { text, element: shown });
    this.publish(key, text);
    this.lastTyped = 0;
  }

  publish(key, text) {
    const data = { ...this.me, text, key };
    this.connection.ask({ type: "publish", room: this.room, event: "say", data, key }).then(
      () => this.waiting.get(key)?.element.classList.remove("waiting"),
      // Without a code the connection was lost: it goes out again once there is one.
      (error) => error.code && this.notice(`Not sent: ${error.message}.`),
    );
  }

  announce(event) {
    const command = { type: "publish", room: this.room, event, data: this.me, transient: true };
    this.connection.tell(command);
    this.lastHere = Date.now();
  }

  typed() {
    if (Date.now() - this.lastTyped < TYPING_EVERY_MS) return;
    this.lastTyped = Date.now();
    this.announce("typing");
  }

  // What is seen.

  show(name, text, sentAt) {
    const log = at("log");
    const follows = log.scrollHeight - log.scrollTop - log.clientHeight < 80;
    const list = at("messages");
    const last = list.lastElementChild;
    const isFirst = last?.dataset.name !== name || sentAt - Number(last.dataset.at) > GROUP_WITHIN_MS;
    const item = element("li", isFirst ? "message first" : "message", "");
    item.dataset.name = name;
    item.dataset.at = sentAt;
    const by = element("span", "by", "");
    const author = element("span", "name", name);
    author.style.setProperty("--hue", hue(name));
    by.append(author, element("time", "", clock.format(sentAt)));
    item.append(by, element("span", "text", text));
    list.append(item);
    while (list.children.length > MESSAGES_MAX) list.firstElementChild.remove();
    at("empty").hidden = true;
    if (follows) log.scrollTop = log.scrollHeight;
    return item;
  }

  notice(text) {
    at("messages").append(element("li", "notice", text));
    at("log").scrollTop = at("log").scrollHeight;
  }

  showState(state) {
    at("chat").dataset.state = state;
    at("state").textContent = STATES[state];
    if (state !== "open") at("latency").textContent = "";
  }

  showPeople() {
    const people = [...this.people].sort(([, one], [, other]) => one.name.localeCompare(other.name));
    const items = people.map(([id, { name }]) => element("li", id === this.me.id ? "me" : "", name));
    at("people").replaceChildren(...items);
    at("count").textContent = `(${items.length})`;
  }

  showTyping() {
    const names = [...this.typing.values()].map(({ name }) => name);
    const who = names.length > 2 ? "Several people" : names.join(" and ");
    at("typing").textContent = names.length ? `${who} ${names.length > 1 ? "are" : "is"} typing…` : "";
  }

  /** Once a second: who has gone without a word, who has stopped typing. */
  look() {
    const now = Date.now();
    if (now - this.lastHere > HERE_EVERY_MS) this.announce("here");
    const forget = (map) => {
      const old = [...map].filter(([, { until }]) => until < now);
      for (const [id] of old) map.delete(id);
      return old.length > 0;
    };
    if (forget(this.people)) this.showPeople();
    if (forget(this.typing)) this.showTyping();
  }

  leave() {
    this.announce("bye");
    clearInterval(this.timer);
    this.connection.end();
  }
}

let chat = null;

function enter(name, room) {
  for (const [key, value] of Object.entries({ name, room })) sessionStorage.setItem(key, value);
  at("title").textContent = room;
  document.title = `${room} · Ringroom`;
  at("messages").replaceChildren();
  at("people").replaceChildren();
  at("entrance").hidden = true;
  at("chat").hidden = false;
  chat = new Chat(name, room);
  at("text").focus();
}

at("enter").addEventListener("submit", (event) => {
  event.preventDefault();
  const [name, room] = [at("name").value.trim(), at("room").value.trim()];
  if (name && room) enter(name, room);
});

at("leave").addEventListener("click", () => {
  chat.leave();
  chat = null;
  document.title = "Ringroom";
  at("chat").hidden = true;
  at("entrance").hidden = false;
  at("name").focus();
});

at("compose").addEventListener("submit", (event) => {
  event.preventDefault();
  const text = at("text").value.trim();
  if (!text) return;
  chat.say(text);
  at("text").value = "";
});

at("text").addEventListener("input", () => chat.typed());
at("text").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  at("compose").requestSubmit();
});

addEventListener("pagehide", () => chat?.announce("bye"));

at("name").value = sessionStorage.getItem("name") ?? "";
at("room").value = sessionStorage.getItem("room") ?? "lobby";
at("name").focus();
