/** The thread that makes calls: its birth, what it is told and says, and the news of its end. */

import { existsSync } from "node:fs";
import { MessageChannel, type MessagePort, receiveMessageOnPort, Worker } from "node:worker_threads";

import { StepwireError } from "../errors.js";
import type { ConnectOptions } from "../platform.js";
import { Bell, makeCells } from "./bell.js";
import type { Answered, Ask, Birth } from "./messages.js";

const WORKER = new URL("./blocking-worker.js", import.meta.url);
const NO_WORKER =
  `${WORKER.pathname} is missing, which is the thread that makes blocking calls: ` +
  "a bundler has to leave the package `stepwire` out of what it makes for Node";

/** The number under which the thread says that it has begun, and is asked for a sign. */
export const READY = 0;

/** Gets what a thread says while nobody waits for it, and why it has ended by itself. */
export interface Listener {
  readonly answered: (answered: Answered) => void;
  readonly ended: (why: string) => void;
}

export class Thread {
  /** Rings with each word that it says. */
  readonly bell: Bell;
  readonly #worker: Worker;
  readonly #port: MessagePort;

  /** @throws {StepwireError} Its file is not there. */
  constructor(address: string, options: ConnectOptions, { answered, ended }: Listener) {
    if (!existsSync(WORKER)) throw new StepwireError(NO_WORKER, { code: "INTERNAL" });
    const { port1, port2 } = new MessageChannel();
    const cells = makeCells();
    const birth: Birth = { address, options, port: port2, bell: cells };
    this.#port = port1;
    this.bell = new Bell(cells, () => this.#port.postMessage({ id: READY, kind: "ping" } satisfies Ask));
    this.#worker = new Worker(WORKER, {
      workerData: birth,
      transferList: [port2],
      execArgv: [], // what this process was started with, such as --input-type, is not for the worker
    });
    this.#worker.on("error", (error) => ended(error.message));
    this.#worker.on("exit", () => ended("it is gone"));
    this.#port.on("message", answered);
    this.rest();
  }

  /** Hands over; from now on the process stays for it. */
  send(ask: Ask, transferred: readonly MessagePort[] = []): void {
    this.#port.ref();
    this.#port.postMessage(ask, transferred);
  }

  /** What it has said already, for whoever is blocked and hears of no event. */
  said(): Answered | undefined {
    return (receiveMessageOnPort(this.#port) as { message: Answered } | undefined)?.message;
  }

  /** Lets the process end, as nothing is open. */
  rest(): void {
    this.#port.unref();
    this.#worker.unref();
  }

  end(): void {
    void this.#worker.terminate();
    this.#port.close();
  }
}
