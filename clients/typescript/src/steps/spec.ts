/** Turns what people like to write where a step is wanted into the message of the wire. */

import { create, fromJson, isMessage, type JsonValue, type MessageInitShape } from "@bufbuild/protobuf";

import { misused, refused } from "../errors.js";
import { type Closure, type Functions, type Manner, PLAIN } from "../functions/functions.js";
import { type Step as WireStep, StepSchema } from "../gen/stepwire/v1/step_run_pb.js";

/** Makes the step of the wire; it is told where functions are named, and how one is called that is the whole of it. */
export type Make = (functions: Functions, manner: Manner) => WireStep;

/** What can be made a step of the wire. `Step` is one. */
export interface Makes {
  readonly make: Make;
}

/**
 * A step: its name, its JSON (`{map: {step: {named: "upper"}}}`), a function of this program, a step that was made
 * before, or the message of the wire.
 */
export type StepLike = string | Makes | Closure | WireStep | { readonly [name: string]: JsonValue };

/** A step that is no function of this program. */
export type StepSpec = Exclude<StepLike, Closure>;

/** Makes a step of the wire. */
export function wireStep(step: StepLike, functions: Functions, manner: Manner = PLAIN): WireStep {
  if (typeof step === "string") return create(StepSchema, { kind: { case: "named", value: step } });
  if (typeof step === "function") return functions.step(step, manner);
  if (typeof step !== "object" || step === null) {
    throw refused(`a step, its name, its JSON or a function is needed, not ${String(step)}`, "STEP_GRAPH_INVALID");
  }
  if (isMakes(step)) return step.make(functions, manner);
  if (isMessage(step, StepSchema)) return step;
  try {
    return fromJson(StepSchema, step as JsonValue);
  } catch (thrown) {
    throw refused(`no step: ${(thrown as Error).message}`, "STEP_GRAPH_INVALID");
  }
}

function isMakes(step: object): step is Makes {
  return "make" in step && typeof step.make === "function";
}

/** The contents of a step of the wire, by its kind. */
export type Kind = NonNullable<MessageInitShape<typeof StepSchema>["kind"]>;

/** Makes the steps within a step. */
export interface Within {
  (step: StepLike, manner?: Manner): WireStep;
  /** The same, for one that may be absent. */
  maybe(step: StepLike | undefined, manner?: Manner): WireStep | undefined;
}

/** A step whose kind is made of steps within it. */
export function making(kind: (within: Within) => Kind): Make {
  return (functions) => {
    const within = (step: StepLike, manner?: Manner) => wireStep(step, functions, manner);
    const maybe = (step?: StepLike, manner?: Manner) => (step === undefined ? undefined : within(step, manner));
    return create(StepSchema, { kind: kind(Object.assign(within, { maybe })) });
  };
}

/**
 * Checks the names of options, of which a misspelt one would be ignored.
 *
 * @throws {TypeError} There is no such option.
 */
export function known<T extends object>(given: T, names: readonly (keyof T & string)[]): T {
  if (typeof given !== "object" || given === null) throw misused("an object of options is needed");
  for (const name of Object.keys(given)) {
    if (!(names as readonly string[]).includes(name)) {
      throw misused(`\`${name}\` is no option: there are ${[...names].sort().join(", ")}`);
    }
  }
  return given;
}
