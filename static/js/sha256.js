// SHA-256 (FIPS 180-4) in plain JavaScript: for whole files, which WebCrypto cannot hash
// piece by piece, and for pages over plain http, where browsers offer no WebCrypto.

/** The first 32 bits of the fractional part of `value`. */
function fraction(value) {
  return ((value - Math.floor(value)) * 0x100000000) | 0;
}

function firstPrimes(count) {
  const primes = [];
  for (let n = 2; primes.length < count; n++) {
    if (primes.every((prime) => n % prime !== 0)) primes.push(n);
  }
  return primes;
}

// The standard's constants: of the cube roots and square roots of the first primes.
const ROUND = Int32Array.from(firstPrimes(64), (prime) => fraction(Math.cbrt(prime)));
const INITIAL = Int32Array.from(firstPrimes(8), (prime) => fraction(Math.sqrt(prime)));

/** A hash that takes its input in pieces: `update(bytes)` any number of times, then `hex()`. */
export class Sha256 {
  #state = INITIAL.slice();
  #words = new Int32Array(64);
  #buffer = new Uint8Array(64);
  #buffered = 0;
  #length = 0;

  update(bytes) {
    this.#length += bytes.length;
    let at = 0;
    if (this.#buffered > 0) {
      at = Math.min(64 - this.#buffered, bytes.length);
      this.#buffer.set(bytes.subarray(0, at), this.#buffered);
      this.#buffered += at;
      if (this.#buffered < 64) return this;
      this.#compress(this.#buffer, 0, 64);
      this.#buffered = 0;
    }
    const whole = at + Math.floor((bytes.length - at) / 64) * 64;
    this.#compress(bytes, at, whole);
    this.#buffer.set(bytes.subarray(whole));
    this.#buffered = bytes.length - whole;
    return this;
  }

  /** The digest of all that came so far, in lower-case hex. Ends the hash. */
  hex() {
    const bits = this.#length * 8;
    const padded = new Uint8Array(this.#buffered < 56 ? 64 : 128);
    padded.set(this.#buffer.subarray(0, this.#buffered));
    padded[this.#buffered] = 0x80;
    const view = new DataView(padded.buffer);
    view.setUint32(padded.length - 8, Math.floor(bits / 0x100000000));
    view.setUint32(padded.length - 4, bits >>> 0);
    this.#compress(padded, 0, padded.length);
    return Array.from(this.#state, (word) => (word >>> 0).toString(16).padStart(8, "0")).join("");
  }

  #compress(bytes, start, end) {
    const words = this.#words;
    const state = this.#state;
    for (let at = start; at < end; at += 64) {
      for (let i = 0, from = at; i < 16; i++, from += 4) {
        words[i] =
          (bytes[from] << 24) | (bytes[from + 1] << 16) | (bytes[from + 2] << 8) | bytes[from + 3];
      }
      for (let i = 16; i < 64; i++) {
        const early = words[i - 15];
        const late = words[i - 2];
        const small0 =
          ((early >>> 7) | (early << 25)) ^ ((early >>> 18) | (early << 14)) ^ (early >>> 3);
        const small1 = ((late >>> 17) | (late << 15)) ^ ((late >>> 19) | (late << 13)) ^ (late >>> 10);
        words[i] = (words[i - 16] + small0 + words[i - 7] + small1) | 0;
      }
      let a = state[0];
      let b = state[1];
      let c = state[2];
      let d = state[3];
      let e = state[4];
      let f = state[5];
      let g = state[6];
      let h = state[7];
      for (let i = 0; i < 64; i++) {
        const big1 = ((e >>> 6) | (e << 26)) ^ ((e >>> 11) | (e << 21)) ^ ((e >>> 25) | (e << 7));
        const first = (h + big1 + (g ^ (e & (f ^ g))) + ROUND[i] + words[i]) | 0;
        const big0 = ((a >>> 2) | (a << 30)) ^ ((a >>> 13) | (a << 19)) ^ ((a >>> 22) | (a << 10));
        const second = (big0 + ((a & b) | (c & (a | b)))) | 0;
        h = g;
        g = f;
        f = e;
        e = (d + first) | 0;
        d = c;
        c = b;
        b = a;
        a = (first + second) | 0;
      }
      state[0] += a;
      state[1] += b;
      state[2] += c;
      state[3] += d;
      state[4] += e;
      state[5] += f;
      state[6] += g;
      state[7] += h;
    }
  }
}

/** The SHA-256 of some bytes in lower-case hex: by WebCrypto where there is one. */
export async function sha256Hex(bytes) {
  if (globalThis.crypto?.subtle === undefined) return new Sha256().update(bytes).hex();
  const digest = new Uint8Array(await crypto.subtle.digest("SHA-256", bytes));
  return Array.from(digest, (byte) => byte.toString(16).padStart(2, "0")).join("");
}
