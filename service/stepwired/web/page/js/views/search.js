/** Finds messages in all conversations, as one types. */

import * as api from "../api.js";
import { h, place } from "../dom.js";

const WAIT_MS = 120;

export class Search {
  #abort = null;
  #timer = 0;
  #hits = [];
  #at = -1;
  #isStale = false; // the hits are those of other words than the field has
  #isWanted = false; // the first hit is to be opened when it is there

  /** `open(conversationId, messageId)` is called with what was chosen. */
  constructor({ dialog, field, list, status }, { open }) {
    Object.assign(this, { dialog, field, list, status, onOpen: open });
    field.addEventListener("input", () => {
      this.#isStale = true;
      this.#isWanted = false;
      clearTimeout(this.#timer);
      this.#timer = setTimeout(() => this.#find(), WAIT_MS);
    });
    field.addEventListener("keydown", (event) => this.#key(event));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    dialog.addEventListener("close", () => this.#abort?.abort());
  }

  show() {
    if (this.dialog.open) return;
    this.dialog.showModal();
    this.field.focus();
    this.field.select();
    if (this.field.value) this.#find();
  }

  async #find() {
    this.#abort?.abort();
    const query = asQuery(this.field.value);
    if (!query) return this.#show([], "");
    this.#abort = new AbortController();
    try {
      const { hits = [], nextPageToken } = await api.searchMessages(query, "", this.#abort);
      const shown = hits.filter((hit) => !(hit.role === "system" && hit.snippet === api.ROOT.text));
      const count = `${shown.length} message${shown.length === 1 ? "" : "s"}`;
      this.#show(shown, nextPageToken ? `The first ${count}. More words find fewer.` : shown.length ? count : "Nothing found.");
    } catch (error) {
      if (error.name !== "AbortError") this.#show([], error.message);
    }
    return undefined;
  }

  #show(hits, status) {
    this.#hits = hits;
    this.#isStale = false;
    this.#at = -1;
    this.status.textContent = status;
    place(this.list, hits.map((hit, index) => this.#item(hit, index)));
    this.list.hidden = !hits.length;
    this.field.setAttribute("aria-expanded", String(hits.length > 0));
    this.#mark(hits.length ? 0 : -1);
    if (this.#isWanted && hits.length) this.#open(0);
  }

  #item(hit, index) {
    const who = hit.role === "user" ? "You" : hit.role === "assistant" ? "Reply" : hit.role;
    const day = new Date(hit.createTime).toLocaleDateString("en", { day: "numeric", month: "short", year: "numeric" });
    return h(
      "li",
      { role: "option", id: `hit-${index}`, onclick: () => this.#open(index), onpointermove: () => this.#mark(index) },
      h("p", { class: "hit-title" }, h("strong", { dir: "auto" }, hit.conversationTitle || "Untitled"), h("span", {}, `${who} · ${day}`)),
      h("p", { class: "hit-text", dir: "auto" }, highlighted(hit.snippet ?? "", hit.highlights ?? [])),
    );
  }

  #key(event) {
    if (event.isComposing) return;
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step && this.#hits.length) this.#mark((this.#at + step + this.#hits.length) % this.#hits.length, true);
    else if (event.key === "Enter" && this.#isStale) this.#isWanted = true;
    else if (event.key === "Enter" && this.#at >= 0) this.#open(this.#at);
    else if (event.key === "Escape") this.dialog.close(); // a field for searches would first be emptied
    else return;
    event.preventDefault();
  }

  #mark(index, isMoved = false) {
    this.#at = index;
    for (const [place_, item] of [...this.list.children].entries()) item.setAttribute("aria-selected", String(place_ === index));
    if (index < 0) this.field.removeAttribute("aria-activedescendant");
    else this.field.setAttribute("aria-activedescendant", `hit-${index}`);
    if (isMoved) this.list.children[index].scrollIntoView({ block: "nearest" });
  }

  #open(index) {
    const { conversationId, messageId } = this.#hits[index];
    this.#isWanted = false;
    this.dialog.close();
    this.onOpen(conversationId, messageId);
  }
}

/** While one types, the last word is the beginning of one. Who knows the query language is left alone. */
function asQuery(typed) {
  const text = typed.trim();
  return /[\p{L}\p{N}]$/u.test(typed) && !text.includes('"') ? `${text}*` : text;
}

/** The server counts in code points, JavaScript in halves of some. */
function highlighted(snippet, highlights) {
  const points = [...snippet];
  const nodes = [];
  let at = 0;
  for (const { start = 0, end = 0 } of highlights) {
    nodes.push(points.slice(at, start).join(""), h("mark", {}, points.slice(start, end).join("")));
    at = end;
  }
  return [...nodes, points.slice(at).join("")];
}
