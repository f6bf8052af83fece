/** The thread that makes the calls another one waits for. */

import { type DescMethodStreaming, fromBinary, toBinary } from "@bufbuild/protobuf";
import { workerData } from "node:worker_threads";

import { type Answer, invoke } from "../calls.js";
import { ofCall, StepwireError, toFacts } from "../errors.js";
import { LocalLanes } from "../lanes.js";
import { methodNamed } from "../services.js";
import type { Answered, Ask, Birth } from "./messages.js";
import { talk } from "./talk-worker.js";
import { link } from "./transport.js";

const { address, options, port, bell } = workerData as Birth;
const { transport } = link(address, options);
const lanes = new LocalLanes(transport, address);

port.on("message", (ask: Ask) => {
  void answer(ask);
});
reply({ id: 0 });

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
    talk(method, ask.timeoutMs, { transport, address, port: ask.port, ring });
    return [];
  }
  if (ask.kind === "call") {
    const call = () => made(ask);
    return bytesOf(ask, await (lane === undefined ? call() : lanes.after(lane, call)));
  }
  if (lane === undefined) throw new TypeError("this needs a lane");
  switch (ask.kind) {
    case "post":
      await lanes.behind(lane, () => made(ask));
      break;
    case "fail":
      lanes.fail(lane, new StepwireError(ask.error?.message ?? "", ask.error));
      break;
    case "flush":
      await lanes.flush(lane);
      break;
  }
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
  ring();
}

function ring(): void {
  Atomics.add(bell, 0, 1);
  Atomics.notify(bell, 0);
}
