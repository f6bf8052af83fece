/** Steps around a step: tried again, or with a state. */

import { durationFromMs } from "@bufbuild/protobuf/wkt";

import { misused, refused, type StepwireError } from "../errors.js";
import type { CallContext } from "../functions/functions.js";
import { SHOULD_RETRY, STATEFUL } from "../functions/manners.js";
import { RetryEmitted } from "../gen/stepwire/v1/step_run_pb.js";
import { RESTARTS } from "./restarts.js";
import { type Make, making, type StepLike, type StepSpec } from "./spec.js";
import { toValue } from "./values.js";

/** How to try again. */
export interface RetryOptions {
  /** How often at most, the first time included, 1 to 10. Default: 3. */
  readonly maxAttempts?: number;
  /** A function of the attempt, 0 for the first, to milliseconds; in place of the four delays below. */
  readonly backoff?: ((attempt: number) => number | PromiseLike<number>) | StepSpec;
  /** A function of the error and the attempt, 1 for the first: whether to try again. Default: `error.isTransient`. */
  readonly shouldRetry?: ((error: StepwireError, attempt: number) => unknown) | StepSpec;
  /**
   * What to do if it fails after it has made results: `fail`; `buffer` holds results back until it is through.
   * The wire's third mode, which takes results back that were given, is for `services.stepRuns.runStep` only: nothing
   * here could tell which. Where all results are waited for, `buffer` comes to the same.
   */
  readonly emitted?: "fail" | "buffer";
  /** Milliseconds before the second attempt. Default: 1000. */
  readonly initialDelayMs?: number;
  /** By which the wait grows. Default: 2. */
  readonly multiplier?: number;
  /** The longest wait, in milliseconds. Default: 60000. */
  readonly maxDelayMs?: number;
  /** The part by which a wait may differ, 0 to 1. Default: 0.2. */
  readonly jitter?: number;
}

/** The names of these options. */
export const RETRY_OPTIONS = [
  "maxAttempts",
  "backoff",
  "shouldRetry",
  "emitted",
  "initialDelayMs",
  "multiplier",
  "maxDelayMs",
  "jitter",
] as const satisfies (keyof RetryOptions)[];

const EMITTED = { fail: RetryEmitted.FAIL, buffer: RetryEmitted.BUFFER } as const;

/** Runs a step again when it fails. */
export function retry(step: StepLike, options: RetryOptions): Make {
  const { maxAttempts = 3, multiplier, jitter, emitted = "fail", initialDelayMs, maxDelayMs } = options;
  if ((emitted as string) === "restart") throw refused(RESTARTS, "STEP_GRAPH_INVALID");
  if (!Object.hasOwn(EMITTED, emitted)) throw misused(`emitted: \`${emitted}\` is none of fail, buffer`);
  return making((within) => {
    const backoff = within.maybe(options.backoff);
    const when = within.maybe(options.shouldRetry, SHOULD_RETRY);
    const value = {
      step: within(step),
      maxAttempts,
      emitted: EMITTED[emitted],
      ...(backoff && { backoff }),
      ...(when && { when }),
      ...(multiplier !== undefined && { multiplier }),
      ...(jitter !== undefined && { jitter }),
      ...(initialDelayMs !== undefined && { initialDelay: durationFromMs(initialDelayMs) }),
      ...(maxDelayMs !== undefined && { maxDelay: durationFromMs(maxDelayMs) }),
    };
    return { case: "retry", value };
  });
}

/** What a step with a state is made of. */
export interface StateOptions<In, Out, State> {
  /** The state before the first value, in each run anew. Default: null. */
  readonly initialState?: State;
  /** A function that may change the state and returns one result, or `{output, state}`, or `{outputs, state}`. */
  readonly step: ((input: In, state: State, context: CallContext) => Out | PromiseLike<Out>) | StepSpec;
}

/** Calls a function with each value and a state. */
export function state<In, Out, State>({ initialState, step }: StateOptions<In, Out, State>): Make {
  const initial = toValue(initialState);
  return making((within) => ({
    case: "state",
    value: { step: within(step, STATEFUL), initialState: initial },
  }));
}
