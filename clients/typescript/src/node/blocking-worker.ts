/** The thread that makes the calls another one waits for. */

import { type DescMethodStreaming, fromBinary, toBinary } from "@bufbuild/protobuf";
import { workerData } from "node:worker_threads";

import { type Answer, invoke } from "../calls.js";
import { ofCall, StepwireError, toFacts } from "../errors.js";
import { LaneQueues } from "../queues.js";
import { methodNamed } from "../services.js";
import { Ringer } from "./bell.js";
import type { Answered, Ask, Birth } from "./messages.js";
import { talk } from "./talk-worker.js";
import { link } from "./transport.js";

const { address, options, port, bell } = workerData as Birth;
const ringer = new Ringer(bell);
process.on("exit", () => ringer.leave()); // the other thread may be waiting
const { transport } = link(address, options);
const lanes = new LaneQueues(address);

port.on("message", (ask: Ask) => {
  ringer.beat();
  if (ask.kind === "post" || ask.kind === "fail") post(ask);
  else if (ask.kind !== "ping") void answer(ask);
});
ringer.beat();
reply({ id: 0 });

function post(ask: Ask): void {
  const { id, lane = "" } = ask;
  const failure = new StepwireError(ask.error?.message ?? "", ask.error);
  const call = ask.kind === "post" ? () => made(ask) : () => Promise.reject(failure);
  lanes.post(lane, call, (outcome) => {
    if (outcome === "held") reply({ id, isHeld: true });
    else reply(outcome ? { id, error: toFacts(outcome) } : { id });
  });
}

async function answer(ask: Ask): Promise<void> {
  try {
    const messages = await done(ask);
    reply({ id: ask.id, messages });
  } catch (thrown) {
    reply({ id: ask.id, error: toFacts(ofCall(thrown, address)) });
  }
}

async function done(ask: Ask): Promise<Uint8Array[]> {
  const { lane } = ask;
  if (ask.kind === "talk" && ask.port) {
    const method = methodNamed(ask.method ?? "") as DescMethodStreaming;
    talk(method, ask.timeoutMs, { transport, address, port: ask.port, ring: () => ringer.ring() });
    return [];
  }
  if (ask.kind === "call") {
    const call = () => made(ask);
    return bytesOf(ask, await (lane === undefined ? call() : lanes.after(lane, call)));
  }
  if (lane !== undefined) await lanes.after(lane, async () => undefined); // a flush
  return [];
}

function made(ask: Ask): Promise<Answer> {
  const method = methodNamed(ask.method ?? "");
  const requests = (ask.requests ?? []).map((bytes) => fromBinary(method.input, bytes));
  return invoke(transport, method, method.methodKind === "unary" ? requests[0] : requests, ask.timeoutMs);
}

function bytesOf(ask: Ask, messages: Answer): Uint8Array[] {
  const { output } = methodNamed(ask.method ?? "");
  return messages.map((message) => toBinary(output, message));
}

function reply(answered: Answered): void {
  port.postMessage(answered);
  ringer.ring();
}
