/** Hears of what happens at some steps of a run, and tells functions. */

import { create, isMessage } from "@bufbuild/protobuf";

import type { StepwireError } from "../errors.js";
import type { Functions } from "../functions/functions.js";
import { type RunStepResponse, type Step as WireStep, StepSchema } from "../gen/stepwire/v1/step_run_pb.js";
import { isResult, type StageEvent, stageEvent, type StepResult, stepResult } from "./results.js";

// What flows between steps is the program's own affair.
type Any = any;

/**
 * What wants to hear of one step. What a function returns is awaited before anything else is told.
 *
 * Only so many events wait for these functions, and those beyond are lost: of many quick items, not every input is told,
 * and within another step not every value and error. Of the step that is run itself, values and errors are those of the
 * run, in its order, of which none is lost. The end is never lost.
 */
export interface Events {
  /** Gets each input, if it was not lost. */
  readonly onStart?: (input: Any) => unknown;
  /** Gets each value that the step makes. Within another step, null for one above 4 KiB, and for vectors and bytes. */
  readonly onResult?: (value: Any) => unknown;
  /**
   * Called once, after the last input, also after errors, and where the run ends with the first of them. Not if the call
   * itself fails: cancelled, out of time, refused, or without its server.
   */
  readonly onComplete?: () => unknown;
  /** Gets the error of each item that fails in the step, once no retry will mend it. */
  readonly onError?: (error: StepwireError) => unknown;
  /** Gets how many events of the run were lost, of whatever step, before what is told next. */
  readonly onDropped?: (count: number) => unknown;
}

/** The names of these functions. */
export const EVENTS = [
  "onStart",
  "onResult",
  "onComplete",
  "onError",
  "onDropped",
] as const satisfies (keyof Events)[];

/** One who watches a step, which stands at `path` once the whole spec is known. */
export interface Watcher {
  readonly events: Events;
  path: string;
  /** Whether the step has come to its end, which is told after the last value. */
  isEnding: boolean;
  isComplete: boolean;
}

/** Where the step stands that is run itself: what it makes are the results of the run. */
const WHOLE = "steps[0]";

/** Watches a step that will stand somewhere in the run of `functions`. */
export function mark(step: WireStep, functions: Functions, events: Events): WireStep {
  const watcher = { events, path: "", isEnding: false, isComplete: false };
  functions.watchers.push(watcher);
  const marked = changed(step, {}, functions);
  functions.watched.set(marked, [...(functions.watched.get(marked) ?? []), watcher]);
  return marked;
}

/** A step with other settings, watched by the same. What is within it stays what it is, as that may be watched too. */
export function changed(step: WireStep, settings: Partial<WireStep>, functions: Functions): WireStep {
  const copy: WireStep = Object.assign(create(StepSchema), step, settings);
  const watchers = functions.watched.get(step);
  if (watchers) functions.watched.set(copy, watchers);
  return copy;
}

/** Tells all watchers where their steps stand. */
export function locate(steps: readonly WireStep[], functions: Functions): void {
  for (const [path, step] of places(steps)) {
    for (const watcher of functions.watched.get(step) ?? []) watcher.path = path;
  }
}

/** Yields each step with its position in the spec, a step before those within it. */
export function* places(steps: readonly WireStep[], path = "steps"): Generator<[string, WireStep]> {
  for (const [index, step] of steps.entries()) yield* within(step, `${path}[${index}]`);
}

function* within(step: WireStep, path: string): Generator<[string, WireStep]> {
  yield [path, step];
  const { case: kind, value } = step.kind;
  if (typeof value !== "object") return;
  const fields: [string, unknown][] = Object.entries(value);
  for (const [name, inner] of fields) {
    const here = `${path}.${kind}.${name}`;
    if (isMessage(inner, StepSchema)) yield* within(inner, here);
    else if (kind === "compose" && name === "steps") yield* places(inner as WireStep[], here);
    else if (kind === "choice" && name === "cases") yield* cases(inner as { when?: WireStep; then?: WireStep }[], here);
  }
}

function* cases(all: { when?: WireStep; then?: WireStep }[], path: string): Generator<[string, WireStep]> {
  for (const [index, { when, then }] of all.entries()) {
    if (when) yield* within(when, `${path}[${index}].when`);
    if (then) yield* within(then, `${path}[${index}].then`);
  }
}

type Telling = readonly [callback: (given: Any) => unknown, given: unknown];

/** Says whom the events of one run concern. */
export class Watching {
  readonly #watchers: readonly Watcher[];
  readonly #retries: readonly string[];
  /** Errors within a retry step, which may yet be tried again and come to nothing. */
  #held: { readonly watcher: Watcher; readonly event: StageEvent }[] = [];

