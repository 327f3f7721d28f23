// Blocks on their way to the object store, by the URLs that the server has signed.

import { api, Problem, request } from "./api.js";
import { sha256Hex } from "./sha256.js";

const PUTS_PER_FILE = 4;
const URLS_PER_CALL = 100;
// A tab that is closed sends so many again at most, and those on their way.
const REPORT_EVERY = 24;
const MAX_PACK_BYTES = 8 * 1024 * 1024;
const URL_ATTEMPTS = 6;
// The browser writes these itself and lets nobody else do so.
const OWN_HEADERS = new Set(["content-length", "host"]);

/** The store refused a URL: it has expired, or its place is gone. A new one is needed. */
class NewUrlNeeded extends Error {}

async function put({ method, url, headers }, body, signal) {
  const sent = Object.entries(headers).filter(([name]) => !OWN_HEADERS.has(name.toLowerCase()));
  const answer = await request(url, {
    method,
    headers: Object.fromEntries(sent),
    body,
    // The URL is the permission; the session has no business with the store.
    credentials: "omit",
    signal,
  });
  // Read to its end, though it says nothing: else the connection is thrown away.
  await answer.arrayBuffer();
  // 412: these very bytes were there already. The server verifies them in any case.
  if (answer.ok || answer.status === 412) return;
  if ([400, 403, 404, 410].includes(answer.status)) throw new NewUrlNeeded();
  throw new Problem(answer.status < 500 ? answer.status : 503, {
    detail: `The store answered ${answer.status}.`,
  });
}

/** Send all blocks of a larger file that the server still needs, a few at a time. */
export async function sendBlocks(task, { persist, onProgress }) {
  const { upload, file } = task;
  const signal = task.controller.signal;
  const todo = [];
  let offset = 0;
  const seen = new Set();
  for (const block of task.blocks) {
    const isNeeded = upload.states.get(block.block_hash) === "send" && !seen.has(block.block_hash);
    if (isNeeded) todo.push({ ...block, offset });
    seen.add(block.block_hash);
    offset += block.size_bytes;
  }
  let reported = [];

  const askUrls = async (wanted) => {
    const done = reported.splice(0, 1000);
    const answer = await persist(
      () => api("POST", `/files/upload/${upload.id}/urls`, { done, want: wanted }, { signal }),
      [task],
    );
    for (const signed of answer.uploads) upload.urls.set(signed.block_hash, signed);
  };

  // One question for many blocks at a time, and only one at once.
  let asking = null;
  const urlOf = async (block) => {
    while (!upload.urls.has(block.block_hash)) {
      if (asking === null) {
        const wanted = [block, ...todo]
          .map(({ block_hash }) => block_hash)
          .filter((hash, index, all) => !upload.urls.has(hash) && all.indexOf(hash) === index)
          .slice(0, URLS_PER_CALL);
        asking = askUrls(wanted).finally(() => (asking = null));
        await asking;
        if (!upload.urls.has(block.block_hash)) return null;
      } else {
        await asking;
      }
    }
    return upload.urls.get(block.block_hash);
  };

  const sendOne = async (block) => {
    for (let attempt = 1; ; attempt++) {
      const signed = await urlOf(block);
      // No URL: another upload has brought the block meanwhile.
      if (signed === null) return;
      try {
        const bytes = file.slice(block.offset, block.offset + block.size_bytes);
        await persist(() => put(signed, bytes, signal), [task]);
        return;
      } catch (error) {
        if (!(error instanceof NewUrlNeeded) || attempt === URL_ATTEMPTS) throw error;
        upload.urls.delete(block.block_hash);
      }
    }
  };

  const lane = async () => {
    for (let block = todo.shift(); block !== undefined; block = todo.shift()) {
      signal.throwIfAborted();
      await sendOne(block);
      upload.states.set(block.block_hash, "sent");
      task.sentBytes += block.size_bytes;
      reported.push(block.block_hash);
      onProgress();
      // Verified as they arrive, so that the commit has little left to look at.
      if (reported.length >= REPORT_EVERY) await askUrls([]);
    }
  };
  await Promise.all(Array.from({ length: PUTS_PER_FILE }, lane));
}

/** Send the new blocks of many small files in one PUT: each such file is one block. */
export async function sendPack(tasks, { persist, onProgress }) {
  const contents = new Map();
  for (const task of tasks) {
    const [block] = task.blocks;
    if (block !== undefined && task.upload.states.get(block.block_hash) === "send") {
      contents.set(block.block_hash, { ...block, file: task.file });
    }
  }
  const packs = [[]];
  let filled = 0;
  for (const block of contents.values()) {
    if (filled + block.size_bytes > MAX_PACK_BYTES) {
      packs.push([]);
      filled = 0;
    }
    packs.at(-1).push(block);
    filled += block.size_bytes;
  }
  for (const blocks of packs) {
    if (blocks.length > 0) await sendOnePack(blocks, tasks, persist);
  }
  for (const task of tasks) {
    for (const { block_hash, size_bytes } of task.blocks) {
      if (task.upload.states.get(block_hash) !== "send") continue;
      task.upload.states.set(block_hash, "sent");
      task.sentBytes = size_bytes;
    }
  }
  onProgress();
}

async function sendOnePack(blocks, tasks, persist) {
  const bytes = new Uint8Array(await new Blob(blocks.map(({ file }) => file)).arrayBuffer());
  let offset = 0;
  const item = {
    sha256: await sha256Hex(bytes),
    size_bytes: bytes.length,
    blocks: blocks.map(({ block_hash, size_bytes }) => {
      offset += size_bytes;
      return { block_hash, offset: offset - size_bytes, size_bytes };
    }),
  };
  for (let attempt = 1; ; attempt++) {
    const answer = await persist(
      () => api("POST", "/files/upload/packs", { items: [item] }),
      tasks,
    );
    const [signed] = answer.items;
    if (signed.problem) throw new Problem(signed.status, signed.problem);
    try {
      await persist(() => put(signed, bytes), tasks);
      return;
    } catch (error) {
      if (!(error instanceof NewUrlNeeded) || attempt === URL_ATTEMPTS) throw error;
    }
  }
}
