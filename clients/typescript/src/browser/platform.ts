/** Browsers: the Connect protocol over fetch. Nothing here can block, and there are no files. */

import { Code, ConnectError, type Interceptor } from "@connectrpc/connect";
import { createConnectTransport } from "@connectrpc/connect-web";

import { timed } from "../deadlines.js";
import { misused } from "../errors.js";
import { interceptors } from "../interceptors.js";
import type { ConnectOptions, Link, Platform } from "../platform.js";

const ADVICE =
  "a browser cannot wait for an answer without ceasing to respond: use the form that ends in Async, or callbacks";

const browser: Platform = {
  link(address: string, options: ConnectOptions): Link {
    const baseUrl = /^https?:\/\//.test(address) ? address : `${scheme()}://${address}`;
    const closed = new AbortController();
    const transport = createConnectTransport({
      baseUrl,
      interceptors: [...interceptors(options), lost],
      useBinaryFormat: true,
      fetch: (input, init) => reaching(input, { ...init, signal: either(closed.signal, init?.signal) }),
    });
    return { transport: timed(transport, options), close: () => closed.abort() };
  },
  canBlock: false,
  canTalk: false,
  blocking(): never {
    throw misused(ADVICE);
  },
  readFile(): never {
    throw misused("a browser reads no files: give a URL, or the bytes");
  },
  sha256(): never {
    throw misused("a browser can send pictures of up to 4 MiB only");
  },
};

/** That of the page; a page from disk, or what has no page, says none that a server could be asked by. */
function scheme(): "http" | "https" {
  return globalThis.location?.protocol === "https:" ? "https" : "http";
}

/** A browser says only that it failed to fetch; for everybody else a server that is not there is unavailable. */
async function reaching(input: RequestInfo | URL, init: RequestInit): Promise<Response> {
  try {
    return await fetch(input, init);
  } catch (thrown) {
    throw thrown instanceof TypeError ? unavailable(thrown) : thrown;
  }
}

/** The same of an answer that is cut off: reading it fails with what `fetch` fails with. */
const lost: Interceptor = (next) => async (request) => {
  try {
    const response = await next(request);
    return response.stream ? { ...response, message: told(response.message) } : response;
  } catch (thrown) {
    throw asLost(thrown);
  }
};

async function* told<M>(messages: AsyncIterable<M>): AsyncGenerator<M, void> {
  try {
    yield* messages;
  } catch (thrown) {
    throw asLost(thrown);
  }
}

function asLost(thrown: unknown): unknown {
  if (!(thrown instanceof ConnectError)) return thrown instanceof TypeError ? unavailable(thrown) : thrown;
  const isLost = thrown.code === Code.Unknown && thrown.cause instanceof TypeError;
  return isLost ? unavailable(thrown.cause as TypeError) : thrown;
}

function unavailable(cause: TypeError): ConnectError {
  return new ConnectError(cause.message || "the connection was lost", Code.Unavailable, undefined, undefined, cause);
}

function either(one: AbortSignal, other: AbortSignal | null | undefined): AbortSignal {
  return other ? AbortSignal.any([one, other]) : one;
}

export default browser;
