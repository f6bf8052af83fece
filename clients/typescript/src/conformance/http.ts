/** The server's HTTP port, over HTTP/1.1: what pages and programs without gRPC have. */

import type { Transport } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";

import { interceptors } from "../interceptors.js";
import { lost } from "../node/lost.js";
import { MAX_READ_BYTES } from "../node/transport.js";

/** Connect, with messages as JSON, which has the most in which client and server could differ. */
export function overConnect(address: string): Transport {
  return createConnectTransport({ ...settings(address), useBinaryFormat: false });
}

/** gRPC-Web, with messages as bytes of protobuf. */
export function overGrpcWeb(address: string): Transport {
  return createGrpcWebTransport({ ...settings(address), useBinaryFormat: true });
}

function settings(address: string) {
  return {
    baseUrl: `http://${address}`,
    httpVersion: "1.1" as const,
    interceptors: [...interceptors({}), lost],
    readMaxBytes: MAX_READ_BYTES,
    acceptCompression: [],
  };
}
