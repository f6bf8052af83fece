/** Calls that are made one after the other, in the order they were given, while nobody waits for each. */

import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";
import type { Transport } from "@connectrpc/connect";

import type { Method } from "./blocking.js";
import { invoke } from "./calls.js";
import { ofCall, type StepwireError, unlessEnded } from "./errors.js";
import type { CallOptions } from "./options.js";
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
}

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
    const [first, ...others] = this.#failures.get(lane) ?? [];
    this.#failures.delete(lane);
    if (first) throw Object.assign(first, { others });
  }
}

/** Lanes of this thread, over a connection of this thread. */
export class LocalLanes implements Lanes {
  readonly #transport: Transport;
  readonly #target: string;
  readonly #queues: LaneQueues;
  readonly #untold = new Untold();

  constructor(transport: Transport, target: string) {
    this.#transport = transport;
    this.#target = target;
    this.#queues = new LaneQueues(target);
  }

  post(lane: string, method: DescMethod, request: unknown, refused?: Refused): void {
    const call = () => invoke(this.#transport, method, request);
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
    const call = () => invoke(this.#transport, method, request, options.timeoutMs);
    return this.#after(lane, call, options) as Promise<MessageShape<O>[]>;
  }

  async #after<T>(lane: string, call: () => Promise<T>, options: LaneOptions): Promise<T> {
    let isTold = false;
    try {
      const answer = await unlessEnded(this.#queues.after(lane, call), options, this.#target);
      isTold = true;
      if (!options.isAlone) this.#untold.throw(lane);
      return answer;
    } catch (thrown) {
      const own = ofCall(thrown, this.#target);
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
