/** The kinds of steps, as functions that make each of the wire. */

import { create, fromJson, type JsonObject } from "@bufbuild/protobuf";
import { durationFromMs } from "@bufbuild/protobuf/wkt";

import { refused } from "../errors.js";
import type { CallContext } from "../functions/functions.js";
import { YES_OR_NO } from "../functions/manners.js";
import { type ChatOptions, ChatOptionsSchema } from "../gen/stepwire/v1/chat_pb.js";
import { ChatEmit, StepSchema } from "../gen/stepwire/v1/step_run_pb.js";
import { type Kind, type Make, making, type StepLike } from "./spec.js";

/** A function that makes a result of a value. */
export type StepFunction<In, Out> = (
  value: In,
  context: CallContext,
) => Out | PromiseLike<Out> | Generator<Out, unknown, undefined> | AsyncGenerator<Out, unknown, undefined>;

function leaf(kind: Kind): Make {
  return () => create(StepSchema, { kind });
}

/** Calls a function that the server runs by itself. */
export function javascript(source: string): Make {
  return leaf({ case: "javascript", value: source });
}

/** Runs steps one after the other. */
export function compose(steps: readonly StepLike[]): Make {
  return making((within) => ({ case: "compose", value: { steps: steps.map((each) => within(each)) } }));
}

/** Runs a step on each item of a list, in order. */
export function map(step: StepLike): Make {
  return making((within) => ({ case: "map", value: { step: within(step) } }));
}

/** What a parallel step is made of. */
export interface ParallelOptions {
  /** What to run on each item. */
  readonly step: StepLike;
  /** How many items are worked on at once, 1 to 256. Default: 4. */
  readonly maxConcurrency?: number;
  /** Give results as they come, not in the order of the items. */
  readonly asCompleted?: boolean;
  /** At the first item that fails, cancel the others. */
  readonly failFast?: boolean;
}

/** Runs a step on each item of a list, side by side. */
export function parallel({ step, ...options }: ParallelOptions): Make {
  return making((within) => ({ case: "parallel", value: { ...options, step: within(step) } }));
}

/** Runs a step between two others. */
export function process(parts: {
  readonly input?: StepLike | undefined;
  readonly process?: StepLike | undefined;
  readonly output?: StepLike | undefined;
}): Make {
  return making(({ maybe }) => {
    const pre = maybe(parts.input);
    const work = maybe(parts.process);
    const post = maybe(parts.output);
    return { case: "process", value: { ...(pre && { pre }), ...(work && { process: work }), ...(post && { post }) } };
  });
}

/** Turns a list into its items. */
export function spread(): Make {
  return leaf({ case: "spread", value: {} });
}

/** Makes one list of all values of the step before it. */
export function gather(): Make {
  return leaf({ case: "gather", value: {} });
}

/** Passes on the first values. */
export function take(count: number): Make {
  return leaf({ case: "take", value: { count } });
}

/** Passes on the values that a function says yes to. */
export function filter(where: StepLike): Make {
  return making((within) => ({ case: "filter", value: { where: within(where, YES_OR_NO) } }));
}

/** Runs the step of the first condition that holds. */
export function choice(
  cases: readonly { readonly when: StepLike; readonly then: StepLike }[],
  otherwise: StepLike | undefined,
): Make {
  return making((within) => {
    const last = within.maybe(otherwise);
    const made = cases.map(({ when, then }) => ({ when: within(when, YES_OR_NO), then: within(then) }));
    return { case: "choice", value: { cases: made, ...(last && { otherwise: last }) } };
  });
}

/** Gives a step only so many milliseconds for each input. */
export function timeout(step: StepLike, limitMs: number): Make {
  return making((within) => ({ case: "timeout", value: { step: within(step), limit: durationFromMs(limitMs) } }));
}

/** What a chat step is made of. */
export interface ChatLeaf {
  /** Name or alias of a model. Default: the server's. */
  readonly model?: string;
  /** What the model is told first. */
  readonly system?: string;
  /** How to answer: the JSON of `ChatOptions`, such as `{temperature: 0.2, maxTokens: 100}`. */
  readonly options?: Readonly<JsonObject> | ChatOptions;
  /** What the results are: the whole `message`, or each piece of its text as it comes. Default: `message`. */
  readonly emit?: "message" | "deltas";
}

/** Asks a model for a reply. */
export function chat({ model = "", system = "", options, emit = "message" }: ChatLeaf): Make {
  const value = {
    model,
    system,
    ...(options && { options: chatOptions(options) }),
    emit: emit === "deltas" ? ChatEmit.DELTAS : ChatEmit.MESSAGE,
  };
  return leaf({ case: "chat", value });
}

/** Reads options of a chat. */
export function chatOptions(options: Readonly<JsonObject> | ChatOptions): ChatOptions {
  if (options.$typeName === "stepwire.v1.ChatOptions") return options as ChatOptions;
  try {
    return fromJson(ChatOptionsSchema, options as JsonObject);
  } catch (thrown) {
    throw refused(`no such options: ${(thrown as Error).message}`, "FIELD_INVALID");
  }
}

/** Turns a text into a vector, or a list of texts into one for each. */
export function embed(model: string): Make {
  return leaf({ case: "embed", value: { model } });
}

/** What a search step takes. */
export interface SearchInput {
  readonly query: string;
  readonly documents: readonly string[];
}

/** Ranks documents by meaning. */
export function search(topK: number | undefined, model: string): Make {
  return leaf({ case: "search", value: { model, ...(topK !== undefined && { topK }) } });
}

/** Fills a template. */
export function render(template: string): Make {
  return leaf({ case: "render", value: { template } });
}
