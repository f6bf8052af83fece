/** Browsers: the Connect protocol over fetch. Nothing here can block, and there are no files. */

import { createConnectTransport } from "@connectrpc/connect-web";

import type { ConnectOptions, Link, Platform } from "../platform.js";
import { retrying } from "../retry.js";

const ADVICE = "a browser cannot wait for an answer without ceasing to respond: use the form that ends in Async, or callbacks";

const browser: Platform = {
  link(address: string, options: ConnectOptions): Link {
    const baseUrl = /^https?:\/\//.test(address) ? address : `${globalThis.location.protocol}//${address}`;
    const closed = new AbortController();
    const transport = createConnectTransport({
      baseUrl,
      interceptors: [...(options.interceptors ?? []), retrying()],
      useBinaryFormat: true,
      fetch: (input, init) => fetch(input, { ...init, signal: AbortSignal.any([closed.signal, ...(init?.signal ? [init.signal] : [])]) }),
      ...(options.timeoutMs === undefined ? {} : { defaultTimeoutMs: options.timeoutMs }),
    });
    return { transport, close: () => closed.abort() };
  },
  blocking(): never {
    throw new TypeError(ADVICE);
  },
  readFile(path: string): never {
    throw new TypeError(`a browser has no file ${path}: give a URL, or the bytes`);
  },
};

export default browser;
