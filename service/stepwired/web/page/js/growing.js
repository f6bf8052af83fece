/** Shows Markdown that is still being written: only the blocks at its end are looked at again as it grows. */

import { block, blocks } from "./markdown.js";
import { place } from "./dom.js";

/** How many blocks at the end may still change: a line that is not over yet can change what the block before it is. */
const UNSETTLED = 3;

const lines = (text) => (text.includes("\r") ? text.replace(/\r\n?/g, "\n") : text);
const topOf = (tokens) => tokens.find((token) => token.type === "heading")?.depth ?? 0;

export class Growing {
  #element;
  #settled = { length: 0, nodes: [] }; // characters of the text, and their nodes, that will not change any more
  #tail = []; // {raw, type, node}
  #text = "";
  #top = 0; // depth of the first heading
  #hadDefinitions = false; // of goals of links, perhaps only until their line was whole

  constructor(element) {
    this.#element = element;
  }

  /** Shows `text`, which begins with what was shown before; anything else is shown from its start. */
  set(given) {
    const text = lines(given);
    if (text === this.#text) return;
    if (!text.startsWith(this.#text)) this.#forget();
    this.#text = text;
    const rest = text.slice(this.#settled.length);
    const { tokens, hasDefinitions } = blocks(rest);
    this.#hadDefinitions ||= hasDefinitions;
    this.#tail = this.#reuse(tokens);
    this.#show();
    // Where blocks are not cut out of the text as they stand, nobody could say where the next one begins.
    if (tokens.reduce((sum, token) => sum + token.raw.length, 0) === rest.length) this.#settle();
  }

  /** Shows `text` as a whole: what its later parts say of its earlier ones, such as the goal of a link, holds now. */
  finish(given) {
    const text = lines(given);
    const { tokens, hasDefinitions } = blocks(text);
    const before = [...this.#settled.nodes, ...this.#tail];
    const top = topOf(tokens);
    const isOther = this.#hadDefinitions || hasDefinitions || top !== this.#top;
    this.#forget();
    this.#text = text;
    this.#top = top;
    this.#tail = isOther ? [] : before;
    this.#tail = this.#reuse(tokens);
    this.#show();
  }

  #forget() {
    this.#settled = { length: 0, nodes: [] };
    this.#tail = [];
    this.#top = 0;
    this.#hadDefinitions = false;
  }

  /** Each token's node: the one that it has, if it has not changed. */
  #reuse(tokens) {
    this.#top ||= topOf(tokens);
    return tokens.map((token, index) => {
      const before = this.#tail[index];
      if (before?.type === token.type && before.raw === token.raw) return before;
      // A long block of code grows by its text alone, a list by its items, so that what somebody has marked stays marked.
      if (before?.type === token.type && before.node?.grow?.(token)) return { type: token.type, raw: token.raw, node: before.node };
      return { type: token.type, raw: token.raw, node: block(token, 0, this.#top || 1) };
    });
  }

  /** Lets go of the blocks, which are shown, that are far enough from the end. */
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
