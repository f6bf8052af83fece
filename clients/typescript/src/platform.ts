/** What differs between Node and browsers. `#platform` is one of `node/platform.ts` and `browser/platform.ts`. */

import type { Interceptor, Transport } from "@connectrpc/connect";

import type { Blocking } from "./blocking.js";

/** How to connect. */
export interface ConnectOptions {
  /** Further interceptors of Connect, outermost first: to add a header to every call, for example. */
  readonly interceptors?: readonly Interceptor[];
  /** Milliseconds for every call that is given no `timeoutMs`. Default: none. */
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
  /** The bytes of a file. Browsers refuse that. */
  readFile(path: string): Uint8Array;
}
