/** Serves functions of this program as steps that all runs of a server can name. */

import { Core } from "../core.js";
import { StepwireError } from "../errors.js";
import type { Functions } from "../functions/functions.js";
import type { WorkerRegistration } from "../gen/stepwire/v1/step_run_pb.js";
import type { ConnectOptions } from "../platform.js";
import { pause } from "../retry.js";
import type { Services } from "../services.js";
import { registration, type WorkerSteps } from "./registration.js";
import { Session } from "./session.js";

const FIRST_DELAY_MS = 200;
const MAX_DELAY_MS = 5000;

/** What a later attempt may not meet again; anything else, such as a name that is taken, is for people to mend. */
const PASSING = new Set([
  "UNAVAILABLE",
  "RESOURCE_EXHAUSTED",
  "DEADLINE_EXCEEDED",
  "CANCELLED",
  "ABORTED",
  "INTERNAL",
  "UNKNOWN",
  "DATA_LOSS",
]);

/** How to serve. */
export interface WorkerOptions {
  /** How many calls it takes at once, 1 to 1,000. Default: 1. */
  readonly maxInFlight?: number;
  /** What people call it. Default: its address. */
  readonly name?: string;
  /** Is told why the worker is not connected, before it tries again. Default: a warning on the console. */
  readonly onDisconnect?: (why: StepwireError | undefined) => void;
}

/** Where to serve: an address with options, or a client, whose connection is then used. */
export type Server = string | { readonly services: Services };

/**
 * Serves steps to all runs of a server, for as long as it is connected; it connects again whenever that is lost.
 *
 * A step that is lost with its worker is called again elsewhere, or when the worker is back, unless it had yielded
 * something: so it should do no harm to call it twice. In Node, not in browsers.
 */
export class StepWorker {
  readonly #registration: WorkerRegistration;
  readonly #functions: Functions;
  readonly #server: Server;
  readonly #options: WorkerOptions & ConnectOptions;
  readonly #drained = new AbortController();
  readonly #ended = new AbortController();

  /** @throws {TypeError} A step has no function. */
  constructor(server: Server, steps: WorkerSteps, options: WorkerOptions & ConnectOptions = {}) {
    const made = registration(steps, options.maxInFlight ?? 1, options.name ?? "");
    this.#registration = made.registration;
    this.#functions = made.functions;
    this.#server = server;
    this.#options = options;
  }

  /**
   * Serves until `drain` is called and the calls that were open then are answered, or until `close` is.
   *
   * @throws {StepwireError} The server does not take these steps, because of their names or schemas.
   */
  async serve(): Promise<void> {
    const own = typeof this.#server === "string" ? new Core(this.#server, this.#options) : undefined;
    const { services } = own ?? (this.#server as { readonly services: Services });
    try {
      let delayMs = 0;
      while (!this.#drained.signal.aborted) {
        const session = new Session(services, this.#functions);
        const why = await this.#served(session);
        if (this.#drained.signal.aborted) return;
        delayMs = session.wasAccepted ? FIRST_DELAY_MS : Math.min(MAX_DELAY_MS, Math.max(FIRST_DELAY_MS, delayMs * 2));
        this.#tell(why);
        await pause(delayMs * (0.5 + Math.random() / 2), this.#drained.signal).catch(() => undefined);
      }
    } finally {
      void own?.close();
    }
  }

  /** Takes no further calls, and ends when those that are open are answered. */
  drain(): void {
    this.#drained.abort();
  }

  /** Ends at once; calls that are open are lost. */
  close(): void {
    this.#ended.abort();
    this.#drained.abort();
  }

  /** Serves on one connection; why it was lost. */
  async #served(session: Session): Promise<StepwireError | undefined> {
    const leave = () => session.drain();
    this.#drained.signal.addEventListener("abort", leave);
    try {
      await session.serve(this.#registration, this.#ended.signal);
      return undefined;
    } catch (thrown) {
      const isOver = this.#drained.signal.aborted && (this.#ended.signal.aborted || !session.wasAccepted);
      if (isOver || (thrown instanceof StepwireError && PASSING.has(thrown.code))) return thrown as StepwireError;
      throw thrown;
    } finally {
      this.#drained.signal.removeEventListener("abort", leave);
    }
  }

  #tell(why: StepwireError | undefined): void {
    if (this.#options.onDisconnect) this.#options.onDisconnect(why);
    else console.warn(`the worker is not connected, and tries again: ${why?.message ?? "the server ended the call"}`);
  }
}

/**
 * Serves functions as steps until SIGTERM or Ctrl-C: then finishes the calls that are open, and returns. A second one
 * ends at once. In Node, not in browsers. `StepWorker` is for programs that have their own way to end.
 *
 * @param server An address such as `localhost:50051`, or a client.
 * @param steps Functions by the names of the steps; with `{run, inputSchema, …}` in place of a function, schemas too.
 * @throws {StepwireError} The server does not take these steps.
 */
export async function serveSteps(
  server: Server,
  steps: WorkerSteps,
  options: WorkerOptions & ConnectOptions = {},
): Promise<void> {
  const worker = new StepWorker(server, steps, options);
  let isLeaving = false;
  const end = () => {
    if (isLeaving) worker.close();
    isLeaving = true;
    worker.drain();
  };
  const signals = ["SIGTERM", "SIGINT"] as const;
  for (const signal of signals) process.on(signal, end);
  try {
    await worker.serve();
  } finally {
    for (const signal of signals) process.off(signal, end);
  }
}
