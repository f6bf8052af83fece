/** How long calls may take that are given no time. */

import type { DescMethod } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";

import type { ConnectOptions } from "./platform.js";

/** Of a call that is answered once. */
const QUICK_MS = 60_000;
/** Of one in which a model works, or that sends a file: what a server grants a model for one reply. */
const LONG_MS = 600_000;

const LONG: Readonly<Record<string, readonly string[]>> = {
  "stepwire.v1.ChatService": ["Chat"],
  "stepwire.v1.EmbedService": ["Embed", "Search"],
  "stepwire.v1.StepRunService": ["CollectStep"],
};

/** Gives each call its time, where the caller gives it none. 0 is no limit. */
export function timed(transport: Transport, { timeoutMs }: ConnectOptions): Transport {
  return {
    unary: (method, signal, given, ...rest) =>
      transport.unary(method, signal, given ?? timeoutMs ?? limitOf(method), ...rest),
    stream: (method, signal, given, ...rest) =>
      transport.stream(method, signal, given ?? timeoutMs ?? limitOf(method), ...rest),
  };
}

/** The time of a run whose results are all waited for. It is a stream, of which others have no limit. */
export function collectingMs(given: number | undefined, { timeoutMs }: ConnectOptions): number {
  return given ?? timeoutMs ?? LONG_MS;
}

function limitOf({ methodKind, name, parent }: DescMethod): number | undefined {
  if (methodKind === "client_streaming") return LONG_MS;
  if (methodKind !== "unary") return undefined;
  return LONG[parent.typeName]?.includes(name) ? LONG_MS : QUICK_MS;
}
