// The Worker that cuts and hashes files, so that the page stays quick.
//
// In:  { id, file }. Out: { id, hashed } now and then, in bytes, and at the end
// { id, blocks: [{ block_hash, size_bytes }], content_hash } or { id, failure }.
// { id, stop: true } gives a file up; it is then answered no more.

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
    const { id, file } = waiting.shift();
    try {
      if (stopped.has(id)) continue;
      const cut = file.size <= MIN_BLOCK_BYTES ? await wholeFile(file) : await inBlocks(id, file);
      if (cut !== null) self.postMessage({ id, ...cut });
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

async function inBlocks(id, file) {
  const whole = new Sha256();
  const blocks = [];
  const digests = new Set();
  let hashed = 0;
  let toldAt = performance.now();
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
    whole.update(bytes);
    if (digests.size >= MAX_DIGESTS) await Promise.race(digests);
    hashed += bytes.length;
    if (performance.now() - toldAt > 150) {
      toldAt = performance.now();
      self.postMessage({ id, hashed });
    }
  }
  await Promise.all(digests);
  if (hashed !== file.size) throw new Error(`the file ended at ${hashed} of ${file.size} bytes`);
  return { blocks, content_hash: whole.hex() };
}
