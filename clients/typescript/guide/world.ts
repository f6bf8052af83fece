/**
 * What the guide's blocks leave undefined: a server, a console that is read, and clocks that need not be waited for.
 */

import { mkdirSync, writeFileSync } from "node:fs";
import { connect, type ConversationClass } from "stepwire";

import type { Scope } from "./blocks.ts";

/** A picture of one dot. */
const DOT = Buffer.from(
  "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==",
  "base64",
);

/** The model that looks at pictures, and that fails where the last message says so. */
export const SCRIPTED = "eyes";

const HANG_MS = 120_000;

/** All of it, anew for each run of a block. */
export class World {
  readonly client = connect(process.env["STEPWIRE_ADDRESS"] ?? "127.0.0.1:50051");
  /** What was printed, each call a list of what it was given. */
  readonly printed: unknown[][] = [];
  readonly #timers: (() => void)[] = [];

  /** Names of the package, and of the machine that it runs on. */
  scope(more: Scope = {}): Scope {
    const { embeddings, steps, ChatStepFactory } = this.client;
    const print = (...given: unknown[]) => this.printed.push(given);
    return {
      Conversation: this.conversations(),
      embeddings,
      steps,
      ChatStepFactory,
      console: { log: print, error: print },
      setTimeout: (act: () => void) => this.#timers.push(act),
      ...more,
    };
  }

  /** The class of conversations, for which there is a picture wherever the guide says. */
  conversations(firstId?: string): ConversationClass {
    const { Conversation } = this.client;
    return new Proxy(Conversation, {
      construct(target) {
        const made = new target();
        const add = made.addMessageWithImage.bind(made);
        const value = (role: string, text: string, path: string) => add(role, text, path.replace(/^\//, ""));
        Object.defineProperty(made, "AddMessageWithImage", { value });
        if (firstId !== undefined) made.AddMessage("user", "The parent that a message names.", { id: firstId });
        return made;
      },
    });
  }

  /** A chat step that does not talk for long. */
  chatStep(model?: string) {
    const options = { temperature: 0, maxTokens: 24, ...(model !== undefined && { model }) };
    return new this.client.ChatStepFactory().newStep([options]);
  }

  /** Lets the clocks go off that were set. */
  later(): void {
    for (const act of this.#timers.splice(0)) act();
  }

  /** Waits until something holds. */
  async until(holds: () => boolean): Promise<void> {
    for (const since = performance.now(); !holds(); ) {
      if (performance.now() - since > HANG_MS) {
        throw new Error(`it never came; printed: ${JSON.stringify(this.printed)}`);
      }
      await new Promise((resolve) => setTimeout(resolve, 1));
    }
  }

  /** Whether something was printed that begins with this. */
  hasPrinted(text: string): boolean {
    return this.printed.some(([first]) => first === text);
  }

  close(): void {
    this.client.close();
  }
}

/** Puts a picture where the guide's paths lead to, seen from the working folder. */
export function layPictures(): void {
  mkdirSync("path/to", { recursive: true });
  writeFileSync("path/to/image.jpg", DOT);
}
