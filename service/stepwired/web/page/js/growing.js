/** Shows Markdown that is still being written: only the blocks at its end are looked at again as it grows. */

import { block, blocks } from "./markdown.js";
import { place } from "./dom.js";

/** How many blocks at the end may still change: a line that is not over yet can change what the block before it is. */
const UNSETTLED = 3;

export class Growing {
  #element;
  #settled = { length: 0, nodes: [] }; // characters of the text, and their nodes, that will not change any more
  #tail = []; // {raw, type, node}
  #text = "";
  #top = 0; // depth of the first heading

  constructor(element) {
    this.#element = element;
  }

  /** Shows `text`, which begins with what was shown before; anything else is shown from its start. */
  set(text) {
    if (text === this.#text) return;
    if (!text.startsWith(this.#text)) this.#forget();
    this.#text = text;
    const { tokens } = blocks(text.slice(this.#settled.length));
    this.#tail = this.#reuse(tokens);
    this.#settle();
    this.#show();
  }

  /** Shows `text` as a whole: what its later parts say of its earlier ones, such as the goal of a link, holds now. */
  finish(text) {
    const { tokens, hasDefinitions } = blocks(text);
    this.#text = text;
    const before = hasDefinitions ? [] : [...this.#settled.nodes, ...this.#tail];
    this.#settled = { length: 0, nodes: [] };
    this.#tail = before;
    this.#tail = this.#reuse(tokens);
    this.#show();
  }

  #forget() {
    this.#settled = { length: 0, nodes: [] };
    this.#tail = [];
    this.#top = 0;
  }

  /** Each token's node: the one that it has, if it has not changed. */
  #reuse(tokens) {
    this.#top ||= tokens.find((token) => token.type === "heading")?.depth ?? 0;
    return tokens.map((token, index) => {
      const before = this.#tail[index];
      if (before?.type === token.type && before.raw === token.raw) return before;
      // A long block of code grows by its text alone, so that what somebody has marked in it stays marked.
      if (before?.type === "code" && before.node?.grow?.(token)) return { ...token, node: before.node };
      return { type: token.type, raw: token.raw, node: block(token, 0, this.#top || 1) };
    });
  }

  /** Lets go of the blocks that are far enough from the end. */
  #settle() {
    const solid = this.#tail.flatMap((each, index) => (each.type === "space" ? [] : [index]));
    if (solid.length <= UNSETTLED) return;
    const done = this.#tail.splice(0, solid.at(-UNSETTLED));
    for (const each of done) this.#settled.length += each.raw.length;
    this.#settled.nodes.push(...done);
  }

  #show() {
    const tail = this.#tail.map((each) => each.node).filter(Boolean);
    // What is settled is in its place: only what comes after it is looked at.
    const last = this.#settled.nodes.findLast((each) => each.node)?.node;
    place(this.#element, tail, last);
  }
}
