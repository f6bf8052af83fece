/** Makes a call in which both sides talk, for a thread that is blocked meanwhile. */

import { type DescMethodStreaming, fromBinary, type Message, toBinary } from "@bufbuild/protobuf";
import type { MessagePort } from "node:worker_threads";
import type { Transport } from "@connectrpc/connect";

import { ahead } from "../ahead.js";
import { ofCall, toFacts } from "../errors.js";
import { Outbox } from "../functions/outbox.js";
import { release } from "../services.js";
import type { Said, Wish } from "./messages.js";

/** Messages that may lie before the other thread, unread. */
const MAX_UNREAD = 16;

/** Whom the messages go to and come from. */
export interface TalkEnds {
  readonly transport: Transport;
  /** What errors call the server. */
  readonly address: string;
  /** The other thread. */
  readonly port: MessagePort;
  /** Wakes it. */
  readonly ring: () => void;
}

/** Makes the call, until it ends or the other thread closes it. */
export function talk(method: DescMethodStreaming, timeoutMs: number | undefined, ends: TalkEnds): void {
  const { port, ring } = ends;
  const outbox = new Outbox<Message>();
  const left = new AbortController();
  const room = new Room(MAX_UNREAD);
  const leave = (): void => {
    left.abort();
    room.grow(); // it may wait for that
  };
  const say = (said: Said): void => {
    port.postMessage(said);
    ring();
  };
  port.on("message", (wish: Wish) => {
    if (wish.kind === "more") room.grow();
    else if (wish.kind === "close") leave();
    else if (wish.message) void outbox.send(fromBinary(method.input, wish.message)).then(() => say({ kind: "taken" }));
  });
  port.on("close", leave);
  void read().then(
    () => say({ kind: "end" }),
    (thrown: unknown) => say({ kind: "end", error: toFacts(ofCall(thrown, ends.address)) }),
  );

  async function read(): Promise<void> {
    let messages: AsyncIterable<Message> | undefined;
    try {
      messages = (await ends.transport.stream(method, left.signal, timeoutMs, undefined, outbox)).message;
      for await (const message of ahead(messages)) {
        await room.take();
        if (left.signal.aborted) break;
        say({ kind: "message", message: toBinary(method.output, message) });
      }
    } finally {
      outbox.end();
      left.abort();
      release(messages);
    }
  }
}

/** Places for messages, which are waited for while there is none. */
class Room {
  #free: number;
  #grown: () => void = () => undefined;

  constructor(free: number) {
    this.#free = free;
  }

  grow(): void {
    this.#free += 1;
    this.#grown();
  }

  async take(): Promise<void> {
    while (this.#free === 0) await new Promise<void>((grown) => (this.#grown = grown));
    this.#free -= 1;
  }
}
