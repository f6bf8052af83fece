/** This thread's end of a call in which both sides talk, and which another thread makes. */

import { type DescMessage, fromBinary, type MessageInitShape, type MessageShape } from "@bufbuild/protobuf";
import { type MessagePort, receiveMessageOnPort } from "node:worker_threads";

import type { BlockingTalk, Method } from "../blocking.js";
import { StepwireError } from "../errors.js";
import { packed } from "../calls.js";
import type { Bell } from "./bell.js";
import type { Said, SentError, Wish } from "./messages.js";

/** Says and hears one message after the other, and blocks this thread meanwhile. */
export class WorkerTalk<I extends DescMessage, O extends DescMessage> implements BlockingTalk<I, O> {
  readonly #method: Method<I, O>;
  readonly #port: MessagePort;
  readonly #wait: (rung: number) => void;
  readonly #bell: Bell;
  readonly #closed: () => void;
  readonly #heard: MessageShape<O>[] = [];
  #sent = 0;
  #taken = 0;
  #end: Said | undefined;

  /**
   * @param bell Rings with each word of the other thread.
   * @param manner `wait` waits for a ring, or calls `lose`; `closed` is told when this is closed.
   */
  constructor(
    method: Method<I, O>,
    port: MessagePort,
    bell: Bell,
    manner: { readonly wait: (rung: number) => void; readonly closed: () => void },
  ) {
    this.#method = method;
    this.#port = port;
    this.#bell = bell;
    this.#wait = manner.wait;
    this.#closed = manner.closed;
  }

  send(message: MessageInitShape<I>): void {
    const { input } = this.#method;
    this.#wish({ kind: "send", message: packed(input, message) });
    this.#sent += 1;
    while (this.#taken < this.#sent && !this.#end) this.#listen();
  }

  receive(): MessageShape<O> | undefined {
    for (;;) {
      const next = this.#heard.shift();
      if (next) {
        this.#wish({ kind: "more" });
        return next;
      }
      if (this.#end) {
        const { error } = this.#end;
        if (error) throw new StepwireError(error.message, error);
        return undefined;
      }
      this.#listen();
    }
  }

  get isEnded(): boolean {
    return this.#end !== undefined;
  }

  waiting(): readonly MessageShape<O>[] {
    while (this.#take());
    return this.#heard;
  }

  close(): void {
    this.#wish({ kind: "close" });
    this.#port.close();
    this.#closed();
  }

  /** Ends it from this side, for whoever waits: the other thread is gone, or everything is closed. */
  lose(error: SentError): void {
    this.#end ??= { kind: "end", error };
    this.#port.close();
  }

  #wish(wish: Wish): void {
    this.#port.postMessage(wish);
  }

  /** Waits for the next word. */
  #listen(): void {
    const { rung } = this.#bell;
    if (!this.#take()) this.#wait(rung);
  }

  /** Takes a word that is there already; whether there was one. */
  #take(): boolean {
    const received = receiveMessageOnPort(this.#port) as { message: Said } | undefined;
    if (!received) return false;
    const { kind, message } = received.message;
    if (kind === "taken") this.#taken += 1;
    else if (kind === "end") this.#end = received.message;
    else if (message) this.#heard.push(fromBinary(this.#method.output, message));
    return true;
  }
}
