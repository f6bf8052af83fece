/** Results that no longer hold when a step begins again, of which nothing here could tell. */

import { refused, type StepwireError } from "../errors.js";
import type { ChatOptions } from "../gen/stepwire/v1/chat_pb.js";
import { ChatEmit, RetryEmitted, type Step as WireStep } from "../gen/stepwire/v1/step_run_pb.js";

/** Why it is refused. */
export const RESTARTS =
  "what begins again after it has given results cannot be used here, as nothing would tell that these no longer hold: " +
  "`services.stepRuns.runStep` with `events` does, and `streamChat` for a chat";

/** Whether a reply may begin again. */
export function restarts(options: ChatOptions | undefined): boolean {
  return options?.restart === true || options?.responseFormat?.retry === true;
}

/**
 * Refuses steps that may begin again.
 *
 * @param places Each step with its position in the spec.
 * @throws {StepwireError} There is one.
 */
export function refuseRestarts(places: Iterable<readonly [string, WireStep]>): void {
  for (const [path, { kind }] of places) {
    const isRetry = kind.case === "retry" && kind.value.emitted === RetryEmitted.RESTART;
    const isChat = kind.case === "chat" && kind.value.emit === ChatEmit.DELTAS && restarts(kind.value.options);
    if (isRetry || isChat) throw refused(`${path}: ${RESTARTS}`, "STEP_GRAPH_INVALID");
  }
}

/** What a run fails with that has begun again all the same, in a pipeline that the server keeps. */
export function restarted(path: string): StepwireError {
  return refused(`${path}: ${RESTARTS}`, "STEP_GRAPH_INVALID");
}
