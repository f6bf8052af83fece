/** Calls that are made one after the other, in the order they were given, while nobody waits for each. */

import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

import type { Method } from "./blocking.js";
import { invoke } from "./calls.js";
import { ClientClosed, ofCall, StepwireError, toFacts, unlessEnded } from "./errors.js";
import type { CallOptions } from "./options.js";
import type { Link } from "./platform.js";
import { LaneQueues } from "./queues.js";

/** How a call is made behind others. */
export interface LaneOptions extends CallOptions {
  /** Tell only of this call: what others of the lane failed with is left for the next flush. */
  readonly isAlone?: boolean | undefined;
}

/** Gets what the server said of a call that nobody waits for. */
export type Refused = (error: StepwireError) => void;

/**
 * Lanes by name. What the server refuses is told once, by the next `flush` or `after`, and dropped; the calls behind it
 * are made nevertheless. What could not be brought to the server stays, with all behind it, until one of the two does it.
 */
export interface Lanes {
  /** Hands over a call, which has to be one that may be repeated; returns at once. */
  post<I extends DescMessage, O extends DescMessage>(
    lane: string,
    method: Method<I, O>,
    request: MessageInitShape<I> | MessageInitShape<I>[],
    refused?: Refused,
  ): void;
  /** Hands over a failure: something that was to be called could not even be made. */
  fail(lane: string, error: StepwireError): void;
  /** Waits until all calls of a lane are answered. Rejects with what failed since the last time. */
  flush(lane: string, options?: CallOptions): Promise<void>;
  /** Makes a call behind all others of the lane; all of its answer. Rejects with what these have failed with. */
  after<I extends DescMessage, O extends DescMessage>(
    lane: string,
    method: Method<I, O>,
    request: MessageInitShape<I>,
    options?: LaneOptions,
  ): Promise<MessageShape<O>[]>;
  /**
   * Ends what is waited for, and takes nothing more. What was posted is sent within `FAREWELL_MS`, as far as that can
   * be. Rejects with what was refused, that nobody was told of, and with what is lost.
   */
  close(): Promise<void>;
}

/** How long a client that is closed waits for a server that takes what was queued and does not answer. */
export const FAREWELL_MS = 30_000;

const NOT_STORED = "the client was closed before all that was added to a conversation was stored";

/** Failures that nobody has been told of. */
const MAX_UNTOLD = 100;

/** What calls of lanes failed with, until somebody is told. */
export class Untold {
  readonly #failures = new Map<string, StepwireError[]>();

  add(lane: string, error: StepwireError): void {
    const failures = this.#failures.get(lane) ?? [];
    this.#failures.set(lane, failures);
    if (failures.length < MAX_UNTOLD) failures.push(error);
  }

  /** Throws all failures of a lane, as one that has the others beside it. */
  throw(lane: string): void {
    const failures = this.#failures.get(lane) ?? [];
    this.#failures.delete(lane);
    throwAll(failures);
  }

  /** The same of all lanes, with some beside. */
  throwWith(failures: readonly StepwireError[]): void {
    const all = [...[...this.#failures.values()].flat(), ...failures];
    this.#failures.clear();
    throwAll(all);
  }
}

function throwAll([first, ...others]: readonly StepwireError[]): void {
  if (first) throw Object.assign(first, { others });
}

/** Waits until lanes are emptied, and throws what was refused in any, or could not be sent and never will be. */
export async function unsent(emptied: readonly Promise<void>[], untold: Untold): Promise<void> {
  const lost: StepwireError[] = [];
  for (const each of await Promise.allSettled(emptied)) {
    if (each.status === "fulfilled") continue;
    const error = each.reason as StepwireError;
    lost.push(new StepwireError(`${NOT_STORED}: ${error.message}`, toFacts(error)));
  }
  untold.throwWith(lost);
}

/** Lanes of this thread, over a connection of their own, which ends with them. */
export class LocalLanes implements Lanes {
  readonly #link: Link;
  readonly #target: string;
  readonly #queues: LaneQueues;
  readonly #untold = new Untold();
  readonly #closed = new AbortController();

  constructor(link: Link, target: string) {
    this.#link = link;
    this.#target = target;
    this.#queues = new LaneQueues(target);
  }

  post(lane: string, method: DescMethod, request: unknown, refused?: Refused): void {
    const call = () => invoke(this.#link.transport, method, request);
    this.#queues.post(lane, call, (said) => {
      if (said === undefined || said === "held") return;
      refused?.(said);
      this.#untold.add(lane, said);
    });
  }

  fail(lane: string, error: StepwireError): void {
    const call = () => Promise.reject(error);
    this.#queues.post(lane, call, (said) => void (said === "held" || this.#untold.add(lane, error)));
  }

  async flush(lane: string, options: CallOptions = {}): Promise<void> {
    await this.#after(lane, async () => [], options);
  }

  after<I extends DescMessage, O extends DescMessage>(
    lane: string,
    method: Method<I, O>,
    request: MessageInitShape<I>,
    options: LaneOptions = {},
  ): Promise<MessageShape<O>[]> {
    const call = () => invoke(this.#link.transport, method, request, options.timeoutMs);
    return this.#after(lane, call, options) as Promise<MessageShape<O>[]>;
  }

  async close(): Promise<void> {
    this.#closed.abort();
    const emptied = this.#queues.names.map(async (name) => {
      const done = this.#queues.after(name, async () => undefined);
      await unlessEnded(done, { timeoutMs: FAREWELL_MS }, this.#target);
    });
    try {
      await unsent(emptied, this.#untold);
    } finally {
      this.#link.close();
    }
  }

  async #after<T>(lane: string, call: () => Promise<T>, options: LaneOptions): Promise<T> {
    let isTold = false;
    const signal = options.signal ? AbortSignal.any([options.signal, this.#closed.signal]) : this.#closed.signal;
    try {
      const answer = await unlessEnded(this.#queues.after(lane, call), { ...options, signal }, this.#target);
      isTold = true;
      if (!options.isAlone) this.#untold.throw(lane);
      return answer;
    } catch (thrown) {
      const own = ofCall(thrown, this.#target);
      const { aborted, reason } = this.#closed.signal;
      if (aborted && own.cause === reason) throw new ClientClosed();
      throw isTold ? own : whyItFailed(this.#untold, lane, own, options);
    }
  }
}

/** What to tell of a call that failed: where something before it was refused, that; but not if nobody listens. */
export function whyItFailed(untold: Untold, lane: string, own: StepwireError, options: LaneOptions): StepwireError {
  if (options.isAlone || options.signal?.aborted || own.isTransient || !own.reason) return own;
  try {
    untold.throw(lane);
  } catch (earlier) {
    return earlier as StepwireError;
  }
  return own;
}
