/** The order of lanes: what is made after what, and what waits for the server to be there. */

import { ofCall, type StepwireError } from "./errors.js";

/** What became of a call that was posted: made (undefined), refused, or held, of which more is said later. */
export type Outcome = StepwireError | "held" | undefined;

interface Posted {
  readonly call: () => Promise<unknown>;
  readonly told: (outcome: Outcome) => void;
}

interface Lane {
  last: Promise<unknown>;
  /** Posted, and not yet brought to the server; in order. */
  readonly waiting: Posted[];
  /** Why not. */
  away: StepwireError | undefined;
}

/** Lanes by name, each of which makes one call at a time. */
export class LaneQueues {
  readonly #target: string;
  readonly #lanes = new Map<string, Lane>();

  /** @param target What errors call the server. */
  constructor(target: string) {
    this.#target = target;
  }

  /** Those in which something is left to do. */
  get names(): string[] {
    return [...this.#lanes.keys()];
  }

  /** Makes a call behind all others of the lane; while something before it is held, so is this. */
  post(name: string, call: () => Promise<unknown>, told: (outcome: Outcome) => void): void {
    const posted = { call, told };
    void this.#then(name, async (lane) => {
      lane.waiting.push(posted);
      if (lane.away) told("held");
      else await this.#send(lane);
    });
  }

  /** Makes a call behind all others of the lane, those that are held too. Rejects if they still cannot be made. */
  after<T>(name: string, call: () => Promise<T>): Promise<T> {
    return this.#then(name, async (lane) => {
      await this.#send(lane);
      if (lane.away) throw lane.away;
      return call();
    });
  }

  /** Makes what waits, as far as there is a server for it. */
  async #send(lane: Lane): Promise<void> {
    lane.away = undefined;
    for (let next = lane.waiting[0]; next; next = lane.waiting[0]) {
      try {
        await next.call();
        next.told(undefined);
      } catch (thrown) {
        const error = ofCall(thrown, this.#target);
        if (isUndelivered(error)) {
          lane.away = error;
          for (const { told } of lane.waiting) told("held");
          return;
        }
        next.told(error);
      }
      lane.waiting.shift();
    }
  }

  #then<T>(name: string, act: (lane: Lane) => Promise<T>): Promise<T> {
    const lane = this.#lanes.get(name) ?? { last: Promise.resolve(), waiting: [], away: undefined };
    this.#lanes.set(name, lane);
    const done = lane.last.then(() => act(lane));
    // A lane at rest is forgotten, so that a program with many conversations does not grow by them.
    const rest: Promise<void> = done.then(
      () => this.#forget(name, rest),
      () => this.#forget(name, rest),
    );
    lane.last = rest;
    return done;
  }

  #forget(name: string, rest: Promise<void>): void {
    const lane = this.#lanes.get(name);
    if (lane?.last === rest && lane.waiting.length === 0) this.#lanes.delete(name);
  }
}

/** Whether no server has said what it thinks of the call, or it said to come back: it may be made again. */
function isUndelivered({ isTransient, code, reason }: StepwireError): boolean {
  return isTransient || (code === "DEADLINE_EXCEEDED" && reason === "");
}
