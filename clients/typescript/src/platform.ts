/** What differs between Node and browsers. `#platform` is one of `node/platform.ts` and `browser/platform.ts`. */

import type { Transport } from "@connectrpc/connect";

import type { Blocking } from "./blocking.js";

/** How to connect. */
export interface ConnectOptions {
  /** Sent with every call. */
  readonly headers?: Readonly<Record<string, string>>;
  /**
   * Milliseconds for every call that is given no `timeoutMs`, save those of `watch` and of workers; 0 for no limit. Default:
   * 60,000 for a call that is answered once; 600,000 for one in which a model works, that sends a file, or that waits for
   * all results of a run; none for streams.
   */
  readonly timeoutMs?: number;
}

/** A connection to one server. */
export interface Link {
  readonly transport: Transport;
  /** Ends it and all calls on it. */
  close(): void;
}

/** Each of the two platforms. */
export interface Platform {
  /** Connects to `host:port`, or to a URL; nothing is sent before the first call. */
  link(address: string, options: ConnectOptions): Link;
  /** Makes what blocks this thread until the server has answered. Browsers refuse that. */
  blocking(address: string, options: ConnectOptions): Blocking;
  /** Whether `blocking` works here. */
  readonly canBlock: boolean;
  /** Whether a call can still send once it has begun to read. */
  readonly canTalk: boolean;
  /** The bytes of a file, which a path or a `file` URL names. Browsers refuse that. */
  readFile(path: string): Uint8Array<ArrayBuffer>;
  /** The SHA-256 of bytes, in hexadecimal digits. Browsers have none that answers at once. */
  sha256(bytes: Uint8Array): string;
}
