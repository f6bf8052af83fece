/** A Stepwire server: the everyday API, and the guide's beside it. */

import { Core } from "./core.js";
import { type ChatStepFactoryClass, makeChatStepFactory } from "./guide/chat-step-factory.js";
import { makeSteps, type Steps } from "./guide/steps.js";
import type { ConnectOptions } from "./platform.js";
import type { Services } from "./services.js";

/** Made by `connect`. */
export class Client {
  /** Everything that the protos have, typed: `client.services.chat.streamChat(…)`. */
  readonly services: Services;
  /** The guide's Steps API. */
  readonly steps: Steps;
  /** The guide's class of that name. */
  readonly ChatStepFactory: ChatStepFactoryClass;
  readonly #core: Core;

  constructor(address: string, options: ConnectOptions = {}) {
    this.#core = new Core(address, options);
    this.services = this.#core.services;
    this.steps = makeSteps(this.#core);
    this.ChatStepFactory = makeChatStepFactory(this.#core);
  }

  /** Ends the connection and all calls on it. */
  close(): void {
    this.#core.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Connects to a server, such as `localhost:50051`; nothing is sent before the first call. */
export function connect(address = "localhost:50051", options: ConnectOptions = {}): Client {
  return new Client(address, options);
}
