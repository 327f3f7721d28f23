// The Worker that cuts and hashes files, so that the page stays quick.
//
// In: { id, file, part }. Out: { id, hashed } now and then, in bytes, and at the end what was
// asked for, or { id, failure }. Of a small file, part "all", that is
// { id, blocks: [{ block_hash, size_bytes }], content_hash }. Of a larger one the two come from
// two questions, "blocks" and "content_hash", which two Workers may answer at a time.
// { id, stop: true } gives a question up; it is then answered no more.

import { MIN_BLOCK_BYTES, blocksOf } from "./chunker.js";
import { Sha256, sha256Hex } from "./sha256.js";

const EMPTY = new Sha256().hex();
// Digests that may be under way beside the cutting: each holds a copy of its block.
const MAX_DIGESTS = 4;

const waiting = [];
const stopped = new Set();
let isBusy = false;

self.addEventListener("message", ({ data }) => {
  if (data.stop) {
    stopped.add(data.id);
    return;
  }
  waiting.push(data);
  if (!isBusy) work();
});

async function work() {
  isBusy = true;
  while (waiting.length > 0) {
    const { id, file, part } = waiting.shift();
    try {
      if (stopped.has(id)) continue;
      const found = await PARTS[part](file, id);
      if (found !== null) self.postMessage({ id, ...found });
    } catch (error) {
      self.postMessage({ id, failure: `${error.name}: ${error.message}` });
    } finally {
      stopped.delete(id);
    }
  }
  isBusy = false;
}

async function wholeFile(file) {
  const bytes = new Uint8Array(await file.arrayBuffer());
  if (bytes.length === 0) return { blocks: [], content_hash: EMPTY };
  const hash = await sha256Hex(bytes);
  return { blocks: [{ block_hash: hash, size_bytes: bytes.length }], content_hash: hash };
}

async function blocksOfFile(file, id) {
  const blocks = [];
  const digests = new Set();
  const tell = teller(id);
  let seen = 0;
  for await (const bytes of blocksOf(file.stream())) {
    if (stopped.has(id)) return null;
    const block = { block_hash: "", size_bytes: bytes.length };
    blocks.push(block);
    // WebCrypto copies its input at once and works on another thread meanwhile.
    const digest = sha256Hex(bytes).then((hash) => {
      block.block_hash = hash;
      digests.delete(digest);
    });
    digests.add(digest);
    if (digests.size >= MAX_DIGESTS) await Promise.race(digests);
    seen += bytes.length;
    tell(seen);
  }
  await Promise.all(digests);
  checkSize(file, seen);
  return { blocks };
}

async function contentHash(file, id) {
  const whole = new Sha256();
  const tell = teller(id);
  const reader = file.stream().getReader();
  let seen = 0;
  for (;;) {
    const { done, value } = await reader.read();
    if (done) break;
    if (stopped.has(id)) {
      await reader.cancel();
      return null;
    }
    whole.update(value);
    seen += value.length;
    tell(seen);
  }
  checkSize(file, seen);
  return { content_hash: whole.hex() };
}

const PARTS = { all: wholeFile, blocks: blocksOfFile, content_hash: contentHash };

/** Tells the page how far a file is, but not all the time. */
function teller(id) {
  let toldAt = performance.now();
  return (hashed) => {
    if (performance.now() - toldAt < 150) return;
    toldAt = performance.now();
    self.postMessage({ id, hashed });
  };
}

function checkSize(file, seen) {
  if (seen !== file.size) throw new Error(`the file ended at ${seen} of ${file.size} bytes`);
}
