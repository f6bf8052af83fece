/** What a model said, part by part: text, thoughts and tools. Grows in place. */

import { h, icon, place } from "../dom.js";
import { Growing } from "../growing.js";

export class ReplyBody {
  element = h("div", { class: "reply-body" });
  #parts = [];

  /** Shows these parts of a reply (see `reply.js`); `isLive` while more may come. */
  update(parts, isLive) {
    this.#parts = parts.map((part, index) => {
      const before = this.#parts[index];
      const view = before?.kind === part.kind ? before : new VIEWS[part.kind]();
      view.update(part, isLive && index === parts.length - 1);
      return view;
    });
    place(this.element, this.#parts.map((view) => view.element));
  }
}

class Prose {
  kind = "text";
  element = h("div", { class: "prose" });
  #growing = new Growing(this.element);
  #isWhole = false;

  update({ text }, isLive) {
    if (isLive) this.#growing.set(text);
    else if (!this.#isWhole || text !== this.#text) this.#growing.finish(text);
    this.#isWhole = !isLive;
    this.#text = text;
  }

  #text = "";
}

class Thoughts {
  kind = "reasoning";
  #title = h("span");
  #text = document.createTextNode("");
  element = h("details", { class: "fold" }, h("summary", {}, icon("brain"), this.#title), h("div", { class: "fold-text", dir: "auto" }, this.#text));

  update({ text }, isLive) {
    this.#title.textContent = isLive ? "Thinking…" : "Thoughts";
    extend(this.#text, text);
  }
}

class Tool {
  kind = "tool";
  #title = h("span", { class: "fold-name" });
  #state = h("span", { class: "fold-state" });
  #input = document.createTextNode("");
  #result = document.createTextNode("");
  #answer = h("div", { hidden: true }, h("h3", {}, "Answer"), h("pre", { tabindex: "0" }, this.#result));
  element = h(
    "details",
    { class: "fold" },
    h("summary", {}, icon("tool"), this.#title, this.#state),
    h("div", { class: "fold-tool" }, h("h3", {}, "Arguments"), h("pre", { tabindex: "0" }, this.#input), this.#answer),
  );

  update({ name, input, result, isError }, isLive) {
    const isAnswered = result !== undefined;
    this.#title.textContent = name || "Tool";
    this.#state.textContent = isAnswered ? (isError ? "failed" : "answered") : isLive ? "asked…" : "not answered";
    this.element.classList.toggle("is-error", isError);
    extend(this.#input, input);
    extend(this.#result, result ?? "");
    this.#answer.hidden = !isAnswered;
  }
}

const VIEWS = { text: Prose, reasoning: Thoughts, tool: Tool };

/** Text that mostly grows: what is there stays, so that it can be marked while more comes. */
function extend(node, text) {
  if (text === node.data) return;
  if (text.startsWith(node.data)) node.appendData(text.slice(node.length));
  else node.data = text;
}
