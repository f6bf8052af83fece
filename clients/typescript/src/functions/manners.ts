/** How functions are called that stand where they are asked something, and not where they make a result of a value. */

import type { JsonObject, JsonValue } from "@bufbuild/protobuf";

import { codeName, StepwireError } from "../errors.js";
import type { Functions, Manner } from "./functions.js";

/** Called with the value; anything true counts as yes. For conditions. */
export const YES_OR_NO: Manner = { given: (value) => [value], result: Boolean };

/** Called with an error and the number of the attempt, from 1; anything true counts as yes. */
export const SHOULD_RETRY: Manner = {
  given: (value, functions) => {
    const { error, attempt } = value as { error: JsonObject; attempt: number };
    return [errorOf(error, functions), attempt];
  },
  result: Boolean,
};

/**
 * Called with the input and the state, which it may change. What it returns is the one result, unless that is an object
 * of exactly `state` and one of `output` and `outputs`: that replaces the state.
 */
export const STATEFUL: Manner = {
  given: (value) => {
    const { input, state } = value as { input: JsonValue; state: JsonValue };
    return [input, state];
  },
  result: (returned, given) => (isWhole(returned) ? returned : { output: returned, state: given[1] }),
};

function isWhole(returned: unknown): boolean {
  if (typeof returned !== "object" || returned === null) return false;
  const names = Object.keys(returned).sort().join();
  return names === "output,state" || names === "outputs,state";
}

/** Makes the error that is asked about. What a function of this program threw is its cause. */
function errorOf(said: JsonObject, functions: Functions): StepwireError {
  const wait = said["retryDelayMs"];
  const error = new StepwireError(String(said["message"]), {
    code: codeName(Number(said["code"])),
    reason: String(said["reason"]),
    retryDelayMs: typeof wait === "number" ? wait : undefined,
    metadata: said["metadata"] as Record<string, string>,
  });
  if (typeof said["isTransient"] === "boolean") {
    Object.defineProperty(error, "isTransient", { value: said["isTransient"] });
  }
  return functions.explain(error);
}
