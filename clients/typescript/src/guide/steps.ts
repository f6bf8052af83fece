/** The guide's Steps API, and the steps of the server that the guide has no words for. */

import type { Core } from "../core.js";
import type { SearchHit } from "../embeddings.js";
import { type CallOptions, callOptions } from "../options.js";
import { misused, type Violation } from "../errors.js";
import { pages } from "../pages.js";
import { Functions } from "../functions/functions.js";
import type { StepInfo } from "../gen/stepwire/v1/step_run_pb.js";
import * as leaves from "../steps/leaves.js";
import { known, type Make, type StepLike, wireStep } from "../steps/spec.js";
import { EVENTS, type Events, locate, mark } from "../steps/watching.js";
import * as wrapping from "../steps/wrapping.js";
import { bothCasings, type BothCasings } from "./casings.js";
import { makeStep, type Step } from "./step.js";

// What flows between steps is the program's own affair.
type Any = any;

/** A function that makes a result of a value. */
export type StepFunction<In, Out> = leaves.StepFunction<In, Out>;

const PAGE_SIZE = 1000;

/**
 * Makes steps for one client. Where a step is wanted, there may be a function of this program, which is called here, in
 * this program, whenever the server needs it: with the value, and a `CallContext` that has an `AbortSignal`. What it
 * returns, or what its promise resolves to, is the one result, a list too; what a generator yields are results one by
 * one.
 *
 * Steps that were registered are properties: after `registerStep("double", step)` there is `steps.double`.
 */
