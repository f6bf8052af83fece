/** Calls that block: handed to a thread of their own, and waited for with Atomics.wait. */

import {
  create,
  type DescMessage,
  fromBinary,
  type MessageInitShape,
  type MessageShape,
  toBinary,
} from "@bufbuild/protobuf";
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";

import type { Blocking, BlockingOptions, BlockingTalk, Method } from "../blocking.js";
import { ClientClosed, StepwireError, toFacts } from "../errors.js";
import type { ConnectOptions } from "../platform.js";
import type { Answered, Ask, Birth, SentError } from "./messages.js";
import { WorkerTalk } from "./talk.js";

/** A thread that has not begun by then never will: its file is missing, or there is no memory. */
const START_MS = 60_000;

const READY = 0;

export function makeBlocking(address: string, options: ConnectOptions): Blocking {
  return new WorkerCalls(address, options);
}

class WorkerCalls implements Blocking {
  readonly #worker: Worker;
  readonly #port: MessagePort;
  readonly #bell = new Int32Array(new SharedArrayBuffer(Int32Array.BYTES_PER_ELEMENT));
  readonly #talks = new Set<{ lose(error: SentError): void }>();
  readonly #open = new Map<number, (answered: Answered) => void>();
  #lastId = READY;
  #isReady = false;
  #isClosed = false;
  #broken: SentError | undefined;

  constructor(address: string, options: ConnectOptions) {
    const { port1, port2 } = new MessageChannel();
    const birth: Birth = { address, options, port: port2, bell: this.#bell };
    this.#port = port1;
    this.#worker = new Worker(new URL("./blocking-worker.js", import.meta.url), {
      workerData: birth,
      transferList: [port2],
      execArgv: [], // what this process was started with, such as --input-type, is not for the worker
    });
    this.#worker.on("error", (error) => this.#broke(error));
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
    const { timeoutMs, lane } = options;
    const answered = this.#wait({ ...this.#asked(method, request), kind: "call", timeoutMs, lane });
    return (answered.messages ?? []).map((bytes) => fromBinary(method.output, bytes));
  }

  post<I extends DescMessage, O extends DescMessage>(
    lane: string,
    method: Method<I, O>,
    request: MessageInitShape<I> | MessageInitShape<I>[],
  ): void {
    this.#send({ ...this.#asked(method, request), kind: "post", lane }, () => {});
  }

  fail(lane: string, error: StepwireError): void {
    this.#send({ id: this.#nextId(), kind: "fail", lane, error: toFacts(error) }, () => {});
  }

  flush(lane: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#send({ id: this.#nextId(), kind: "flush", lane }, ({ error }) => {
        if (error) reject(new StepwireError(error.message, error));
        else resolve();
      });
    });
  }

  talk<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    options: Pick<BlockingOptions, "timeoutMs"> = {},
  ): BlockingTalk<I, O> {
    if (!this.#isReady) this.#wait({ id: this.#nextId(), kind: "flush", lane: "" }); // which gives up some time
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
    const talk = new WorkerTalk(method, port1, this.#bell, () => this.#talks.delete(talk));
    this.#talks.add(talk);
    return talk;
  }

  close(): void {
    this.#isClosed = true;
    void this.#worker.terminate();
    this.#port.close();
    const error = toFacts(new ClientClosed());
    for (const [id, settle] of this.#open) settle({ id, error });
    this.#open.clear();
    for (const talk of this.#talks) talk.lose(error);
  }

  #asked(method: Method, request: object): Pick<Ask, "id" | "method" | "requests"> {
    const requests = (Array.isArray(request) ? request : [request]).map((each) =>
      toBinary(method.input, create(method.input, each)),
    );
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
    if (answered.id === READY) this.#isReady = true;
    const settle = this.#open.get(answered.id);
    this.#open.delete(answered.id);
    settle?.(answered);
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
      const rung = Atomics.load(this.#bell, 0);
      const received = receiveMessageOnPort(this.#port) as { message: Answered } | undefined;
      if (received) this.#take(received.message);
      else if (Atomics.wait(this.#bell, 0, rung, this.#isReady ? undefined : START_MS) === "timed-out") {
        throw new StepwireError("the thread that makes the call did not begin", { code: "INTERNAL" });
      }
    }
    if (mine.error) throw new StepwireError(mine.error.message, mine.error);
    return mine;
  }

  #broke(error: Error): void {
    const facts = toFacts(
      new StepwireError(`the thread that makes the calls ended: ${error.message}`, { code: "INTERNAL" }),
    );
    this.#broken = facts;
    for (const id of [...this.#open.keys()]) this.#take({ id, error: facts });
  }
}
