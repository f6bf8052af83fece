/** The functions of this program that a pipeline calls: under which name, with which arguments, and what they threw. */

import { create, type JsonValue } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import { StepwireError } from "../errors.js";
import { type Call, type CallError, CallErrorSchema, type Step, StepSchema } from "../gen/stepwire/v1/step_run_pb.js";
import { fromValue } from "../steps/values.js";
import type { Watcher } from "../steps/watching.js";
import { cut, title } from "./naming.js";

/**
 * A function of this program. What it returns, or what its promise resolves to, is the one result, a list too; what a
 * generator yields, be it asynchronous or not, are results one by one.
 */
export type Closure = (...given: any[]) => unknown;

/** What a function is told beside its value, as its last argument. */
export interface CallContext {
  /** Aborts when nobody needs the answer any more: the run was cancelled, has failed, or has all that it takes. */
  readonly signal: AbortSignal;

  /** Counts the attempts of this call, from 1. */
  readonly attempt: number;

  /** The run that needs it. */
  readonly runId: string;

  /** The step that needs it: its position in the spec, such as `steps[1].map.step`. */
  readonly stepPath: string;
}

/** How a function is called. */
export interface Manner {
  /** Makes its arguments, but for the last, of the value that the server sends. */
  given(value: JsonValue, functions: Functions): unknown[];

  /** Makes the value that the server wants of what it returned, with the arguments that it had. */
  result(returned: unknown, given: unknown[]): unknown;
}

/** A function that is served. */
export interface Served {
  readonly closure: Closure;
  readonly manner: Manner;
}

/** Called with the value. */
export const PLAIN: Manner = { given: (value) => [value], result: (returned) => returned };

/** What errors one run remembers, so that its failures can name their cause. */
const MAX_THROWN = 256;

const MAX_NAME_BYTES = 128;
const MAX_MESSAGE_BYTES = 1024;

/** The functions of one run, or of one worker, by name. */
export class Functions {
  /** Who wants to hear of stage events. */
  readonly watchers: Watcher[] = [];
  /** Which steps they watch. */
  readonly watched = new Map<Step, readonly Watcher[]>();
  readonly #byName = new Map<string, Served>();
  readonly #names = new Map<Closure, Map<Manner, string>>();
  readonly #thrown = new Map<string, unknown>();

  /** How many there are. */
  get size(): number {
    return this.#byName.size;
  }

  /** The function of a name. */
  get(name: string): Served | undefined {
    return this.#byName.get(name);
  }

  /** Makes the step that calls a function. The same function has the same name wherever it stands. */
  step(closure: Closure, manner: Manner): Step {
    const names = this.#names.get(closure) ?? new Map<Manner, string>();
    this.#names.set(closure, names);
    let name = names.get(manner);
    if (name === undefined) {
      name = this.#freeName(title(closure));
      names.set(manner, name);
      this.#byName.set(name, { closure, manner });
    }
    return create(StepSchema, { kind: { case: "client", value: name }, name: title(closure) });
  }

  /** Serves a function under a name of somebody else's choice. */
  serve(name: string, closure: Closure): void {
    this.#byName.set(name, { closure, manner: PLAIN });
  }

  /** Makes the arguments of a call. */
  given(served: Served, call: Call): unknown[] {
    return served.manner.given(fromValue(call.input), this);
  }

  /** Remembers what a function threw, and says it as the wire does. */
  note(thrown: unknown): CallError {
    for (const oldest of this.#thrown.keys()) {
      if (this.#thrown.size < MAX_THROWN) break;
      this.#thrown.delete(oldest);
    }
    const failure = callError(thrown);
    this.#thrown.set(key(failure.errorType, failure.message), thrown);
    return failure;
  }

  /** Gives an error its cause, if a function of this run threw that. */
  explain<E extends StepwireError>(error: E): E {
    const thrown = this.#thrown.get(key(error.metadata["errorType"] ?? "", error.message));
    if (thrown !== undefined && thrown !== error) error.cause ??= thrown;
    return error;
  }

  #freeName(wanted: string): string {
    const name = cut(wanted || "function", MAX_NAME_BYTES - 8);
    let free = name;
    for (let number = 2; this.#byName.has(free); number += 1) free = `${name}#${number}`;
    return free;
  }
}

function key(errorType: string, message: string): string {
  return `${errorType}\n${message}`;
}

/** Says what a function threw as the wire does. What has `isTransient` keeps it: a retry step goes by that. */
export function callError(thrown: unknown): CallError {
  const error: Partial<StepwireError> = typeof thrown === "object" && thrown !== null ? thrown : {};
  const errorType = cut(String(error.name || "Error"), MAX_NAME_BYTES);
  const said = typeof thrown === "string" ? thrown : String(error.message ?? "");
  const message = cut(said, MAX_MESSAGE_BYTES) || errorType;
  const made = create(CallErrorSchema, { message, errorType, isTransient: error.isTransient === true });
  if (thrown instanceof StepwireError) {
    if (thrown.reason === "STEP_INPUT_INVALID") made.reason = thrown.reason;
    if (thrown.isTransient && thrown.retryDelayMs) made.retryDelay = durationFromMs(Math.ceil(thrown.retryDelayMs));
  }
  return made;
}
