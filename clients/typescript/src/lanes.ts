/** Calls that are made one after the other, in the order they were given, while nobody waits for each. */

import type { DescMessage, DescMethod, MessageInitShape } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";

import type { Method } from "./blocking.js";
import { type Answer, invoke } from "./calls.js";
import { ofCall, type StepwireError } from "./errors.js";

/** Lanes by name. What fails in one is told by its next `flush`, once; the calls behind it are made nevertheless. */
export interface Lanes {
  /** Hands over a call; returns at once. */
  post<I extends DescMessage, O extends DescMessage>(
    lane: string,
    method: Method<I, O>,
    request: MessageInitShape<I> | MessageInitShape<I>[],
  ): void;
  /** Hands over a failure: something that was to be called could not even be made. */
  fail(lane: string, error: StepwireError): void;
  /** Waits until all calls of a lane are answered. Rejects with the first failure since the last time. */
  flush(lane: string): Promise<void>;
}

interface Lane {
  last: Promise<unknown>;
  failed: StepwireError | undefined;
}

/** Lanes of this thread, over a connection of this thread. */
export class LocalLanes implements Lanes {
  readonly #transport: Transport;
  readonly #target: string;
  readonly #lanes = new Map<string, Lane>();

  constructor(transport: Transport, target: string) {
    this.#transport = transport;
    this.#target = target;
  }

  post(lane: string, method: DescMethod, request: unknown): void {
    void this.behind(lane, () => invoke(this.#transport, method, request));
  }

  fail(lane: string, error: StepwireError): void {
    void this.#then(lane, async (own) => {
      own.failed ??= error;
    });
  }

  async flush(lane: string): Promise<void> {
    await this.after(lane, async () => []);
  }

  /** Makes a call behind all others of the lane, unless one of them has failed. */
  after(lane: string, call: () => Promise<Answer>): Promise<Answer> {
    return this.#then(lane, async (own) => {
      const { failed } = own;
      own.failed = undefined;
      if (failed) throw failed;
      return call();
    });
  }

  /** Makes a call behind all others of the lane; its failure is kept for whoever flushes. Never rejects. */
  behind(lane: string, call: () => Promise<Answer>): Promise<void> {
    return this.#then(lane, async (own) => {
      try {
        await call();
      } catch (thrown) {
        own.failed ??= ofCall(thrown, this.#target);
      }
    });
  }

  #then<T>(name: string, act: (lane: Lane) => Promise<T>): Promise<T> {
    const lane = this.#lanes.get(name) ?? { last: Promise.resolve(), failed: undefined };
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
    if (lane?.last === rest && !lane.failed) this.#lanes.delete(name);
  }
}
