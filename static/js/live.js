// News from the other devices: a signal by WebSocket (or by long poll, where none gets
// through) says that something changed, and the changes since the page's own cursor say what.

import { api, pause, Problem } from "./api.js";

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30_000;
// The server greets at once; a proxy may open a socket and let nothing through.
const GREETING_MS = 10_000;
const QUIET_MS = 5 * 60_000;
const POLL_SECONDS = 25;
const SIGNED_OUT = 4401;

const backoff = (failures) =>
  Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** failures) * (0.75 + Math.random() / 2);

/**
 * Follows the journal. Fires "state" with `detail` "live", "connecting" or "offline",
 * "entry" for each change, and "reset" when the page has to be loaded again.
 */
export class Live extends EventTarget {
  #cursor;
  #socket = null;
  #attempt = 0;
  #isPolling = false;
  #isPolled = false;
  #isPulling = false;
  #isBehind = false;
  #timer;

  constructor(cursor) {
    super();
    this.#cursor = cursor;
  }

  start() {
    this.#connect();
    window.addEventListener("online", () => this.#reconnectNow());
    window.addEventListener("offline", () => this.#socket && this.#lose(this.#socket));
    document.addEventListener("visibilitychange", () => {
      if (document.hidden) return;
      this.pull();
      if (this.#attempt > 0) this.#poll();
    });
    // Signals may be lost: every few minutes the page asks by itself.
    setInterval(() => this.pull(), QUIET_MS);
  }

  /** Fetch and tell what happened since the last time. One at a time, none forgotten. */
  async pull() {
    if (this.#isPulling) {
      this.#isBehind = true;
      return;
    }
    this.#isPulling = true;
    try {
      do {
        this.#isBehind = false;
        const page = await api("POST", "/changes", { cursor: this.#cursor });
        // Of thousands none stands out.
        const isNews = page.entries.length < 50;
        for (const entry of page.entries) {
          this.dispatchEvent(new CustomEvent("entry", { detail: { ...entry, isNews } }));
        }
        if (page.resets.length > 0) this.dispatchEvent(new Event("reset"));
        this.#cursor = page.cursor;
        this.#isBehind ||= page.has_more;
      } while (this.#isBehind);
      this.#acknowledge();
    } catch (error) {
      if (error instanceof Problem && error.code === "invalid-cursor") {
        this.dispatchEvent(new Event("reset"));
      } else if (!error.isTransient) {
        throw error;
      }
      // The server is away; the next connection asks again.
    } finally {
      this.#isPulling = false;
    }
  }

  #acknowledge() {
    if (this.#socket?.readyState === WebSocket.OPEN) {
      this.#socket.send(JSON.stringify({ type: "ack", cursor: this.#cursor }));
    }
  }

  #connect() {
    clearTimeout(this.#timer);
    const url = new URL("/ws/notifications", location.href);
    url.protocol = url.protocol.replace("http", "ws");
    const socket = new WebSocket(url);
    this.#socket = socket;
    const greeting = setTimeout(() => {
      this.#lose(socket);
      this.#poll();
    }, GREETING_MS);
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "hello") {
        clearTimeout(greeting);
        this.#attempt = 0;
        this.#isPolled = false;
        this.#tell("live");
      }
      if (message.type === "hello" || message.type === "changed") this.pull();
      if (message.type === "ping") socket.send(JSON.stringify({ type: "pong" }));
    });
    socket.addEventListener("close", ({ code }) => {
      clearTimeout(greeting);
      if (code === SIGNED_OUT) location.reload();
      else this.#lose(socket);
    });
  }

  #lose(socket) {
    if (this.#socket !== socket) return;
    this.#socket = null;
    socket.close();
    this.#attempt += 1;
    // One lost connection is no news; the second in a row is, unless polls get through.
    if (!this.#isPolled) {
      this.#tell(this.#attempt > 1 || !navigator.onLine ? "offline" : "connecting");
    }
    this.#timer = setTimeout(() => this.#connect(), backoff(this.#attempt - 1));
    if (this.#attempt > 1) this.#poll();
  }

  /** Long polls, until a socket gets through. A hidden tab leaves the connection to others. */
  async #poll() {
    if (this.#isPolling) return;
    this.#isPolling = true;
    try {
      for (let failures = 0; this.#attempt > 0 && !document.hidden; ) {
        failures = (await this.#ask()) ? 0 : failures + 1;
        if (failures > 0) await pause(backoff(failures - 1));
      }
    } finally {
      this.#isPolling = false;
    }
  }

  /** One long poll; whether it got through. */
  async #ask() {
    // The first only asks, so that the page soon knows whether this way is open.
    const timeout = this.#isPolled ? POLL_SECONDS : 1;
    const query = new URLSearchParams({ cursor: this.#cursor, timeout });
    try {
      const answer = await api("GET", `/notifications/poll?${query}`);
      if (this.#attempt > 0) {
        this.#isPolled = true;
        this.#tell("live");
        await this.pull();
        await pause((answer.retry_after_seconds ?? 1) * 1000);
      }
      return true;
    } catch (error) {
      if (!error.isTransient && !(error instanceof Problem)) throw error;
      this.#isPolled = false;
      // The server may have been restored: pulling finds out.
      if (error.code === "invalid-cursor") await this.pull();
      return false;
    }
  }

  #reconnectNow() {
    if (this.#socket?.readyState !== WebSocket.OPEN) this.#connect();
  }

  #tell(state) {
    this.dispatchEvent(new CustomEvent("state", { detail: state }));
  }
}

/** Follow the journal with the sign and the bar of the page; the Live, which has begun. */
export function follow(cursor, { isBusy = () => false } = {}) {
  const live = new Live(cursor);
  const sign = document.querySelector("#live");
  const bar = document.querySelector("#offline");
  live.addEventListener("state", ({ detail: state }) => {
    sign.dataset.state = state;
    const words = { live: "Live", connecting: "Connecting", offline: "Offline" }[state];
    sign.lastElementChild.textContent = words;
    sign.title = state === "live" ? "Changes of other devices appear here at once" : words;
    bar.hidden = state !== "offline";
    bar.lastElementChild.textContent =
      "The server cannot be reached. What you see is the last known state; trying again.";
  });
  live.addEventListener("reset", () => {
    // The list no longer follows from what is shown: read it anew, unless that costs an upload.
    if (!isBusy()) location.reload();
  });
  live.start();
  return live;
}
