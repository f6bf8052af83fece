/** Calls that block: handed to a thread of their own, and waited for with Atomics.wait. */

import { type DescMessage, fromBinary, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { existsSync } from "node:fs";
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";

import type { Blocking, BlockingOptions, BlockingTalk, Method } from "../blocking.js";
import { packed } from "../calls.js";
import { ClientClosed, StepwireError, toFacts, unlessEnded } from "../errors.js";
import { type LaneOptions, type Refused, Untold, whyItFailed } from "../lanes.js";
import type { CallOptions } from "../options.js";
import type { ConnectOptions } from "../platform.js";
import { Bell, makeCells } from "./bell.js";
import type { Answered, Ask, Birth, SentError } from "./messages.js";
import { WorkerTalk } from "./talk.js";

const WORKER = new URL("./blocking-worker.js", import.meta.url);
const NO_WORKER =
  `${WORKER.pathname} is missing, which is the thread that makes blocking calls: ` +
  "a bundler has to leave the package `stepwire` out of what it makes for Node";

/** The number under which the thread says that it has begun. */
const READY = 0;

export function makeBlocking(address: string, options: ConnectOptions): Blocking {
  return new WorkerCalls(address, options);
}

class WorkerCalls implements Blocking {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #bell: Bell;
  readonly #address: string;
  readonly #talks = new Set<{ lose(error: SentError): void }>();
  readonly #open = new Map<number, (answered: Answered) => void>();
  /** What there was no server for, and which keeps no process. */
  readonly #held = new Map<number, (answered: Answered) => void>();
  readonly #untold = new Untold();
  #lastId = READY;
  #isClosed = false;
  #broken: SentError | undefined;

  constructor(address: string, options: ConnectOptions) {
    if (!existsSync(WORKER)) throw new StepwireError(NO_WORKER, { code: "INTERNAL" });
    const { port1, port2 } = new MessageChannel();
    const cells = makeCells();
    const birth: Birth = { address, options, port: port2, bell: cells };
    this.#address = address;
    this.#port = port1;
    this.#bell = new Bell(cells, () => this.#port.postMessage({ id: READY, kind: "ping" } satisfies Ask));
    this.#worker = new Worker(WORKER, {
      workerData: birth,
      transferList: [port2],
      execArgv: [], // what this process was started with, such as --input-type, is not for the worker
    });
    this.#worker.on("error", (error) => this.#broke(error.message));
    this.#worker.on("exit", () => this.#broke("it is gone"));
    this.#port.on("message", (answered: Answered) => this.#take(answered));
    this.#rest();
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
    this.#send({ ...this.#asked(method, request), kind: "post", lane }, ({ error }) => this.#note(lane, error, refused));
  }

  fail(lane: string, error: StepwireError): void {
    const ask: Ask = { id: this.#nextId(), kind: "fail", lane, error: toFacts(error) };
    this.#send(ask, () => this.#note(lane, error));
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
    this.#send(ask, () => {}, [port2]);
    const talk = new WorkerTalk(method, port1, this.#bell, {
      wait: (rung) => this.#listen(rung),
      closed: () => this.#talks.delete(talk),
    });
    this.#talks.add(talk);
    return talk;
  }

  close(): void {
    this.#isClosed = true;
    void this.#worker.terminate();
    this.#port.close();
    const error = toFacts(new ClientClosed());
    this.#lose(error);
  }

  #lose(error: SentError): void {
    const open = [...this.#held, ...this.#open];
    this.#held.clear();
    this.#open.clear();
    for (const [id, settle] of open) settle({ id, error });
    for (const talk of this.#talks) talk.lose(error);
    this.#rest();
  }

  /** Waits for an answer without blocking this thread. */
  #answer(ask: Ask, options: CallOptions): Promise<Answered> {
    const answered = new Promise<Answered>((resolve) => this.#send(ask, resolve));
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

  /** Hands over; as long as something is open, the process stays. */
  #send(ask: Ask, settle: (answered: Answered) => void, transferred: readonly MessagePort[] = []): void {
    if (this.#isClosed) throw new ClientClosed();
    if (this.#broken) throw new StepwireError(this.#broken.message, this.#broken);
    this.#open.set(ask.id, settle);
    this.#port.ref();
    this.#port.postMessage(ask, transferred);
  }

  #take(answered: Answered): void {
    const { id, isHeld } = answered;
    const settle = this.#open.get(id) ?? this.#held.get(id);
    this.#open.delete(id);
    if (settle && isHeld) this.#held.set(id, settle);
    else this.#held.delete(id);
    if (!isHeld) settle?.(answered);
    if (this.#open.size === 0) this.#rest();
  }

  #rest(): void {
    this.#port.unref();
    this.#worker.unref();
  }

  /** Blocks this thread until the answer is there. */
  #wait(ask: Ask): Answered {
    let mine: Answered | undefined;
    this.#send(ask, (answered) => {
      mine = answered;
    });
    while (!mine) {
      const { rung } = this.#bell;
      const received = receiveMessageOnPort(this.#port) as { message: Answered } | undefined;
      if (received) this.#take(received.message);
      else this.#listen(rung);
    }
    return mine;
  }

  /** Blocks this thread until something comes; if nothing can, all that is open fails. */
  #listen(rung: number): void {
    if (!this.#bell.wait(rung)) this.#broke("it gives no sign");
  }

  #broke(why: string): void {
    if (this.#isClosed || this.#broken) return;
    this.#broken = toFacts(new StepwireError(`the thread that makes the calls ended: ${why}`, { code: "INTERNAL" }));
    this.#lose(this.#broken);
  }
}
