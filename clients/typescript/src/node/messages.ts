/** What two threads say to each other. */

import type { ErrorFacts } from "../errors.js";
import type { ConnectOptions } from "../platform.js";

/** What the worker is born with. */
export interface Birth {
  readonly address: string;
  readonly options: ConnectOptions;
  readonly port: import("node:worker_threads").MessagePort;
  /** One number, raised and notified with each answer. */
  readonly bell: Int32Array<SharedArrayBuffer>;
}

/** What the worker is asked. */
export interface Ask {
  readonly id: number;
  /**
   * `call`: make it and answer; `post`: into the lane; `fail`: into the lane, as a failure; `flush`: wait for the lane;
   * `talk`: begin it on `port`.
   */
  readonly kind: "call" | "post" | "fail" | "flush" | "talk";
  /** Such as `stepwire.v1.ChatService/Chat`. */
  readonly method?: string;
  readonly requests?: readonly Uint8Array[];
  readonly timeoutMs?: number | undefined;
  readonly lane?: string | undefined;
  readonly error?: SentError;
  readonly port?: import("node:worker_threads").MessagePort;
}

/** What the worker answers: to a `post` or `fail`, that it is dealt with. */
export interface Answered {
  readonly id: number;
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
