/** Runs a pipeline that calls functions of this program, and answers these calls on the way. */

import platform from "#platform";
import { create } from "@bufbuild/protobuf";

import { refused } from "../errors.js";
import {
  type CallReply,
  type RunInteractiveRequest,
  RunInteractiveRequestSchema,
  type RunStepRequest,
  type RunStepResponse,
} from "../gen/stepwire/v1/step_run_pb.js";
import { type CallOptions, callOptions } from "../options.js";
import type { Services } from "../services.js";
import { Calls } from "./calls.js";
import type { Functions } from "./functions.js";
import { Outbox } from "./outbox.js";

const ADVICE =
  "a browser cannot serve functions to a run, as it sends nothing once it has begun to read: name a step of the " +
  'server, or let the server run the function by itself, as in steps.javascript("(x) => x * 2")';

/** The first message of the caller. */
export function startOf(start: RunStepRequest): RunInteractiveRequest {
  return create(RunInteractiveRequestSchema, { kind: { case: "start", value: start } });
}

/** One of the caller's further messages. */
export function replyOf(reply: CallReply): RunInteractiveRequest {
  return create(RunInteractiveRequestSchema, { kind: { case: "reply", value: reply } });
}

/** Yields the events of a run. Functions are called only while somebody waits for the next of them. */
export async function* interact(
  services: Services,
  start: RunStepRequest,
  functions: Functions,
  options: CallOptions,
): AsyncGenerator<RunStepResponse, void, undefined> {
  if (!platform.canTalk) throw refused(ADVICE, "FIELD_INVALID", "UNIMPLEMENTED");
  const outbox = new Outbox<RunInteractiveRequest>();
  const calls = new Calls(functions, (reply) => outbox.send(replyOf(reply)));
  void outbox.send(startOf(start));
  try {
    for await (const { kind } of services.stepRuns.runInteractive(outbox, callOptions(options))) {
      if (kind.case === "event") yield kind.value;
      else if (kind.case === "call") calls.begin(kind.value);
      else if (kind.case === "cancelCall") calls.cancel(kind.value.callId);
    }
  } finally {
    calls.close();
    outbox.end();
  }
}
