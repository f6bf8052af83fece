/** What may be said of any call. */

import type { CallOptions as ConnectCallOptions } from "@connectrpc/connect";

/** What may be said of any call. */
export interface CallOptions {
  /** Ends the call when it aborts, and with it what the server is doing; the error's `name` is `AbortError`. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until it fails with `DEADLINE_EXCEEDED`. 0: no limit. Default: that of `connect`. */
  readonly timeoutMs?: number | undefined;
}

/** The same, as Connect wants it, which takes undefined for a value. */
export function callOptions({ signal, timeoutMs }: CallOptions, headers?: Record<string, string>): ConnectCallOptions {
  return {
    ...(signal === undefined ? {} : { signal }),
    ...(timeoutMs === undefined ? {} : { timeoutMs }),
    ...(headers === undefined ? {} : { headers }),
  };
}
