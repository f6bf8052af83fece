/** Tells functions what comes of a call: one at a time, in order, and its end exactly once. */

import { misused, ofFunction, StepwireError } from "../errors.js";

/** What wants to hear of a run. What a function returns is awaited before the next is called: they never overlap. */
export interface Callbacks<T> {
  /** Gets each result, as it comes. */
  readonly onResult?: ((value: T) => unknown) | undefined;
  /** Gets the error of each item that failed, after which the run goes on, and that of the whole run. */
  readonly onError?: ((error: StepwireError) => unknown) | undefined;
  /** Called once, last of all, however it ended. */
  readonly onDone?: (() => unknown) | undefined;
  /** Called once, before `onDone`, if the run was cancelled. */
  readonly onCancel?: (() => unknown) | undefined;
}

/** One item of a call. */
export interface Item<T> {
  readonly value: T;
  readonly error: StepwireError | undefined;
}

const NAMES = ["onResult", "onError", "onDone", "onCancel"] as const;

/**
 * Reads a call and tells its outcome to functions.
 *
 * What one of them throws ends the call; then the others are told of the end, and the error is the program's: nobody
 * here can handle it, so it becomes an uncaught one.
 *
 * @param open Begins the call, which ends when the signal aborts.
 * @returns A function that cancels the call, any number of times.
 */
export function deliver<T>(open: (signal: AbortSignal) => AsyncIterable<Item<T>>, callbacks: Callbacks<T>): () => void {
  for (const name of NAMES) {
    const callback: unknown = callbacks[name];
    if (callback !== undefined && callback !== null && typeof callback !== "function") {
      throw misused(`${name} is no function`);
    }
  }
  const controller = new AbortController();
  void read(open(controller.signal), callbacks, controller.signal);
  return () => controller.abort();
}

async function read<T>(
  items: AsyncIterable<Item<T>>,
  callbacks: Callbacks<T>,
  signal: AbortSignal,
): Promise<void> {
  const { onResult, onError, onDone, onCancel } = callbacks;
  await null; // so that the caller has its `cancel` before anything is told
  let isCancelled = false;
  try {
    for await (const { value, error } of items) {
      if (signal.aborted) break;
      if (error) await guarded(onError, error);
      else await guarded(onResult, value);
    }
  } catch (thrown) {
    isCancelled = thrown instanceof StepwireError && thrown.code === "CANCELLED";
    if (thrown instanceof Thrown) rethrow(thrown.cause);
    else if (!isCancelled && !signal.aborted) await last(onError, ofFunction(thrown));
  }
  if (isCancelled || signal.aborted) await last(onCancel);
  await last(onDone);
}

/** What a callback threw. */
class Thrown extends Error {}

async function guarded<A extends unknown[]>(
  callback: ((...given: A) => unknown) | undefined,
  ...given: A
): Promise<void> {
  try {
    await callback?.(...given);
  } catch (thrown) {
    throw new Thrown("a callback threw", { cause: thrown });
  }
}

async function last<A extends unknown[]>(callback: ((...given: A) => unknown) | undefined, ...given: A): Promise<void> {
  try {
    await callback?.(...given);
  } catch (thrown) {
    rethrow(thrown);
  }
}

/** Makes it an uncaught error, as that of any handler of events is. */
function rethrow(thrown: unknown): void {
  queueMicrotask(() => {
    throw thrown;
  });
}
