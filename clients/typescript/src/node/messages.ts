/** What two threads say to each other. */

import type { ErrorFacts } from "../errors.js";
import type { ConnectOptions } from "../platform.js";
import type { Cells } from "./bell.js";

/** What the worker is born with. */
export interface Birth {
  readonly address: string;
  readonly options: ConnectOptions;
  readonly port: import("node:worker_threads").MessagePort;
  readonly bell: Cells;
}

/** What the worker is asked. */
export interface Ask {
  readonly id: number;
  /**
   * `call`: make it and answer; `post`: into the lane; `fail`: into the lane, as a failure; `flush`: wait for the lane;
   * `talk`: begin it on `port`; `ping`: give a sign, and no answer.
   */
  readonly kind: "call" | "post" | "fail" | "flush" | "talk" | "ping";
  /** Such as `stepwire.v1.ChatService/Chat`. */
  readonly method?: string;
  readonly requests?: readonly Uint8Array[];
  readonly timeoutMs?: number | undefined;
  readonly lane?: string | undefined;
  readonly error?: SentError;
  readonly port?: import("node:worker_threads").MessagePort;
}

/** What the worker answers: to a `post` or `fail`, that it is dealt with, or first that it is held. */
export interface Answered {
  readonly id: number;
  /** There was no server for it; another answer comes once there was. */
  readonly isHeld?: boolean;
  readonly messages?: readonly Uint8Array[];
  readonly error?: SentError;
}

export type SentError = ErrorFacts & { readonly message: string };

/** What the worker is told of a talk: to send a message, that one was read, or to end it. */
export interface Wish {
  readonly kind: "send" | "more" | "close";
  readonly message?: Uint8Array;
}

/** What the worker tells of a talk: that a message is on its way, one that came, or the end. */
export interface Said {
  readonly kind: "taken" | "message" | "end";
  readonly message?: Uint8Array;
  readonly error?: SentError;
}
