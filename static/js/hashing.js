// The page's side of the Worker: ask for a file's blocks, get them as a promise.

import { MIN_BLOCK_BYTES } from "./chunker.js";

// Two even of one core: a file's blocks and its own hash are made at the same time.
const WORKERS = Math.min(4, Math.max(2, (navigator.hardwareConcurrency ?? 2) - 1));

/** A few Workers that share the files among them. `workerUrl`: where static/js/worker.js is. */
export class Hashers {
  #workers = [];
  #asked = new Map();
  #nextId = 1;
  #workerUrl;

  constructor(workerUrl) {
    this.#workerUrl = workerUrl;
  }

  /**
   * `{ blocks, content_hash }` of a file. `onProgress(bytes)` is told what is hashed so far.
   *
   * Throws when the file cannot be read any more, or when `signal` is aborted.
   */
  async blocksOf(file, { signal, onProgress = () => {} }) {
    if (file.size <= MIN_BLOCK_BYTES) return await this.#ask(file, "all", { signal, onProgress });
    signal.throwIfAborted();
    const hashed = { blocks: 0, content_hash: 0 };
    // One fails: the other stops, too.
    const both = new AbortController();
    const stop = () => both.abort(signal.reason);
    signal.addEventListener("abort", stop, { once: true });
    try {
      const [blocks, whole] = await Promise.all(
        Object.keys(hashed).map((part) =>
          this.#ask(file, part, {
            signal: both.signal,
            onProgress: (bytes) => {
              hashed[part] = bytes;
              onProgress(Math.min(...Object.values(hashed)));
            },
          }),
        ),
      );
      return { ...blocks, ...whole };
    } catch (error) {
      both.abort(error);
      throw error;
    } finally {
      signal.removeEventListener("abort", stop);
    }
  }

  #ask(file, part, { signal, onProgress }) {
    return new Promise((resolve, reject) => {
      signal.throwIfAborted();
      const id = this.#nextId++;
      const lane = this.#leastBusy();
      lane.load += 1;
      const finish = () => {
        lane.load -= 1;
        this.#asked.delete(id);
        signal.removeEventListener("abort", stop);
      };
      const stop = () => {
        lane.worker.postMessage({ id, stop: true });
        finish();
        reject(signal.reason);
      };
      signal.addEventListener("abort", stop, { once: true });
      this.#asked.set(id, (answer) => {
        if ("hashed" in answer) {
          onProgress(answer.hashed);
          return;
        }
        finish();
        if ("failure" in answer) reject(new Unreadable(answer.failure));
        else resolve(answer);
      });
      lane.worker.postMessage({ id, file, part });
    });
  }

  #leastBusy() {
    if (this.#workers.length < WORKERS && this.#workers.every((lane) => lane.load > 0)) {
      const worker = new Worker(this.#workerUrl, { type: "module" });
      worker.addEventListener("message", ({ data }) => this.#asked.get(data.id)?.(data));
      worker.addEventListener("error", (event) => {
        for (const answer of [...this.#asked.values()]) {
          answer({ failure: event.message || "the cutter did not start" });
        }
      });
      this.#workers.push({ worker, load: 0 });
    }
    return this.#workers.reduce((least, lane) => (lane.load < least.load ? lane : least));
  }
}

/** The browser could not read a file: it was changed, moved or deleted since it was chosen. */
export class Unreadable extends Error {
  constructor(reason) {
    super(
      `The file could not be read (${reason}). It may have changed or moved since you chose it; ` +
        "nothing of it was saved. Add it again.",
    );
    this.isTransient = false;
  }
}
