/** The Connect protocol with JSON, as far as the page needs it: unary calls and server streams over fetch. */

import { readDetails } from "./wire.js";

const END = 2;
const COMPRESSED = 1;
const HEAD_BYTES = 5;
const HEADERS = { "connect-protocol-version": "1" };
const utf8 = new TextEncoder();

/** A call that failed. `code` is Connect's, `reason` a name of `ErrorReason`, or one of ours where no server answered. */
export class RpcError extends Error {
  constructor(code, message, { reason = "", requestId = "", retryAfterS = null, violations = [], isTruncated = false } = {}) {
    super(message);
    Object.assign(this, { name: "RpcError", code, reason, requestId, retryAfterS, violations, isTruncated });
  }
}

/** Makes one call; with `keepalive`, one that outlives the page. Throws RpcError, or the signal's AbortError. */
export async function unary(method, message, { signal, keepalive = false } = {}) {
  const response = await ask(method, "application/json", JSON.stringify(message), { signal, keepalive });
  if (!response.ok) throw await refusal(response);
  try {
    return await response.json();
  } catch (error) {
    throw lost(error, "before the answer was whole");
  }
}

/**
 * Yields the messages of a server stream. Returns only when the server said that the stream is at its end: one that
 * merely stops was cut off, and throws. Leaving the loop, or the signal, ends the call.
 */
export async function* stream(method, message, { signal } = {}) {
  const leaving = new AbortController();
  const either = signal ? AbortSignal.any([signal, leaving.signal]) : leaving.signal;
  const response = await ask(method, "application/connect+json", envelope(message), { signal: either });
  if (!response.ok || !response.headers.get("content-type")?.startsWith("application/connect+json")) throw await refusal(response);
  const reader = response.body.getReader();
  const frames = new Frames();
  try {
    for (;;) {
      let read;
      try {
        read = await reader.read();
      } catch (error) {
        throw lost(error, "in the middle");
      }
      if (read.done) throw lost(null, "in the middle");
      for (const { flags, body } of frames.push(read.value)) {
        if (flags & COMPRESSED) throw new RpcError("internal", "The server compressed a message, which nobody asked for.");
        const value = JSON.parse(body);
        if (!(flags & END)) yield value;
        else if (value.error) throw failed(value.error, requestIdOf(response, value.metadata));
        else return;
      }
    }
  } finally {
    leaving.abort();
  }
}

async function ask(method, type, body, options) {
  try {
    // `connect-protocol-version` is not on the list of simple headers, so no other origin can send this unasked.
    const headers = { ...HEADERS, "content-type": type };
    return await fetch(`/stepwire.v1.${method}`, { method: "POST", headers, body, cache: "no-store", ...options });
  } catch (error) {
    throw lost(error);
  }
}

/** What became of a connection: the wish of our own side, or a failure. */
function lost(error, when = "") {
  if (error?.name === "AbortError") return error;
  if (!when) return new RpcError("unavailable", "The server cannot be reached.", { reason: "SERVER_UNREACHABLE" });
  return new RpcError("unavailable", `The connection was lost ${when}.`, { reason: "CONNECTION_LOST", isTruncated: true });
}

async function refusal(response) {
  const requestId = requestIdOf(response);
  let body;
  try {
    body = await response.json();
  } catch {
    body = {};
  }
  const retryAfter = Number(response.headers.get("retry-after")) || null;
  if (body.code) return failed(body, requestId, retryAfter);
  // Not from the RPCs but from the front before them, or from a proxy.
  const message = body.error?.message ?? `The server answered ${response.status} ${response.statusText}`.trimEnd();
  return new RpcError("unknown", message, { reason: String(body.error?.code ?? `HTTP_${response.status}`), requestId, retryAfterS: retryAfter });
}

function failed(error, requestId, retryAfterS = null) {
  const told = readDetails(error.details);
  return new RpcError(error.code ?? "unknown", error.message || error.code || "The call failed.", { requestId, retryAfterS, ...told });
}

function requestIdOf(response, metadata = {}) {
  return metadata["x-request-id"]?.[0] ?? response.headers.get("x-request-id") ?? response.headers.get("trailer-x-request-id") ?? "";
}

function envelope(message) {
  const body = utf8.encode(JSON.stringify(message));
  const framed = new Uint8Array(HEAD_BYTES + body.length);
  new DataView(framed.buffer).setUint32(1, body.length);
  framed.set(body, HEAD_BYTES);
  return framed;
}

/** Cuts what was read into frames, however it was cut on its way. */
export class Frames {
  #bytes = new Uint8Array(16384);
  #size = 0;
  #text = new TextDecoder();

  push(chunk) {
    this.#add(chunk);
    const found = [];
    let at = 0;
    const view = new DataView(this.#bytes.buffer);
    while (this.#size - at >= HEAD_BYTES) {
      const end = at + HEAD_BYTES + view.getUint32(at + 1);
      if (end > this.#size) break;
      found.push({ flags: this.#bytes[at], body: this.#text.decode(this.#bytes.subarray(at + HEAD_BYTES, end)) });
      at = end;
    }
    this.#bytes.copyWithin(0, at, this.#size);
    this.#size -= at;
    return found;
  }

  #add(chunk) {
    const needed = this.#size + chunk.length;
    if (needed > this.#bytes.length) {
      const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length)); // doubled, so that growing stays cheap
      larger.set(this.#bytes.subarray(0, this.#size));
      this.#bytes = larger;
    }
    this.#bytes.set(chunk, this.#size);
    this.#size = needed;
  }
}
