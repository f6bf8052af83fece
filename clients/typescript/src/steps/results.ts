/** What runs come to. */

import { durationMs, timestampDate } from "@bufbuild/protobuf/wkt";

import { vectorOf } from "../embeddings.js";
import { ofItem, StepwireError } from "../errors.js";
import {
  type RunStepResponse,
  StageEventKind,
  type StepMetadata as WireMetadata,
  StepOutcome,
  type StepResult as WireResult,
} from "../gen/stepwire/v1/step_run_pb.js";
import { fromValue } from "./values.js";

/** How a step went. Errors and usage include those of the steps within it; everything else is its own. */
export interface StepMetadata {
  /** The step: its position in the spec, as in `steps[1].map.step`; empty for the whole run. */
  readonly stepPath: string;
  /** Its kind, such as `map`. */
  readonly type: string;
  /** Its name. */
  readonly name: string;
  /** How it ended. `failed`: by a failure; `cancelled`: from outside; `unspecified`: it was never started. */
  readonly outcome: "completed" | "failed" | "cancelled" | "unspecified";
  /** When its first input came; undefined if none came. */
  readonly startTime: Date | undefined;
  /** Milliseconds from its first input to its end. */
  readonly durationMs: number;
  /** Inputs it was started with. */
  readonly inputs: number;
  /** Values it made. */
  readonly outputs: number;
  /** Items that failed in it. */
  readonly errors: number;
  /** Times its work was begun, retries included. */
  readonly attempts: number;
  /** Answers that came from a cache. */
  readonly cacheHits: number;
  /** Tokens used, each undefined where the provider does not say; undefined if none were. */
  readonly usage: { readonly inputTokens: number | undefined; readonly outputTokens: number | undefined } | undefined;
  /** The model it asked, as the provider names it. */
  readonly model: string;
  /** The endpoint it asked through. */
  readonly provider: string;
  /** With a named step: the version that ran. */
  readonly version: string;
  /** The step's own labels. */
  readonly labels: Readonly<Record<string, string>>;
  /** The steps within it, in the order of the spec. */
  readonly steps: readonly StepMetadata[];
}

/** One result of a run, or the error that keeps its place. */
export interface StepResult {
  /** JSON; a `Float32Array` for an embedding; a `Message` or bytes for those; undefined for an error. */
  readonly value: unknown;
  /** Why the item failed; undefined for a result. */
  readonly error: StepwireError | undefined;
  /** Its position among the results of each step, from 0. Results come in the order of their paths. */
  readonly path: readonly number[];
}

/** What happened at a step. */
export type StageKind =
  | "unspecified"
  | "started"
  | "result"
  | "error"
  | "completed"
  | "text_delta"
  | "cancelled"
  | "retrying"
  | "restarted";

/** Something happened at a step. A slow reader loses events, never results: `droppedBefore` says how many. */
export interface StageEvent {
  /** The step: its position in the spec. */
  readonly stepPath: string;
  readonly kind: StageKind;
  /** Place of the input, with `started`, or of the result, with `result` and `error`. */
  readonly path: readonly number[];
  /** The input, with `started`; the value, with `result`. Null above 4 KiB, and for vectors and bytes. */
  readonly value: unknown;
  /** Why, with `error`. */
  readonly error: StepwireError | undefined;
  /** More of a chat step's reply, with `text_delta`. */
  readonly text: string;
  /** How many events were lost before this one because the reader was slow. */
  readonly droppedBefore: number;
}

/** The values of a run, in order, and how it went. */
export type RunResults<T = unknown> = T[] & {
  /** How the run went, in the shape of its spec. Not enumerable: the list prints and compares as a list. */
  readonly metadata: StepMetadata;
  /** The values with their paths. Not enumerable. */
  readonly results: readonly StepResult[];
  /** What the server's log calls the run. Not enumerable. */
  readonly runId: string;
};

/** Makes the list that callers get. */
export function runResults(results: readonly StepResult[], metadata: StepMetadata, runId: string): RunResults<never> {
  const values = results.map((result) => result.error ?? result.value);
  Object.defineProperties(values, {
    metadata: { value: metadata },
    results: { value: results },
    runId: { value: runId },
  });
  return values as RunResults<never>;
}

/** The kinds of events that are results, or the errors that keep their places. */
const RESULTS = new Set<unknown>(["value", "embedding", "message", "data", "failure"]);

/** Whether an event is a result, and not one that this version does not know. */
export function isResult(event: RunStepResponse["event"]): boolean {
  return RESULTS.has(event.case);
}

/** Reads one result. */
export function stepResult(path: readonly number[], said: RunStepResponse["event"] | WireResult["result"]): StepResult {
  switch (said.case) {
    case "value":
      return { value: fromValue(said.value), error: undefined, path };
    case "embedding":
      return { value: vectorOf(said.value), error: undefined, path };
    case "message":
    case "data":
      return { value: said.value, error: undefined, path };
    case "failure":
      return { value: undefined, error: ofItem(said.value), path };
    default:
      throw new StepwireError("a result of a kind that this version does not know", { code: "INTERNAL" });
  }
}

/** Reads a stage event. */
export function stageEvent(response: RunStepResponse): StageEvent | undefined {
  if (response.event.case !== "stage") return undefined;
  const { stepPath, kind, value, failure, textDelta, droppedBefore } = response.event.value;
  return {
    stepPath,
    kind: (StageEventKind[kind] ?? "UNSPECIFIED").toLowerCase() as StageKind,
    path: response.path,
    value: fromValue(value),
    error: failure && ofItem(failure),
    text: textDelta,
    droppedBefore,
  };
}

/** Reads how a step went. */
export function stepMetadata(wire: WireMetadata | undefined): StepMetadata {
  const { usage, startTime, duration, outcome } = wire ?? {};
  return {
    stepPath: wire?.stepPath ?? "",
    type: wire?.type ?? "",
    name: wire?.name ?? "",
    outcome: (StepOutcome[outcome ?? 0] ?? "UNSPECIFIED").toLowerCase() as StepMetadata["outcome"],
    startTime: startTime && timestampDate(startTime),
    durationMs: duration ? durationMs(duration) : 0,
    inputs: wire?.inputs ?? 0,
    outputs: wire?.outputs ?? 0,
    errors: wire?.errors ?? 0,
    attempts: wire?.attempts ?? 0,
    cacheHits: wire?.cacheHits ?? 0,
    usage: usage && { inputTokens: usage.inputTokenCount, outputTokens: usage.outputTokenCount },
    model: wire?.model ?? "",
    provider: wire?.provider ?? "",
    version: wire?.version ?? "",
    labels: { ...wire?.labels },
    steps: (wire?.steps ?? []).map(stepMetadata),
  };
}
