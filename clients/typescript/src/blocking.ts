/** Calls that block this thread until they are answered. Only Node has them: `node/blocking.ts`. */

import type { DescMessage, DescMethod, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

import type { Lanes } from "./lanes.js";

/** A method with the types of what it is given and what it gives. */
export type Method<I extends DescMessage = DescMessage, O extends DescMessage = DescMessage> = DescMethod & {
  readonly input: I;
  readonly output: O;
};

/** How to make a call. */
export interface BlockingOptions {
  /** Milliseconds until it fails with `DEADLINE_EXCEEDED`. */
  readonly timeoutMs?: number;
  /** Behind all calls of this lane; what the server refused of these is thrown instead. */
  readonly lane?: string | undefined;
  /** Do not throw what was refused before: that is left for the lane's next flush. */
  readonly isAlone?: boolean | undefined;
}

/**
 * Makes calls from a thread of its own, with a connection of its own, so that this thread can wait for them.
 *
 * Methods are those of the generated services, such as `ChatService.method.chat`. Its lanes are part of it, because what
 * is queued has to be sent while this thread is blocked.
 */
export interface Blocking extends Lanes {
  /** Makes a call that is answered with one message, and waits. Several requests are for streams of requests. */
  call<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I> | MessageInitShape<I>[],
    options?: BlockingOptions,
  ): MessageShape<O>;
  /** Makes a call that is answered with a stream, and waits for all of it. */
  collect<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: MessageInitShape<I> | MessageInitShape<I>[],
    options?: BlockingOptions,
  ): MessageShape<O>[];
  /** Begins a call in which both sides talk. */
  talk<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    options?: Pick<BlockingOptions, "timeoutMs">,
  ): BlockingTalk<I, O>;
}

/** A call in which both sides talk. */
export interface BlockingTalk<I extends DescMessage, O extends DescMessage> {
  /** Sends a message, and waits until it is on its way; after the end of the call, does nothing. */
  send(message: MessageInitShape<I>): void;
  /** Waits for the next message; undefined at the end. Throws what the call failed with. */
  receive(): MessageShape<O> | undefined;
  /** Whether the call has ended; what came before may still be there to be received. */
  readonly isEnded: boolean;
  /** Messages that have come and will be received next. */
  waiting(): readonly MessageShape<O>[];
  /** Ends the call; to be called once, in any case. */
  close(): void;
}
