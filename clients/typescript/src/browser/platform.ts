/** Browsers: the Connect protocol over fetch. Nothing here can block, and there are no files. */

import { Code, ConnectError } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";

import { interceptors } from "../interceptors.js";
import type { ConnectOptions, Link, Platform } from "../platform.js";

const ADVICE =
  "a browser cannot wait for an answer without ceasing to respond: use the form that ends in Async, or callbacks";

const browser: Platform = {
  link(address: string, options: ConnectOptions): Link {
    const baseUrl = /^https?:\/\//.test(address) ? address : `${globalThis.location.protocol}//${address}`;
    const closed = new AbortController();
    const transport = createConnectTransport({
      baseUrl,
      interceptors: interceptors(options),
      useBinaryFormat: true,
      fetch: (input, init) => reaching(input, { ...init, signal: either(closed.signal, init?.signal) }),
      ...(options.timeoutMs === undefined ? {} : { defaultTimeoutMs: options.timeoutMs }),
    });
    return { transport, close: () => closed.abort() };
  },
  canBlock: false,
  blocking(): never {
    throw new TypeError(ADVICE);
  },
  readFile(path: string): never {
    throw new TypeError(`a browser has no file ${path}: give a URL, or the bytes`);
  },
  sha256(): never {
    throw new TypeError("a browser can send pictures of up to 4 MiB only");
  },
};

/** A browser says only that it failed to fetch; for everybody else a server that is not there is unavailable. */
async function reaching(input: RequestInfo | URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(input, init);
  } catch (thrown) {
    if (thrown instanceof TypeError) throw new ConnectError(thrown.message, Code.Unavailable);
    throw thrown;
  }
}

function either(one: AbortSignal, other: AbortSignal | null | undefined): AbortSignal {
  return other ? AbortSignal.any([one, other]) : one;
}

export default browser;
