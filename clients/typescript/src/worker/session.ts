/** One connection of a worker: registers, answers calls and says that it is alive, until the server ends it. */

import { create, type MessageInitShape } from "@bufbuild/protobuf";
import { durationMs } from "@bufbuild/protobuf/wkt";

import { StepwireError } from "../errors.js";
import { Calls } from "../functions/calls.js";
import type { Functions } from "../functions/functions.js";
import { Outbox } from "../functions/outbox.js";
import {
  type ServeStepsRequest,
  ServeStepsRequestSchema,
  type ServeStepsResponse,
  type WorkerRegistration,
} from "../gen/stepwire/v1/step_run_pb.js";
import type { Services } from "../services.js";

/** After so many intervals of silence the server is taken for dead. */
const MISSED = 3;

/** How long the server's first word may take. */
const FIRST_WORD_MS = 60_000;

function said(kind: MessageInitShape<typeof ServeStepsRequestSchema>["kind"]): ServeStepsRequest {
  return create(ServeStepsRequestSchema, { kind });
}

/** One connection of a worker. */
export class Session {
  /** Whether the server took the worker's steps. */
  wasAccepted = false;
  readonly #services: Services;
  readonly #outbox = new Outbox<ServeStepsRequest>();
  readonly #silence = new AbortController();
  readonly #calls: Calls;
  #watchdog: ReturnType<typeof setTimeout> | undefined;
  #heart: ReturnType<typeof setInterval> | undefined;
  #limitMs = FIRST_WORD_MS;

  constructor(services: Services, functions: Functions) {
    this.#services = services;
    this.#calls = new Calls(functions, (reply) => this.#outbox.send(said({ case: "reply", value: reply })));
  }

  /**
   * Registers, and answers calls until the server ends this, which it does when a worker that was drained has answered
   * its last, or until the signal aborts.
   */
  async serve(registration: WorkerRegistration, signal: AbortSignal): Promise<void> {
    const ended = AbortSignal.any([signal, this.#silence.signal]);
    void this.#outbox.send(said({ case: "register", value: registration }));
    this.#heard();
    try {
      for await (const response of this.#services.stepRuns.serveSteps(this.#outbox, { signal: ended, timeoutMs: 0 })) {
        this.#heard();
        this.#take(response);
      }
    } catch (thrown) {
      if (!this.#silence.signal.aborted || signal.aborted) throw thrown;
      throw new StepwireError("the server fell silent", { code: "UNAVAILABLE" }, { cause: thrown });
    } finally {
      clearTimeout(this.#watchdog);
      clearInterval(this.#heart);
      this.#calls.close();
      this.#outbox.end();
    }
  }

  /** Takes no further calls: the server ends this when those that are open are answered. */
  drain(): void {
    if (this.wasAccepted) void this.#outbox.send(said({ case: "drain", value: {} }));
    else this.#silence.abort();
  }

  #take({ kind }: ServeStepsResponse): void {
    if (kind.case === "call") this.#calls.begin(kind.value);
    else if (kind.case === "cancelCall") this.#calls.cancel(kind.value.callId);
    else if (kind.case === "accepted") {
      this.wasAccepted = true;
      const { heartbeatInterval } = kind.value;
      const intervalMs = heartbeatInterval ? durationMs(heartbeatInterval) : FIRST_WORD_MS;
      this.#limitMs = MISSED * intervalMs;
      this.#heart = setInterval(() => this.#beat(), intervalMs);
      this.#heard();
    }
  }

  #beat(): void {
    // Where the server takes nothing, there is no use in more.
    if (!this.#outbox.isWaiting) void this.#outbox.send(said({ case: "heartbeat", value: {} }));
  }

  #heard(): void {
    clearTimeout(this.#watchdog);
    this.#watchdog = setTimeout(() => this.#silence.abort(), this.#limitMs);
  }
}
