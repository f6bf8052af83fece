/** Learns what happens to the open conversation elsewhere: in another tab, or by another program. */

import { watchConversation } from "./api.js";

const FIRST_WAIT_MS = 1000;
const LONGEST_WAIT_MS = 30_000;

/**
 * Follows one session at a time, and only while the page can be seen: a browser has six connections for one server, and a
 * watch takes one of them for as long as it lasts.
 */
export class Watching {
  #session = null;
  #abort = null;

  constructor() {
    document.addEventListener("visibilitychange", () => this.#begin());
  }

  follow(session) {
    if (session === this.#session) return;
    this.#session = session;
    this.#begin();
  }

  #begin() {
    this.#abort?.abort();
    this.#abort = null;
    if (!this.#session || document.visibilityState === "hidden") return;
    this.#abort = new AbortController();
    this.#run(this.#session, this.#abort.signal);
  }

  async #run(session, signal) {
    let wait = FIRST_WAIT_MS;
    while (!signal.aborted && session.state !== "gone") {
      try {
        for await (const change of watchConversation(session.id, session.revision, { signal })) {
          session.learn(change);
          wait = FIRST_WAIT_MS;
        }
      } catch (error) {
        if (signal.aborted) return;
        // The revision is one that the server has no changes for: what there is now is read as a whole.
        if (error.code === "out_of_range" || error.code === "not_found") await session.load();
      }
      await pause(wait, signal);
      wait = Math.min(2 * wait, LONGEST_WAIT_MS);
    }
  }
}

function pause(ms, signal) {
  return new Promise((done) => {
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", () => {
      clearTimeout(timer);
      done();
    }, { once: true });
  });
}
