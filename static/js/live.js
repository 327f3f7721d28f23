// News from the other devices: a signal by WebSocket says that something changed, and the
// changes since the page's own cursor say what.

import { api, Problem } from "./api.js";

const FIRST_RETRY_MS = 1000;
const LONGEST_RETRY_MS = 30_000;
const QUIET_MS = 5 * 60_000;
const SIGNED_OUT = 4401;

/**
 * Follows the journal. Fires "state" with `detail` "live", "connecting" or "offline",
 * "entry" for each change, and "reset" when the page has to be loaded again.
 */
export class Live extends EventTarget {
  #cursor;
  #socket = null;
  #attempt = 0;
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
    window.addEventListener("offline", () => this.#socket?.close());
    document.addEventListener("visibilitychange", () => {
      if (!document.hidden) this.pull();
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
        for (const entry of page.entries) {
          this.dispatchEvent(new CustomEvent("entry", { detail: entry }));
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
    socket.addEventListener("message", ({ data }) => {
      const message = JSON.parse(data);
      if (message.type === "hello") {
        this.#attempt = 0;
        this.#tell("live");
      }
      if (message.type === "hello" || message.type === "changed") this.pull();
      if (message.type === "ping") socket.send(JSON.stringify({ type: "pong" }));
    });
    socket.addEventListener("close", ({ code }) => {
      if (this.#socket !== socket) return;
      if (code === SIGNED_OUT) {
        location.reload();
        return;
      }
      this.#attempt += 1;
      // One lost connection is no news; the second in a row is.
      this.#tell(this.#attempt > 1 || !navigator.onLine ? "offline" : "connecting");
      const wait = Math.min(LONGEST_RETRY_MS, FIRST_RETRY_MS * 2 ** (this.#attempt - 1));
      this.#timer = setTimeout(() => this.#connect(), wait * (0.75 + Math.random() / 2));
    });
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
