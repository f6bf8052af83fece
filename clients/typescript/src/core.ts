/** One connection with all that is made over it; what the everyday API and the guide's are both built on. */

import platform from "#platform";
import type { Transport } from "@connectrpc/connect";

import type { Blocking } from "./blocking.js";
import { ClientClosed } from "./errors.js";
import { type Lanes, LocalLanes } from "./lanes.js";
import type { ConnectOptions, Link } from "./platform.js";
import { makeServices, type Services } from "./services.js";

export class Core {
  readonly address: string;
  readonly options: ConnectOptions;
  /** The services, typed; calls fail with `StepwireError`, and end when the reader of a stream leaves it. */
  readonly services: Services;
  readonly #link: Link;
  #closing: Promise<void> | undefined;
  #blocking: Blocking | undefined;
  #local: Lanes | undefined;

  constructor(address: string, options: ConnectOptions = {}) {
    this.address = address;
    this.options = options;
    this.#link = platform.link(address, options);
    this.services = makeServices(this);
  }

  /** Whether nothing can be called any more. */
  get isClosed(): boolean {
    return this.#closing !== undefined;
  }

  /** For calls with stubs of one's own: Connect's errors, Connect's rules. */
  get transport(): Transport {
    return this.#link.transport;
  }

  /** Calls that block this thread; its own thread and connection are made by the first use. Throws in browsers. */
  get blocking(): Blocking {
    if (this.isClosed) throw new ClientClosed();
    this.#blocking ??= platform.blocking(this.address, this.options);
    return this.#blocking;
  }

  /** Whether `blocking` works here. */
  get canBlock(): boolean {
    return platform.canBlock;
  }

  /** For calls to be made in order while nobody waits for each; where this thread can be blocked, by the other one. */
  get lanes(): Lanes {
    if (platform.canBlock) return this.blocking;
    if (this.isClosed) throw new ClientClosed();
    this.#local ??= new LocalLanes(platform.link(this.address, this.options), this.address);
    return this.#local;
  }

  /** Ends the connection and all calls on it, sends what waits in lanes, and rejects with what could not be sent. */
  close(): Promise<void> {
    if (!this.#closing) {
      this.#closing = this.#end();
      this.#closing.catch(() => undefined); // it is for those who want to know
    }
    return this.#closing;
  }

  async #end(): Promise<void> {
    this.#link.close();
    await (this.#blocking ?? this.#local)?.close();
  }
}
