/** What every call passes through, on either platform. */

import type { Interceptor } from "@connectrpc/connect";

import type { ConnectOptions } from "./platform.js";
import { retrying } from "./retry.js";

/** Adds `headers` to every call; a call's own win. */
export function interceptors(options: ConnectOptions, headers: Readonly<Record<string, string>> = {}): Interceptor[] {
  const all = Object.entries({ ...headers, ...options.headers });
  const adding: Interceptor = (next) => (request) => {
    for (const [name, value] of all) if (!request.header.has(name)) request.header.set(name, value);
    return next(request);
  };
  return [adding, retrying()];
}
