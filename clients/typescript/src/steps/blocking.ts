/** Runs pipelines while this thread waits, and calls functions of this program on it meanwhile. */

import type { BlockingTalk } from "../blocking.js";
import type { Core } from "../core.js";
import { collectingMs } from "../deadlines.js";
import { ofFunction, refused, StepwireError } from "../errors.js";
import { context, done, find, isGenerator, output, reply, sized, valueOf } from "../functions/calls.js";
import type { Functions } from "../functions/functions.js";
import { replyOf, startOf } from "../functions/interactive.js";
import {
  type Call,
  type CallReply,
  ErrorMode,
  type RunInteractiveRequestSchema as Requests,
  type RunInteractiveResponse,
  type RunInteractiveResponseSchema as Responses,
  type RunStepResponse,
  StepRunService,
} from "../gen/stepwire/v1/step_run_pb.js";
import type { RunResults } from "./results.js";
import {
  cutOff,
  Gathering,
  type Prepared,
  prepare,
  refuseRestarted,
  type RunOptions,
} from "./run.js";
import type { StepLike } from "./spec.js";
import { filledBlocking, type Unread } from "./values.js";

const CANNOT_WAIT =
  "the function returned a promise, for which a blocked thread cannot wait: start the step with startAsync, " +
  "or have the function use startBlocking itself";

/** Runs a step, waits, and returns all values; fails as the first item did that failed. */
export function collectBlocking(
  core: Core,
  step: StepLike,
  input: unknown,
  options: Omit<RunOptions, "signal">,
): RunResults {
  const { blocking } = core;
  const prepared = prepare(step, input, ErrorMode.FAIL_FAST, options.runId);
  filledBlocking(prepared.unread);
  const call = { timeoutMs: collectingMs(options.timeoutMs, core.options) };
  if (prepared.functions.size === 0 && prepared.functions.watchers.length === 0) {
    return whole(blocking.collect(StepRunService.method.runStep, prepared.request, call), prepared);
  }
  const talk = blocking.talk(StepRunService.method.runInteractive, call);
  try {
    talk.send(startOf(prepared.request));
    return gathered(talk, prepared);
  } catch (thrown) {
    if (thrown instanceof Told) throw thrown.error;
    if (!(thrown instanceof StepwireError)) throw thrown;
    throw failed(prepared, thrown);
  } finally {
    talk.close();
  }
}

/** Tells those who watch of the error that the run has ended with. */
function failed({ functions, watching }: Prepared, thrown: StepwireError): StepwireError {
  const error = functions.explain(thrown);
  try {
    for (const [callback, given] of watching.fail(error)) told(callback, given);
  } catch (thrown) {
    return thrown instanceof Told ? thrown.error : (thrown as StepwireError);
  }
  return error;
}

/** The results of a run that needs nothing of this program meanwhile. */
function whole(responses: readonly RunStepResponse[], { functions }: Prepared): RunResults {
  const gathering = new Gathering(functions);
  for (const response of responses) {
    refuseRestarted(response);
    gathering.take(response);
  }
  if (responses.at(-1)?.event.case !== "finished") throw cutOff();
  return gathering.results();
}

type Talk = BlockingTalk<typeof Requests, typeof Responses>;

function gathered(talk: Talk, { functions, watching }: Prepared): RunResults {
  const gathering = new Gathering(functions);
  let isFinished = false;
  for (let said = next(talk, isFinished); said; said = next(talk, isFinished)) {
    const { kind } = said;
    if (kind.case === "call") answer(talk, functions, kind.value);
    if (kind.case !== "event") continue;
    refuseRestarted(kind.value);
    for (const [callback, given] of watching.hear(kind.value)) told(callback, given);
    gathering.take(kind.value);
    isFinished = kind.value.event.case === "finished";
  }
  if (!isFinished) throw cutOff();
  return gathering.results();
}

function next(talk: Talk, isFinished: boolean): RunInteractiveResponse | undefined {
  try {
    return talk.receive();
  } catch (thrown) {
    if (isFinished) return undefined; // nothing was missing but the status
    throw thrown;
  }
}

/** What a callback threw, which nobody else is told of. */
class Told extends Error {
  constructor(readonly error: StepwireError) {
    super(error.message);
  }
}

function told(callback: (given: unknown) => unknown, given: unknown): void {
  let returned: unknown;
  try {
    returned = callback(given);
  } catch (cause) {
    throw new Told(ofFunction(cause));
  }
  if (isPromise(returned)) throw refused(CANNOT_WAIT, "FIELD_INVALID");
}

function answer(talk: Talk, functions: Functions, call: Call): void {
  const send = (said: CallReply) => talk.send(replyOf(said));
  try {
    const served = find(functions, call);
    const given = functions.given(served, call);
    const value = (result: unknown) => {
      const unread: Unread = [];
      const made = valueOf(served, result, given, unread);
      filledBlocking(unread);
      return sized(made);
    };
    // Nobody can abort the signal of a function that this very thread is in.
    const returned = served.closure(...given, context(call, new AbortController().signal));
    if (!isGenerator(returned)) return send(done(call, [value(now(returned))]));
    if (Symbol.asyncIterator in returned) throw new TypeError(CANNOT_WAIT);
    for (const item of returned) {
      send(output(call, value(now(item))));
      if (isLeft(talk, call)) return;
    }
    send(done(call, []));
  } catch (thrown) {
    send(reply(call, { case: "error", value: functions.note(thrown) }));
  }
}

/** Whether nobody needs the answer to a call any more. */
function isLeft(talk: Talk, { callId }: Call): boolean {
  const isMeant = ({ kind }: RunInteractiveResponse) => kind.case === "cancelCall" && kind.value.callId === callId;
  return talk.waiting().some(isMeant) || talk.isEnded;
}

/** What a function returned, if it is there already. */
function now(returned: unknown): unknown {
  if (!isPromise(returned)) return returned;
  returned.then(undefined, () => undefined); // its own failure is of no interest any more
  throw new TypeError(CANNOT_WAIT);
}

function isPromise(returned: unknown): returned is PromiseLike<unknown> {
  return typeof returned === "object" && returned !== null && "then" in returned && typeof returned.then === "function";
}
