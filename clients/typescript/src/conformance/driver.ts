/** The conformance driver: calls as they are asked for on standard input, and what came of them on standard output. */

import type { DescMethod } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";

import { Health } from "../gen/grpc/health/v1/health_pb.js";
import { link } from "../node/transport.js";
import { methodNamed } from "../services.js";
import { type Begin, Call } from "./call.js";
import { overConnect, overGrpcWeb } from "./http.js";

type Command = Begin | { id: string; send: string } | { id: string; close: true } | { id: string; cancel: true };

const { values: protocol, positionals } = parseArgs({
  options: { connect: { type: "boolean" }, "grpc-web": { type: "boolean" } },
  allowPositionals: true,
});
const [address] = positionals;
if (!address) throw new Error("usage: conformance-typescript [--connect | --grpc-web] ADDRESS");
const transport = transportTo(address);
const calls = new Map<string, Call>();

function transportTo(address: string): Transport {
  if (protocol.connect) return overConnect(address);
  if (protocol["grpc-web"]) return overGrpcWeb(address);
  return link(address, { timeoutMs: 0 }).transport; // no deadline but those it is asked for
}

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

function begin(command: Begin): void {
  let method: DescMethod;
  try {
    method = health(command.call) ?? methodNamed(command.call);
  } catch {
    say(unknown(command.id));
    return;
  }
  const call = new Call(command, method, say);
  calls.set(command.id, call);
  void call.run(transport).finally(() => calls.delete(command.id));
}

function health(path: string): DescMethod | undefined {
  return Health.methods.find(({ name }) => path === `${Health.typeName}/${name}`);
}

function unknown(id: string): object {
  const ended_ms = performance.timeOrigin + performance.now();
  const nothing = { messages: [], status_details: "", headers: {}, trailers: {}, typed: {} };
  return {
    id,
    code: "UNIMPLEMENTED",
    message: "the driver has no such method",
    ...nothing,
    ended_ms,
    cancelled_ms: null,
  };
}

for await (const line of createInterface({ input: process.stdin })) {
  if (!line.trim()) continue;
  const command = JSON.parse(line) as Command;
  const call = calls.get(command.id);
  if ("call" in command) begin(command);
  else if ("send" in command) call?.send(command.send);
  else if ("close" in command) call?.close();
  else call?.cancel();
}
process.exit(0);
