/** Calls that block: handed to a thread of their own, and waited for with Atomics.wait. */

import { type DescMessage, fromBinary, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { MessageChannel, type MessagePort } from "node:worker_threads";

import type { Blocking, BlockingOptions, BlockingTalk, Method } from "../blocking.js";
import { packed } from "../calls.js";
import { ClientClosed, StepwireError, toFacts, unlessEnded } from "../errors.js";
import { FAREWELL_MS, type LaneOptions, type Refused, Untold, unsent, whyItFailed } from "../lanes.js";
import type { CallOptions } from "../options.js";
import type { ConnectOptions } from "../platform.js";
import type { Answered, Ask, SentError } from "./messages.js";
import { WorkerTalk } from "./talk.js";
import { READY, Thread } from "./thread.js";

export function makeBlocking(address: string, options: ConnectOptions): Blocking {
  return new WorkerCalls(address, options);
}

/** Who waits for an answer. */
interface Waiting {
  readonly settle: (answered: Answered) => void;
  /** Where it was posted; absent if it is a call, whose caller waits. */
  readonly lane?: string | undefined;
}

class WorkerCalls implements Blocking {
  readonly #address: string;
  readonly #options: ConnectOptions;
  readonly #talks = new Set<{ lose(error: SentError): void }>();
  readonly #open = new Map<number, Waiting>();
  /** What there was no server for, and which keeps no process. */
  readonly #held = new Map<number, Waiting>();
  readonly #untold = new Untold();
  /** Begun by the first use, and anew by the next use after its end. */
  #thread: Thread | undefined;
  #lastId = READY;
  #isClosed = false;

  constructor(address: string, options: ConnectOptions) {
    this.#address = address;
    this.#options = options;
  }

  call<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I> | MessageInitShape<I>[],
    options?: BlockingOptions,
  ): MessageShape<O> {
    const [message] = this.collect(method, request, options);
    if (!message) throw new StepwireError("the call ended without its answer", { code: "INTERNAL" });
    return message;
  }

  collect<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I> | MessageInitShape<I>[],
    options: BlockingOptions = {},
  ): MessageShape<O>[] {
    const { timeoutMs, lane, isAlone } = options;
    const answered = this.#wait({ ...this.#asked(method, request), kind: "call", timeoutMs, lane });
    return this.#read(method, answered, lane, { isAlone });
  }

  post<I extends DescMessage, O extends DescMessage>(
    lane: string,
    method: Method<I, O>,
    request: MessageInitShape<I> | MessageInitShape<I>[],
    refused?: Refused,
  ): void {
    const settle = ({ error }: Answered) => this.#note(lane, error, refused);
    this.#send({ ...this.#asked(method, request), kind: "post", lane }, { settle, lane });
  }

  fail(lane: string, error: StepwireError): void {
    const ask: Ask = { id: this.#nextId(), kind: "fail", lane, error: toFacts(error) };
    this.#send(ask, { settle: () => this.#note(lane, error), lane });
  }

  async flush(lane: string, options: CallOptions = {}): Promise<void> {
    this.#said(await this.#answer({ id: this.#nextId(), kind: "flush", lane }, options), lane, options);
  }

  async after<I extends DescMessage, O extends DescMessage>(
    lane: string,
    method: Method<I, O>,
    request: MessageInitShape<I>,
    options: LaneOptions = {},
  ): Promise<MessageShape<O>[]> {
    const { timeoutMs } = options;
    const ask: Ask = { ...this.#asked(method, request), kind: "call", timeoutMs, lane };
    return this.#read(method, await this.#answer(ask, options), lane, options);
  }

  talk<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    options: Pick<BlockingOptions, "timeoutMs"> = {},
  ): BlockingTalk<I, O> {
    const { port1, port2 } = new MessageChannel();
    const { typeName } = method.parent;
    const ask: Ask = {
      ...options,
      id: this.#nextId(),
      kind: "talk",
      method: `${typeName}/${method.name}`,
      port: port2,
    };
    const thread = this.#send(ask, { settle: () => {} }, [port2]);
    const talk = new WorkerTalk(method, port1, thread.bell, {
      wait: (rung) => this.#listen(thread, rung),
      closed: () => this.#talks.delete(talk),
    });
    this.#talks.add(talk);
    return talk;
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#lose(toFacts(new ClientClosed()), ({ lane }) => lane === undefined);
    const lanes = new Set([...this.#held.values(), ...this.#open.values()].map(({ lane }) => lane ?? ""));
    try {
      await unsent([...lanes].map((lane) => this.#emptied(lane)), this.#untold);
    } finally {
      this.#thread?.end();
      this.#thread = undefined;
    }
  }

  /** Sends what is left of a lane. */
  async #emptied(lane: string): Promise<void> {
    const ask: Ask = { id: this.#nextId(), kind: "flush", lane };
    const answered = new Promise<Answered>((settle) => this.#hand(ask, { settle }));
    const { error } = await unlessEnded(answered, { timeoutMs: FAREWELL_MS }, this.#address);
    if (error) throw new StepwireError(error.message, error);
  }

  /** Fails what is open, or what of it is meant. */
  #lose(error: SentError, isMeant: (waiting: Waiting) => boolean = () => true): void {
    for (const waiting of [this.#held, this.#open]) {
      for (const [id, each] of [...waiting]) {
        if (!isMeant(each)) continue;
        waiting.delete(id);
        each.settle({ id, error });
      }
    }
    for (const talk of this.#talks) talk.lose(error);
    if (this.#open.size === 0) this.#thread?.rest();
  }

  /** Waits for an answer without blocking this thread. */
  #answer(ask: Ask, options: CallOptions): Promise<Answered> {
    const answered = new Promise<Answered>((settle) => this.#send(ask, { settle }));
    return unlessEnded(answered, options, this.#address);
  }

  #read<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    answered: Answered,
    lane: string | undefined,
    options: LaneOptions,
  ): MessageShape<O>[] {
    this.#said(answered, lane, options);
    return (answered.messages ?? []).map((bytes) => fromBinary(method.output, bytes));
  }

  /** Throws what a call failed with, or what failed before it in its lane. */
  #said({ error }: Answered, lane: string | undefined, options: LaneOptions): void {
    const own = error && new StepwireError(error.message, error);
    if (lane === undefined) {
      if (own) throw own;
    } else if (own) {
      throw whyItFailed(this.#untold, lane, own, options);
    } else if (!options.isAlone) {
      this.#untold.throw(lane);
    }
  }

  #note(lane: string, error: SentError | undefined, refused?: Refused): void {
    if (!error) return;
    const own = new StepwireError(error.message, error);
    refused?.(own);
    this.#untold.add(lane, own);
  }

  #asked(method: Method, request: object): Pick<Ask, "id" | "method" | "requests"> {
    const requests = (Array.isArray(request) ? request : [request]).map((each) => packed(method.input, each));
    return { id: this.#nextId(), method: `${method.parent.typeName}/${method.name}`, requests };
  }

  #nextId(): number {
    this.#lastId += 1;
    return this.#lastId;
  }

  /** Hands over, unless this is closed. */
  #send(ask: Ask, waiting: Waiting, transferred?: readonly MessagePort[]): Thread {
    if (this.#isClosed) throw new ClientClosed();
    return this.#hand(ask, waiting, transferred);
  }

  /** Hands over; as long as something is open, the process stays. */
  #hand(ask: Ask, waiting: Waiting, transferred?: readonly MessagePort[]): Thread {
    this.#thread ??= this.#born();
    this.#open.set(ask.id, waiting);
    this.#thread.send(ask, transferred);
    return this.#thread;
  }

  #born(): Thread {
    const thread: Thread = new Thread(this.#address, this.#options, {
      answered: (answered) => this.#take(answered),
      ended: (why) => this.#broke(thread, why),
    });
    return thread;
  }

  #take(answered: Answered): void {
    const { id, isHeld } = answered;
    const waiting = this.#open.get(id) ?? this.#held.get(id);
    this.#open.delete(id);
    if (waiting && isHeld) this.#held.set(id, waiting);
    else this.#held.delete(id);
    if (!isHeld) waiting?.settle(answered);
    if (this.#open.size === 0) this.#thread?.rest();
  }

  /** Blocks this thread until the answer is there. */
  #wait(ask: Ask): Answered {
    let mine: Answered | undefined;
    const thread = this.#send(ask, { settle: (answered) => void (mine = answered) });
    while (!mine) {
      const { rung } = thread.bell;
      const said = thread.said();
      if (said) this.#take(said);
      else this.#listen(thread, rung);
    }
    return mine;
  }

  /** Blocks this thread until something comes; if nothing can, all that is open fails. */
  #listen(thread: Thread, rung: number): void {
    if (!thread.bell.wait(rung)) this.#broke(thread, "it gives no sign");
  }

  /** Fails what a thread has not answered that has ended. Another one is begun when there is something to do. */
  #broke(thread: Thread, why: string): void {
    if (thread !== this.#thread) return;
    this.#thread = undefined;
    thread.end();
    this.#lose(toFacts(new StepwireError(`the thread that makes the calls ended: ${why}`, { code: "INTERNAL" })));
  }
}
