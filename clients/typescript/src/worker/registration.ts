/** What a worker tells the server of its steps. */

import { create, type JsonObject } from "@bufbuild/protobuf";

import { type Closure, Functions } from "../functions/functions.js";
import { cut } from "../functions/naming.js";
import { type WorkerRegistration, WorkerRegistrationSchema } from "../gen/stepwire/v1/step_run_pb.js";

/** A step that a worker serves. */
export interface WorkerStep {
  /** Is called with the value, and a `CallContext` whose signal aborts when nobody needs the answer any more. */
  readonly run: Closure;
  /** Numbers with dots between them. Default: 1. One worker serves one version of a name. */
  readonly version?: string;
  /** What it does. */
  readonly description?: string;
  /** JSON Schema of its input, which the server checks first. Default: any value. */
  readonly inputSchema?: Readonly<JsonObject>;
  /** JSON Schema of each result, which the server checks. Default: any value. */
  readonly outputSchema?: Readonly<JsonObject>;
}

/** Functions or steps, by the names of the steps: 1 to 128 of `A-Z a-z 0-9 . _ : -`. */
export type WorkerSteps = Readonly<Record<string, Closure | WorkerStep>>;

const MAX_DESCRIPTION_BYTES = 1024;

/** Makes a worker's first message, and takes up its functions. */
export function registration(
  steps: WorkerSteps,
  maxInFlight: number,
  workerName: string,
): { readonly registration: WorkerRegistration; readonly functions: Functions } {
  const functions = new Functions();
  const made = Object.entries(steps).map(([name, step]) => {
    const { run, version = "", description = "", ...schemas } = typeof step === "function" ? { run: step } : step;
    if (typeof run !== "function") throw new TypeError(`the step \`${name}\` has no function \`run\``);
    functions.serve(name, run);
    return { name, version, description: cut(description, MAX_DESCRIPTION_BYTES), ...schemas };
  });
  return { registration: create(WorkerRegistrationSchema, { steps: made, maxInFlight, workerName }), functions };
}
