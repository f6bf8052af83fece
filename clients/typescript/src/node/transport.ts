/** The connection from Node: gRPC over HTTP/2, watched with pings as often as the server allows. */

import { Code, ConnectError } from "@connectrpc/connect";
import { createGrpcTransport, Http2SessionManager } from "@connectrpc/connect-node";
import type { ClientHttp2Stream } from "node:http2";

import { timed } from "../deadlines.js";
import { interceptors } from "../interceptors.js";
import type { ConnectOptions, Link } from "../platform.js";
import { VERSION } from "../version.js";
import { lost } from "./lost.js";

/** Twice the largest message that the server sends. */
export const MAX_READ_BYTES = 8 * 1024 * 1024;

/**
 * A server that is gone without a word is found within 40 s. The server allows a ping every 10 s; pings that a server
 * does not allow end the connection, and with it calls that are then made, and paid, twice.
 */
const KEEPALIVE = { pingIntervalMs: 30_000, pingTimeoutMs: 10_000 } as const;

/** Connects to `host:port`, or to `http://host:port`. */
export function link(address: string, options: ConnectOptions): Link {
  const baseUrl = /^https?:\/\//.test(address) ? address : `http://${address}`;
  const sessionManager = new SessionManager(baseUrl, KEEPALIVE);
  const transport = createGrpcTransport({
    baseUrl,
    sessionManager,
    interceptors: [...interceptors(options, { "user-agent": `stepwire-typescript/${VERSION}` }), lost],
    readMaxBytes: MAX_READ_BYTES,
    acceptCompression: [], // of a token at a time there is nothing to compress
  });
  return { transport: timed(transport, options), close: () => sessionManager.end() };
}

/**
 * Connect stops listening to a session that it gives up while that still closes, after a GOAWAY for example. The error
 * with which it closes would then end the whole process. And what it has aborted, it begins anew for the next request.
 */
class SessionManager extends Http2SessionManager {
  readonly #heard = new WeakSet<object>();
  #hasEnded = false;

  /** Ends it and all calls on it, those too that were about to begin. */
  end(): void {
    this.#hasEnded = true;
    this.abort();
  }

  override async request(...given: Parameters<Http2SessionManager["request"]>): Promise<ClientHttp2Stream> {
    if (this.#hasEnded) throw new ConnectError("the connection was closed", Code.Canceled);
    const stream = await super.request(...given);
    const { session } = stream;
    if (session && !this.#heard.has(session)) {
      this.#heard.add(session);
      session.on("error", () => {});
    }
    return stream;
  }
}
