/** Runs pipelines: each result of a step is the input of the next. */

import { create } from "@bufbuild/protobuf";

import type { Core } from "../core.js";
import { collectingMs } from "../deadlines.js";
import { ofFunction, StepwireError } from "../errors.js";
import { Functions } from "../functions/functions.js";
import { interact } from "../functions/interactive.js";
import {
  ErrorMode,
  type RunStepRequest,
  RunStepRequestSchema,
  type RunStepResponse,
  StageEventKind,
} from "../gen/stepwire/v1/step_run_pb.js";
import { callOptions } from "../options.js";
import type { Services } from "../services.js";
import { refuseRestarts, restarted } from "./restarts.js";
import { isResult, type RunResults, runResults, stepMetadata, type StepResult, stepResult } from "./results.js";
import { type StepLike, wireStep } from "./spec.js";
import { filled, toValue, type Unread } from "./values.js";
import { locate, places, Watching } from "./watching.js";

/** How to run a step. */
export interface RunOptions {
  /** Ends the run, with all that its steps are doing, when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** Milliseconds until it fails with `DEADLINE_EXCEEDED`. Default: that of `connect`. */
  readonly timeoutMs?: number | undefined;
  /** Identifies the run in logs: 1 to 128 of `A-Z a-z 0-9 . _ : -`. Default: a new UUID. */
  readonly runId?: string | undefined;
}

/** A run that can begin. */
export interface Prepared {
  readonly request: RunStepRequest;
  readonly functions: Functions;
  readonly watching: Watching;
  /** What its input still lacks. */
  readonly unread: Unread;
}

/** Makes the request of a run, and takes up the functions of this program that it calls. */
export function prepare(step: StepLike, input: unknown, errorMode: ErrorMode, runId = ""): Prepared {
  const functions = new Functions();
  const steps = [wireStep(step, functions)];
  locate(steps, functions);
  refuseRestarts(places(steps));
  const events = functions.watchers.length > 0;
  const unread: Unread = [];
  const request = create(RunStepRequestSchema, { steps, input: toValue(input, unread), errorMode, events, runId });
  return { request, functions, watching: new Watching(functions.watchers, steps), unread };
}

/** Yields what happens in a run, results among it, after all who watch a step have been told. */
async function* events(services: Services, prepared: Prepared, options: RunOptions): AsyncGenerator<RunStepResponse> {
  const { request, functions, watching } = prepared;
  const responses =
    functions.size > 0
      ? interact(services, request, functions, options)
      : services.stepRuns.runStep(request, callOptions(options));
  let isFinished = false;
  let isTelling = false;
  try {
    for await (const response of responses) {
      refuseRestarted(response);
      isTelling = true;
      for (const [callback, given] of watching.hear(response)) await told(callback, given);
      isTelling = false;
      isFinished = response.event.case === "finished";
      yield response;
    }
  } catch (thrown) {
    if (isTelling || !(thrown instanceof StepwireError)) throw thrown;
    if (isFinished && !options.signal?.aborted) return; // nothing was missing but the status
    const error = functions.explain(thrown);
    for (const [callback, given] of watching.fail(error)) await told(callback, given);
    throw error;
  }
  // What there is may look whole, and is not.
  if (!isFinished) throw cutOff();
}

/** What a run fails with whose last event is missing. */
export function cutOff(): StepwireError {
  return new StepwireError("the run ended without its last event", { code: "INTERNAL" });
}

async function told(callback: (given: unknown) => unknown, given: unknown): Promise<void> {
  try {
    await callback(given);
  } catch (cause) {
    throw ofFunction(cause);
  }
}

/** Fails where a step of the server's own began again. */
export function refuseRestarted({ event }: RunStepResponse): void {
  if (event.case === "stage" && event.value.kind === StageEventKind.RESTARTED) throw restarted(event.value.stepPath);
}

/**
 * Yields the results of a run as they come; a failure keeps its place among them. Leaving the loop cancels the run. The
 * input is taken as it is now; the run begins with the loop.
 */
export function stream(
  services: Services,
  step: StepLike,
  input: unknown,
  options: RunOptions,
): AsyncGenerator<StepResult, void, undefined> {
  const ready = begun(step, input, options);
  ready.catch(() => undefined); // it is thrown where the results are read
  return results(services, ready, options);
}

async function begun(step: StepLike, input: unknown, options: RunOptions): Promise<Prepared> {
  const prepared = prepare(step, input, ErrorMode.CONTINUE, options.runId);
  await filled(prepared.unread, options);
  return prepared;
}

async function* results(
  services: Services,
  ready: Promise<Prepared>,
  options: RunOptions,
): AsyncGenerator<StepResult, void, undefined> {
  const prepared = await ready;
  for await (const response of events(services, prepared, options)) {
    const result = resultOf(response, prepared.functions);
    if (result) yield result;
  }
}

/**
 * Runs a step and returns all values; fails as the first item did that failed. They come as a stream: an answer of one
 * message ends at 10,000 results and 4 MiB, when all the work is done.
 */
export async function collect(core: Core, step: StepLike, input: unknown, given: RunOptions): Promise<RunResults> {
  const options = { ...given, timeoutMs: collectingMs(given.timeoutMs, core.options) };
  const prepared = prepare(step, input, ErrorMode.FAIL_FAST, options.runId);
  await filled(prepared.unread, options);
  const gathering = new Gathering(prepared.functions);
  for await (const response of events(core.services, prepared, options)) gathering.take(response);
  return gathering.results();
}

/** Takes up the events of a run, and makes a list of its results. */
export class Gathering {
  readonly #functions: Functions;
  readonly #results: StepResult[] = [];
  #metadata = stepMetadata(undefined);
  #runId = "";

  constructor(functions: Functions) {
    this.#functions = functions;
  }

  /** Takes up an event. */
  take(response: RunStepResponse): void {
    const { event } = response;
    if (event.case === "started") this.#runId = event.value.runId;
    else if (event.case === "finished") this.#metadata = stepMetadata(event.value.metadata);
    const result = resultOf(response, this.#functions);
    if (result) this.#results.push(result);
  }

  /** What there is, in the order of the paths, also where a step gives results as they come. */
  results(): RunResults {
    return runResults(this.#results.sort(byPath), this.#metadata, this.#runId);
  }
}

function byPath({ path: one }: StepResult, { path: other }: StepResult): number {
  const differs = one.findIndex((number, place) => number !== other[place]);
  return differs < 0 ? one.length - other.length : (one[differs] ?? 0) - (other[differs] ?? -1);
}

/** The result that an event is; undefined for another event, and for one that this version does not know. */
function resultOf(response: RunStepResponse, functions: Functions): StepResult | undefined {
  if (!isResult(response.event)) return undefined;
  const result = stepResult(response.path, response.event);
  if (result.error) functions.explain(result.error);
  return result;
}