  constructor(watchers: readonly Watcher[], steps: readonly WireStep[]) {
    this.#watchers = watchers;
    const all = watchers.length > 0 ? [...places(steps)] : [];
    this.#retries = all.filter(([, step]) => step.kind.case === "retry").map(([path]) => path);
  }

  /** Yields what is to be told of an event, in order. */
  *hear(response: RunStepResponse): Generator<Telling> {
    if (this.#watchers.length === 0) return;
    const event = stageEvent(response);
    if (event) {
      if (event.kind === "retrying") this.#held = this.#held.filter((held) => !forgives(event, held.event));
      for (const watcher of this.#watchers) yield* this.#tell(watcher, event);
    } else if (response.event.case === "finished") {
      for (const watcher of this.#watchers) yield* this.#complete(watcher); // a slow reader may have lost it
    } else if (isResult(response.event)) {
      yield* this.#result(stepResult(response.path, response.event));
    }
  }

  /** Yields what is to be told of the error that the run has ended with: no retry will mend it. */
  *fail(error: StepwireError): Generator<Telling> {
    yield* this.#release((held) => isSame(held.error, error));
    this.#held = []; // what is tried again of others has come to nothing
    const isOfItem = ITEM in error.metadata;
    for (const watcher of this.#watchers) {
      const { onError } = watcher.events;
      if (isOfItem && onError && isOfWhole(watcher)) yield [onError, error];
      if (isOfItem || watcher.isEnding) yield* this.#complete(watcher);
    }
  }

  *#result({ value, error, path }: StepResult): Generator<Telling> {
    if (error) yield* this.#release((held) => isSame(held.error, error) && isAkin(held.path, path)); // nobody tries it again
    for (const { events } of this.#watchers.filter(isOfWhole)) {
      if (error && events.onError) yield [events.onError, error];
      else if (!error && events.onResult) yield [events.onResult, value];
    }
  }

  *#tell(watcher: Watcher, event: StageEvent): Generator<Telling> {
    const { onStart, onResult, onError, onDropped } = watcher.events;
    const isOwn = event.stepPath === watcher.path;
    const isWhole = isOfWhole(watcher);
    if (event.droppedBefore > 0 && onDropped) yield [onDropped, event.droppedBefore];
    if (event.kind === "error") {
      if (isWhole || !(isOwn || isWithin(event.stepPath, watcher.path))) return;
      // Told where it happened, be it deep within.
      if (this.#mayBeMended(watcher, event)) this.#held.push({ watcher, event });
      else if (onError && event.error) yield [onError, event.error];
    } else if (isOwn) {
      if (event.kind === "started" && onStart) yield [onStart, event.value];
      else if (event.kind === "result" && onResult && !isWhole) yield [onResult, event.value];
      else if (event.kind === "completed" && isWhole) watcher.isEnding = true;
      else if (event.kind === "completed") yield* this.#complete(watcher);
    }
  }

  #mayBeMended(watcher: Watcher, event: StageEvent): boolean {
    return this.#retries.some(
      (path) => isWithin(event.stepPath, path) && (path === watcher.path || isWithin(path, watcher.path)),
    );
  }

  /** Yields errors that were held: those that are meant, and all that one watcher waits for. */
  *#release(isMeant: (event: StageEvent) => boolean, of?: Watcher): Generator<Telling> {
    const released = this.#held.filter(({ watcher, event }) => watcher === of || isMeant(event));
    this.#held = this.#held.filter((held) => !released.includes(held));
    for (const { watcher, event } of released) {
      if (watcher.events.onError && event.error) yield [watcher.events.onError, event.error];
    }
  }

  *#complete(watcher: Watcher): Generator<Telling> {
    yield* this.#release(() => false, watcher);
    if (watcher.isComplete) return;
    watcher.isComplete = true;
    if (watcher.events.onComplete) yield [watcher.events.onComplete, undefined];
  }
}

function isOfWhole({ path }: Watcher): boolean {
  return path === WHOLE;
}

/** What the server says of the failure of an item that has ended the run, and of no other. */
const ITEM = "inputsNotStarted";

function isWithin(path: string, outer: string): boolean {
  return path.startsWith(`${outer}.`);
}

function forgives(retrying: StageEvent, held: StageEvent): boolean {
  const isOfInput = retrying.path.every((number, place) => number === held.path[place]);
  return isOfInput && isWithin(held.stepPath, retrying.stepPath);
}

/** Whether two are told of one failure; that of the whole call has facts of the call beside. */
function isSame(one: StepwireError | undefined, other: StepwireError | undefined): boolean {
  return one !== undefined && one.message === other?.message && one.reason === other.reason;
}

/** Whether they are of one item; within a step, paths have more numbers. */
function isAkin(deep: readonly number[], path: readonly number[]): boolean {
  return deep.every((number, place) => place >= path.length || number === path[place]);
}
