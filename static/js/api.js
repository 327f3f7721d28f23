// The server's API (docs/protocol.md) with the session of this browser.

/** A refusal by the server: its stable `code`, the `status`, and `data` for programs. */
export class Problem extends Error {
  constructor(status, data) {
    super(data.detail || data.title || `The server answered ${status}.`);
    this.status = status;
    this.code = data.code ?? "unknown";
    this.title = data.title ?? "";
    this.data = data;
  }

  /** Whether the same request may succeed later without anybody doing anything. */
  get isTransient() {
    return this.status === 429 || this.status === 502 || this.status === 503 || this.status === 504;
  }
}

/** No answer at all: the network is down, or the server is. */
export class Unreachable extends Error {
  constructor() {
    super("The server cannot be reached.");
  }

  get isTransient() {
    return true;
  }
}

// What to do about a refusal, in the words of the page.
const REMEDIES = {
  "quota-exceeded": "Delete something for ever from the trash, or ask for more storage.",
  "name-taken": "Choose another name.",
  "move-into-itself": "Choose a folder outside of it.",
  "stale-precondition": "It was changed elsewhere meanwhile; look at it and try again.",
  "not-found": "It was moved, deleted, or is no longer shared with you.",
  "permission-denied": "Ask the owner for the right to change it.",
  "upload-expired": "Add the file again; what has arrived is not sent twice.",
  "too-many-requests": "Wait a moment and try again.",
};

/** What happened and what to do about it, as one or two sentences. */
export function explain(error) {
  if (error instanceof Unreachable) {
    return "The server cannot be reached. Nothing was changed; try again when you are online.";
  }
  if (!(error instanceof Problem)) return error.message;
  const remedy = REMEDIES[error.code] ?? (error.status >= 500 ? "Nothing was changed; try again." : "");
  const what = /[.!?]$/.test(error.message) ? error.message : `${error.message}.`;
  return remedy ? `${what} ${remedy}` : what;
}

/** A random identifier (RFC 9562, version 4); `crypto.randomUUID` is missing on plain http. */
export function newId() {
  const bytes = crypto.getRandomValues(new Uint8Array(16));
  bytes[6] = (bytes[6] & 0x0f) | 0x40;
  bytes[8] = (bytes[8] & 0x3f) | 0x80;
  const hex = Array.from(bytes, (byte) => byte.toString(16).padStart(2, "0")).join("");
  return [
    hex.slice(0, 8),
    hex.slice(8, 12),
    hex.slice(12, 16),
    hex.slice(16, 20),
    hex.slice(20),
  ].join("-");
}

/** fetch(), with a network failure told apart from everything else. */
export async function request(url, options) {
  try {
    return await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable();
  }
}

/**
 * One request to /api/v1. Returns the JSON of the answer; throws Problem or Unreachable.
 *
 * Every write carries an idempotency key, so repeating the same `body` is harmless.
 */
export async function api(method, path, body = undefined, { ifMatch, signal, key } = {}) {
  const headers = { accept: "application/json" };
  if (method !== "GET") {
    headers["x-csrftoken"] = document.querySelector("meta[name=csrf-token]").content;
    headers["idempotency-key"] = key ?? newId();
  }
  if (body !== undefined) headers["content-type"] = "application/json";
  if (ifMatch !== undefined) headers["if-match"] = `"${ifMatch}"`;
  const answer = await request(`/api/v1${path}`, {
    method,
    headers,
    body: body === undefined ? undefined : JSON.stringify(body),
    credentials: "same-origin",
    signal,
  });
  if (answer.status === 204) return null;
  const isJson = /json/.test(answer.headers.get("content-type") ?? "");
  const data = isJson ? await answer.json() : {};
  if (answer.status === 401) {
    location.assign(`/accounts/login/?next=${encodeURIComponent(location.pathname)}`);
  }
  if (!answer.ok) throw new Problem(answer.status, data);
  return data;
}

/** Wait, or stop waiting when `signal` is aborted. */
export function pause(milliseconds, signal) {
  return new Promise((resolve, reject) => {
    signal?.throwIfAborted();
    const timer = setTimeout(resolve, milliseconds);
    signal?.addEventListener(
      "abort",
      () => {
        clearTimeout(timer);
        reject(signal.reason);
      },
      { once: true },
    );
  });
}

/**
 * Do something again while it fails for reasons that pass: after 1, 2, 4 … 30 seconds.
 *
 * `onWait(error)` is told before each pause. There is no last attempt: an upload outlives a
 * night without network, and `signal` ends it.
 */
export async function persist(action, { signal, onWait = () => {} } = {}) {
  for (let attempt = 0; ; attempt++) {
    try {
      return await action();
    } catch (error) {
      if (!error.isTransient) throw error;
      onWait(error);
      const told = (error.data?.retry_after_seconds ?? 0) * 1000;
      const backoff = Math.min(30_000, 1000 * 2 ** attempt) * (0.75 + Math.random() / 2);
      await pause(Math.max(told, backoff), signal);
    }
  }
}