export class StepMaker {
  /** Steps that were registered, by name. */
  readonly registered: Readonly<Record<string, Step<Any, Any>>> = {};
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
    Object.defineProperty(this, "registered", { enumerable: false });
  }

  /** Runs a step on each item of a list, in order; a failure stays with its item. */
  createMapStep<In = Any, Out = Any>(step: StepFunction<In, Out>): Step<readonly In[], Out>;
  createMapStep<In = Any, Out = Any>(step: StepLike): Step<readonly In[], Out>;
  createMapStep(step: StepLike): Step<Any, Any> {
    return this.#made(leaves.map(step));
  }

  /** Runs steps one after the other, each result of one being an input of the next. None: the value passes. */
  compose<In = Any, Out = Any>(steps: readonly StepLike[]): Step<In, Out> {
    if (!Array.isArray(steps)) throw misused("compose takes a list of steps");
    return this.#made(leaves.compose(steps));
  }

  /** Runs `process` between `input`, which prepares, and `output`, which finishes each result. Each may be left out. */
  createStep<In = Any, Out = Any>(options: {
    readonly input?: StepLike | undefined;
    readonly process?: StepLike | undefined;
    readonly output?: StepLike | undefined;
  }): Step<In, Out> {
    return this.#made(leaves.process(known(options, ["input", "process", "output"])));
  }

  /**
   * Runs `step` on each item of a list, side by side. Results are in the order of the items.
   *
   * @param options `maxConcurrency`: 1 to 256, by default 4; `asCompleted`: results as they come; `failFast`: at the
   *   first item that fails, cancel the others.
   */
  createParallelStep<In = Any, Out = Any>(options: leaves.ParallelOptions): Step<readonly In[], Out> {
    return this.#made(leaves.parallel(known(options, ["step", "maxConcurrency", "asCompleted", "failFast"])));
  }

  /** Runs a step again when it fails. */
  withRetry<In = Any, Out = Any>(step: StepLike, options: wrapping.RetryOptions = {}): Step<In, Out> {
    return this.#made(wrapping.retry(step, known(options, wrapping.RETRY_OPTIONS)));
  }

  /**
   * Calls a function with each value and a state, which begins with `initialState` in each run. The function may change
   * the state, or return `{output, state}`; if it throws, the state stays as it was before.
   */
  withState<In = Any, Out = Any, State = Any>(options: wrapping.StateOptions<In, Out, State>): Step<In, Out> {
    return this.#made(wrapping.state(known(options, ["initialState", "step"])));
  }

  /**
   * Runs a step and tells functions of this program what happens at it, one at a time. What one throws ends the run.
   * Of many quick items, not every input is told: see `Events`.
   */
  withEvents<In = Any, Out = Any>(step: StepLike, events: Events): Step<In, Out> {
    known(events, EVENTS);
    return this.#made((functions, manner) => mark(wireStep(step, functions, manner), functions, events));
  }

  /**
   * Keeps a step under a name of this program, with functions that convert what goes in and what comes out.
   *
   * @throws {TypeError} The name is taken by a method.
   */
  registerStep<In = Any, Out = Any>(
    name: string,
    step: StepLike,
    inputConverter?: StepLike,
    outputConverter?: StepLike,
  ): Step<In, Out> {
    if (name in this && !Object.hasOwn(this.registered, name)) {
      throw misused(`\`steps.${name}\` is something else`);
    }
    const made = this.createStep<In, Out>({ input: inputConverter, process: step, output: outputConverter });
    const property = { value: made, enumerable: true, configurable: true };
    Object.defineProperty(this.registered, name, property);
    Object.defineProperty(this, name, property);
    return made;
  }

  /** Runs the step of this name, `name@version` for a certain version: a built-in one, a pipeline, a worker's. */
  named<In = Any, Out = Any>(name: string): Step<In, Out> {
    return this.#made((functions) => wireStep(name, functions));
  }

  /** Calls a function of this program. Only needed to give it settings, as any step takes it as it is. */
  function<In = Any, Out = Any>(called: StepFunction<In, Out>): Step<In, Out> {
    return this.#made((functions, manner) => functions.step(called, manner));
  }

  /** Calls a function that the server runs by itself: `steps.javascript("(x) => x * 2")`. */
  javascript<In = Any, Out = Any>(source: string): Step<In, Out> {
    return this.#made(leaves.javascript(source));
  }

  /** Turns a list into its items. */
  spread<Item = Any>(): Step<readonly Item[], Item> {
    return this.#made(leaves.spread());
  }

  /** Waits for all values of the step before it and makes one list of them. */
  gather<Item = Any>(): Step<Item, Item[]> {
    return this.#made(leaves.gather());
  }

  /** Passes on the first values, and then ends everything before it. */
  take<Item = Any>(count: number): Step<Item, Item> {
    return this.#made(leaves.take(count));
  }

  /** Passes on the values that a function says yes to. */
  filter<Item = Any>(where: StepLike): Step<Item, Item> {
    return this.#made(leaves.filter(where));
  }

  /** Runs the step of the first condition that holds; if none does and there is no `otherwise`, there is no result. */
  choice<In = Any, Out = Any>(
    cases: readonly { readonly when: StepLike; readonly then: StepLike }[],
    otherwise?: StepLike,
  ): Step<In, Out> {
    return this.#made(leaves.choice(cases, otherwise));
  }

  /** Gives a step only so many milliseconds for each input; then it is cancelled, and fails with `STEP_TIMEOUT`. */
  timeout<In = Any, Out = Any>(step: StepLike, limitMs: number): Step<In, Out> {
    return this.#made(leaves.timeout(step, limitMs));
  }

  /** Asks a model for a reply to a text, a message, a list of messages, or the fields of a chat request. */
  chat<In = Any, Out = Any>(options: leaves.ChatLeaf = {}): Step<In, Out> {
    return this.#made(leaves.chat(known(options, ["model", "system", "options", "emit"])));
  }

  /** Turns a text into a vector, or a list of texts into one for each. Each is a `Float32Array`. */
  embed(model = ""): Step<string | readonly string[], Float32Array> {
    return this.#made(leaves.embed(model));
  }

  /** Ranks documents by meaning: one result for each hit, best first. */
  search(topK?: number, model = ""): Step<leaves.SearchInput, SearchHit> {
    return this.#made(leaves.search(topK, model));
  }

  /** Fills a template: `{{a.b}}` stands for a field of the value and `{{.}}` for the whole. */
  render(template: string): Step<Any, string> {
    return this.#made(leaves.render(template));
  }

  /** Lists the steps of the server that can be named. */
  async list(options: CallOptions = {}): Promise<StepInfo[]> {
    const { stepRuns } = this.#core.services;
    const read = (pageToken: string) => stepRuns.listSteps({ pageSize: PAGE_SIZE, pageToken }, callOptions(options));
    return (await Array.fromAsync(pages(read))).flatMap(({ steps }) => steps);
  }

  /** Reports every fault of a step without running it; none for one that can run. */
  async validate(step: StepLike, options: CallOptions = {}): Promise<Violation[]> {
    const functions = new Functions();
    const steps = [wireStep(step, functions)];
    locate(steps, functions);
    const { violations } = await this.#core.services.stepRuns.validateStep({ steps }, callOptions(options));
    return violations.map(({ field, description, reason }) => ({ field, description, reason }));
  }

  #made<In, Out>(make: Make): Step<In, Out> {
    return makeStep(this.#core, make);
  }
}

bothCasings(StepMaker.prototype);

/** The Steps API: every method answers to both spellings, `createMapStep` and `CreateMapStep`. */
export type Steps = BothCasings<StepMaker>;

/** Makes the Steps API of a client. */
export function makeSteps(core: Core): Steps {
  return new StepMaker(core) as Steps;
}

