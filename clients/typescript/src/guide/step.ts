/** A step of this program, and the ways to start it. */

import type { Core } from "../core.js";
import type { Step as WireStep } from "../gen/stepwire/v1/step_run_pb.js";
import { Functions, type Manner, PLAIN } from "../functions/functions.js";
import { collectBlocking } from "../steps/blocking.js";
import { type Callbacks, deliver } from "../steps/delivery.js";
import type { RunResults, StepResult } from "../steps/results.js";
import { collect, type RunOptions, stream } from "../steps/run.js";
import { known, type Make, type Makes } from "../steps/spec.js";
import { changed } from "../steps/watching.js";
import { bothCasings, type BothCasings } from "./casings.js";

/** What a step is called, and how its inputs are worked on. */
export interface StepSettings {
  /** What it is called in metadata and events, at most 128 bytes. */
  readonly name?: string;
  /** Facts to be kept in its metadata. */
  readonly labels?: Readonly<Record<string, string>>;
  /** How many of its inputs are worked on at once, 1 to 256. */
  readonly maxConcurrency?: number;
  /** How many results may wait for the step after it, 1 to 1,024. */
  readonly buffer?: number;
  /** Give results as they come, not in the order of the inputs. */
  readonly asCompleted?: boolean;
}

/**
 * A step: turns an input into any number of results. Made by `client.steps`; it may stand wherever a step may.
 *
 * `In` and `Out` are the types of its input and of each result. A `Conversation` in an input stands for the messages it
 * has when the step is started. All methods may be handed on as plain functions.
 */
export class RunnableStep<In = unknown, Out = unknown> implements Makes {
  readonly make: Make;
  protected readonly core: Core;

  constructor(core: Core, make: Make) {
    this.core = core;
    this.make = make;
    for (const name of ["startAsync", "startBlocking", "startWithCallbacks", "stream"] as const) {
      const bound: unknown = this[name].bind(this as never);
      const capital = (name[0] ?? "").toUpperCase() + name.slice(1);
      for (const each of [name, capital]) Object.defineProperty(this, each, { value: bound, configurable: true });
    }
  }

  /**
   * Runs it and returns all results, however many there are, in the order of their paths.
   *
   * @param options `signal` ends the run; then the promise is rejected with an error whose `name` is `AbortError`.
   * @returns The values, in order, with `metadata`: how the run went.
   * @throws {StepwireError} The first item that failed, or the whole run.
   */
  async startAsync(input?: In, options: RunOptions = {}): Promise<RunResults<Out>> {
    return (await collect(this.core, this, input, options)) as RunResults<Out>;
  }

  /**
   * Runs it, blocks this thread until it is over, and returns all results. Functions of this program are called
   * meanwhile, on this thread, and cannot wait for a promise. Not in browsers.
   *
   * @throws {StepwireError} The first item that failed, or the whole run.
   */
  startBlocking(input?: In, options: Omit<RunOptions, "signal"> = {}): RunResults<Out> {
    return collectBlocking(this.core, this, input, options) as RunResults<Out>;
  }

  /**
   * Begins to run it, and tells functions what comes: `onResult`, also after an `onError`, then `onCancel` if it was
   * cancelled, then `onDone`, exactly once each. They never overlap: a promise that one returns is awaited.
   *
   * @returns A function that cancels the run, with all that its steps are doing, any number of times.
   */
  startWithCallbacks(input: In, callbacks: Callbacks<Out> = {}, options: Omit<RunOptions, "signal"> = {}): () => void {
    return deliver<Out>(
      (signal) => this.stream(input, { ...options, signal }) as AsyncIterable<StepResult & { value: Out }>,
      callbacks ?? {},
    );
  }

  /** Runs it and yields each result as it comes, or the error in its place. Leaving the loop cancels the run. */
  stream(input?: In, options: RunOptions = {}): AsyncGenerator<StepResult, void, undefined> {
    return stream(this.core.services, this, input, options);
  }

  /** Makes the same step with other settings. Of a chat step it results in whole texts, to callbacks and in `stream` too. */
  with(settings: StepSettings): Step<In, Out> {
    known(settings, ["name", "labels", "maxConcurrency", "buffer", "asCompleted"]);
    return makeStep(this.core, (functions, manner) => {
      const { labels = {}, ...others } = settings;
      const step = this.make(functions, manner);
      return changed(step, { ...others, labels: { ...step.labels, ...labels } }, functions);
    });
  }

  /** The step as the wire has it; functions of this program are `client` steps in it. */
  toProto(manner: Manner = PLAIN): WireStep {
    return this.make(new Functions(), manner);
  }
}

bothCasings(RunnableStep.prototype);

/** A step, whose methods answer to both spellings: `startAsync` and `StartAsync`. */
export type Step<In = unknown, Out = unknown> = BothCasings<RunnableStep<In, Out>>;

/** Makes a step that a client runs. */
export function makeStep<In = unknown, Out = unknown>(core: Core, make: Make): Step<In, Out> {
  return new RunnableStep<In, Out>(core, make) as Step<In, Out>;
}
