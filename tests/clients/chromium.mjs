// Chromium on the page, driven over its own debugging protocol: two people talk, one reloads
// and reads what was said meanwhile, and nothing on the way breaks the page's policy.
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import WebSocket from "ws";

const page = `http://${process.argv[2]}/`;
const PATIENCE_MS = 30_000;

/** The browser's debugging protocol, with one session for each tab. */
class Browser {
  static async start() {
    const browser = new Browser();
    browser.folder = mkdtempSync(join(tmpdir(), "ringroom-chromium-"));
    browser.process = spawn(process.env.CHROMIUM ?? "chromium", [
      "--headless=new",
      "--no-sandbox",
      "--disable-gpu",
      "--disable-dev-shm-usage",
      "--no-first-run",
      "--remote-debugging-port=0",
      `--user-data-dir=${browser.folder}`,
      "about:blank",
    ]);
    const url = await new Promise((found, failed) => {
      let said = "";
      browser.process.stderr.on("data", (data) => {
        said += data;
        const [, url] = said.match(/DevTools listening on (\S+)/) ?? [];
        if (url) found(url);
      });
      browser.process.on("exit", () => failed(new Error(`chromium ended: ${said}`)));
    });
    browser.socket = new WebSocket(url, { perMessageDeflate: false });
    browser.answers = new Map();
    browser.complaints = [];
    browser.lastId = 0;
    browser.socket.on("message", (data) => browser.take(JSON.parse(data)));
    await new Promise((open) => browser.socket.once("open", open));
    return browser;
  }

  take({ id, result, error, method, params }) {
    if (id) {
      const { give, fail } = this.answers.get(id);
      this.answers.delete(id);
      error ? fail(new Error(error.message)) : give(result);
    } else if (method === "Runtime.exceptionThrown") {
      this.complaints.push(params.exceptionDetails.exception?.description);
    } else if (method === "Log.entryAdded" && params.entry.level === "error") {
      this.complaints.push(params.entry.text);
    }
  }

  call(method, params = {}, sessionId) {
    const id = ++this.lastId;
    this.socket.send(JSON.stringify({ id, method, params, sessionId }));
    return new Promise((give, fail) => this.answers.set(id, { give, fail }));
  }

  async tab(url) {
    const { targetId } = await this.call("Target.createTarget", { url: "about:blank" });
    const { sessionId } = await this.call("Target.attachToTarget", { targetId, flatten: true });
    for (const domain of ["Runtime", "Log", "Page", "Network"]) {
      await this.call(`${domain}.enable`, {}, sessionId);
    }
    await this.call("Page.navigate", { url }, sessionId);
    return new Tab(this, sessionId);
  }

  end() {
    this.process.removeAllListeners("exit");
    this.process.kill("SIGKILL");
  }
}

class Tab {
  constructor(browser, session) {
    this.browser = browser;
    this.session = session;
  }

  call(method, params) {
    return this.browser.call(method, params, this.session);
  }

  async run(expression) {
    const params = { expression, awaitPromise: true, returnByValue: true };
    const { result, exceptionDetails } = await this.call("Runtime.evaluate", params);
    assert.equal(exceptionDetails, undefined, exceptionDetails?.exception?.description);
    return result.value;
  }

  async until(expression) {
    for (const end = Date.now() + PATIENCE_MS; Date.now() < end; await sleep(50)) {
      if (await this.run(expression).catch(() => false)) return;
    }
    const seen = await this.run("document.body.innerText");
    throw new Error(`not so in time: ${expression}\n${seen}`);
  }

  async enter(name) {
    await this.until("document.getElementById('enter') && document.readyState === 'complete'");
    await this.run(`document.getElementById('name').value = ${JSON.stringify(name)};
      document.getElementById('room').value = 'chromium';
      document.getElementById('enter').requestSubmit()`);
    await this.until("document.getElementById('state').textContent === 'Connected'");
  }

  say(text) {
    return this.run(`document.getElementById('text').value = ${JSON.stringify(text)};
      document.getElementById('text').dispatchEvent(new Event('input'));
      document.getElementById('compose').requestSubmit()`);
  }

  hears(text) {
    return this.until(`document.getElementById('messages').innerText.includes(${JSON.stringify(text)})`);
  }
}

/** In the page: an echo with compression. */
const ECHO = `new Promise((give) => {
  const url = new URL("/echo", location.href.replace("http", "ws"));
  const socket = new WebSocket(url);
  const text = "real time ".repeat(5000);
  socket.onopen = () => socket.send(text);
  socket.onmessage = ({ data }) => {
    give({ extensions: socket.extensions, same: data === text });
    socket.close();
  };
  socket.onerror = () => give({ failed: true });
})`;

async function talk(browser) {
  const [ada, ben] = [await browser.tab(page), await browser.tab(page)];
  await ada.until("document.readyState === 'complete'");
  const echo = await ada.run(ECHO);
  assert.ok(echo.same && echo.extensions.includes("permessage-deflate"), JSON.stringify(echo));
  await ada.enter("Ada");
  await ben.enter("Ben");
  await ada.until("document.getElementById('people').innerText.includes('Ben')");
  await ben.until("document.getElementById('people').innerText.includes('Ada')");
  const markup = "<img src=x onerror=alert(1)> & <b>bold</b>";
  await ada.say(markup);
  await ben.hears(markup);
  await ada.until("document.querySelectorAll('.waiting').length === 0");
  await ben.say("first words");
  await ada.hears("first words");
  // Nobody measures where nobody looks.
  await ada.call("Page.bringToFront");
  await ada.until("/ms$/.test(document.getElementById('latency').textContent)");
  // Whoever comes later reads what was said.
  const late = await browser.tab(page);
  await late.enter("Late");
  await late.hears("first words");
  return { ada, ben };
}

async function comeBack({ ada, ben }) {
  await ben.run("window.wasHere = true");
  await ben.call("Page.reload");
  await ben.until("!window.wasHere && document.readyState === 'complete'");
  await ada.say("while you were away");
  await ben.enter("Ben");
  await ben.hears("while you were away");
}

async function narrow({ ada }) {
  const metrics = { width: 360, height: 640, deviceScaleFactor: 2, mobile: true };
  await ada.call("Emulation.setDeviceMetricsOverride", metrics);
  const fits = "document.documentElement.scrollWidth <= innerWidth && " +
    "document.getElementById('text').getBoundingClientRect().bottom <= innerHeight";
  await ada.until(fits);
}

const browser = await Browser.start();
let code = 0;
try {
  const people = await talk(browser);
  await comeBack(people);
  await narrow(people);
  assert.deepEqual(browser.complaints, [], "nothing breaks the policy of the page");
  console.log("chromium: two people on the page, history, a return, a narrow screen, deflate");
} catch (error) {
  console.error(error, browser.complaints);
  code = 1;
} finally {
  browser.end();
}
await sleep(200);
rmSync(browser.folder, { recursive: true, force: true, maxRetries: 5 });
process.exit(code);
