// Content-defined cutting in the browser: FastCDC 2020, at the same places as the sync
// client. Blocks are 256 KiB to 4 MiB, 1 MiB on average, normalisation 2.
//
// The hash has 64 bits, of which no mask looks above bit 47, and a sum never carries
// downwards: so the low 48 bits are enough. They are kept in two numbers of 24 bits each,
// which stay small integers in every engine (BigInt would be fifty times slower).

import { GEAR_HIGH, GEAR_LOW } from "./gear.js";

export const MIN_BLOCK_BYTES = 256 * 1024;
export const AVERAGE_BLOCK_BYTES = 1024 * 1024;
export const MAX_BLOCK_BYTES = 4 * 1024 * 1024;

const HALF = 0xffffff;
// The padded masks of the paper's reference code for 2^22 (before the average, where a cut
// should be rare) and 2^18 (after it), split like the hash: bits 47 to 24, bits 23 to 0.
const RARE_HIGH = 0xd93767;
const RARE_LOW = 0x537000;
const OFTEN_HIGH = 0xd90707;
const OFTEN_LOW = 0x537000;

/**
 * The length of the first block of `bytes`.
 *
 * `bytes` must hold MAX_BLOCK_BYTES, or all that is left of the file.
 */
export function firstCut(bytes) {
  if (bytes.length <= MIN_BLOCK_BYTES) return bytes.length;
  const length = Math.min(bytes.length, MAX_BLOCK_BYTES);
  // The reference looks at bytes in pairs, so an odd last byte is never looked at.
  const end = length - (length % 2);
  const middle = Math.min(end, AVERAGE_BLOCK_BYTES);
  let high = 0;
  let low = 0;
  let at = MIN_BLOCK_BYTES;
  for (; at < middle; at++) {
    const byte = bytes[at];
    low = (low << 1) + GEAR_LOW[byte];
    high = ((high << 1) + GEAR_HIGH[byte] + (low >>> 24)) & HALF;
    low &= HALF;
    if ((high & RARE_HIGH) === 0 && (low & RARE_LOW) === 0) return at;
  }
  for (; at < end; at++) {
    const byte = bytes[at];
    low = (low << 1) + GEAR_LOW[byte];
    high = ((high << 1) + GEAR_HIGH[byte] + (low >>> 24)) & HALF;
    low &= HALF;
    if ((high & OFTEN_HIGH) === 0 && (low & OFTEN_LOW) === 0) return at;
  }
  return length;
}

/**
 * Cut a stream into blocks, in order, one in memory at a time.
 *
 * Yields Uint8Arrays that are good until the next one is asked for. An empty stream gives
 * none. `stream` is a ReadableStream of bytes, such as `file.stream()`.
 */
export async function* blocksOf(stream) {
  const window = new Uint8Array(2 * MAX_BLOCK_BYTES);
  let start = 0;
  let filled = 0;
  const reader = stream.getReader();
  try {
    let rest = null;
    let isOver = false;
    while (true) {
      while (!isOver && filled - start < MAX_BLOCK_BYTES) {
        if (rest === null || rest.length === 0) {
          const { done, value } = await reader.read();
          if (done) {
            isOver = true;
            break;
          }
          rest = value;
        }
        if (filled === window.length || start > MAX_BLOCK_BYTES) {
          window.copyWithin(0, start, filled);
          filled -= start;
          start = 0;
        }
        const taken = rest.subarray(0, window.length - filled);
        window.set(taken, filled);
        filled += taken.length;
        rest = rest.subarray(taken.length);
      }
      if (filled === start) return;
      const length = firstCut(window.subarray(start, filled));
      yield window.subarray(start, start + length);
      start += length;
    }
  } finally {
    reader.releaseLock();
  }
}
