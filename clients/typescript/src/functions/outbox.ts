/** What one side of a talk still has to say: messages of any number of senders, one after the other. */

/** Collects messages, and gives each to whoever iterates, which is a transport that sends them. */
export class Outbox<T> implements AsyncIterable<T> {
  readonly #waiting: { message: T; taken: () => void }[] = [];
  #wake: () => void = () => undefined;
  #isEnded = false;

  /**
   * Sends a message. The promise is kept when the transport has taken it, so that whoever awaits goes at the pace of
   * the other side; after the end, it is dropped.
   */
  send(message: T): Promise<void> {
    if (this.#isEnded) return Promise.resolve();
    return new Promise((taken) => {
      this.#waiting.push({ message, taken });
      this.#wake();
    });
  }

  /** Whether there is a message that was not taken yet. */
  get isWaiting(): boolean {
    return this.#waiting.length > 0;
  }

  /** Says that nothing more comes. What was not taken yet is dropped. */
  end(): void {
    this.#isEnded = true;
    for (const { taken } of this.#waiting.splice(0)) taken();
    this.#wake();
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const next = this.#waiting.shift();
      if (next) {
        next.taken();
        yield next.message;
      } else if (this.#isEnded) {
        return;
      } else {
        await new Promise<void>((wake) => (this.#wake = wake));
      }
    }
  }
}
