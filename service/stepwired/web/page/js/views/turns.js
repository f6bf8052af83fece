/** One turn of a conversation: what a person said, or what came back. */

import { copy, h, iconButton, place } from "../dom.js";
import { show } from "../pictures.js";
import { partsOf, textOf } from "../reply.js";
import { failureCard } from "./failure.js";
import { ReplyBody } from "./reply.js";

const MORE = { FINISH_REASON_LENGTH: "The reply reached its longest length.", FINISH_REASON_CONTENT_FILTER: "The provider withheld the rest." };

/** `‹ 2/3 ›`: the versions of a turn. */
function versions(session, id, actions) {
  const all = session.tree.siblings(id);
  if (all.length < 2) return null;
  const at = all.findIndex((message) => message.id === id);
  const step = (name, label, by) =>
    iconButton(name, label, () => actions.select(all[at + by].id, name), { disabled: !all[at + by] || session.isBusy, "data-step": name });
  return h(
    "div",
    { class: "versions", role: "group", "aria-label": "Versions" },
    step("left", "Previous version", -1),
    h("span", {}, `${at + 1}/${all.length}`),
    step("right", "Next version", 1),
  );
}

/** Puts new buttons in place of old ones; the keyboard stays on the one that it was on. */
function replace(foot, elements) {
  const held = foot.contains(document.activeElement) ? document.activeElement.getAttribute("aria-label") : null;
  place(foot, elements);
  if (held) foot.querySelector(`[aria-label="${CSS.escape(held)}"]`)?.focus();
}

export class UserTurn {
  element = h("article", { class: "turn user" });
  #foot = h("div", { class: "turn-foot" });
  #body = null;
  #save = null; // the editor's button
  #signature = "";

  constructor(turn, session, actions) {
    this.actions = actions;
    [this.message] = turn.messages;
    this.#read();
  }

  update(turn, session) {
    [this.message] = turn.messages;
    this.element.dataset.id = this.message.id;
    const signature = `${session.isBusy} ${session.tree.siblings(this.message.id).map((each) => each.id)}`;
    if (signature === this.#signature) return;
    this.#signature = signature;
    if (this.#save) this.#save.disabled = session.isBusy;
    const edit = iconButton("edit", "Edit and ask again", () => this.#edit(session), { disabled: session.isBusy, "data-edit": true });
    const copying = iconButton("copy", "Copy", () => copy(copying, this.message.text ?? ""));
    replace(this.#foot, [versions(session, this.message.id, this.actions), copying, edit].filter(Boolean));
  }

  #read() {
    const pictures = (this.message.images ?? []).map((image) => {
      const img = h("img", { alt: image.name || "Picture", class: "picture", width: image.width || null, height: image.height || null });
      if (image.uri && !image.blobId) return h("span", { class: "bubble" }, `Picture at ${image.uri}`); // never asked for from here
      show(img, image);
      return img;
    });
    const bubble = this.message.text ? h("div", { class: "bubble", dir: "auto" }, this.message.text) : null;
    this.#body = h("div", { class: "said" }, pictures.length ? h("div", { class: "pictures" }, pictures) : null, bubble);
    place(this.element, [h("h2", { class: "unseen" }, "You said"), this.#body, this.#foot]);
  }

  #edit(session) {
    const field = h("textarea", { class: "edit-field", "aria-label": "Your message", rows: "3", dir: "auto" });
    field.value = this.message.text ?? "";
    const leave = () => {
      this.#read();
      this.#foot.querySelector("[data-edit]")?.focus();
    };
    const save = () => {
      if (session.isBusy) return; // one reply at a time; what was typed stays
      const text = field.value.trim();
      leave();
      if (text) this.actions.edit(this.message, text);
    };
    field.addEventListener("keydown", (event) => {
      if (event.isComposing) return;
      if (event.key === "Escape") leave();
      else if (event.key === "Enter" && !event.shiftKey) save();
      else return;
      event.preventDefault();
      event.stopPropagation();
    });
    this.#save = h("button", { type: "button", class: "button primary", onclick: save, disabled: session.isBusy }, "Ask again");
    const buttons = h(
      "div",
      { class: "edit-buttons" },
      h("button", { type: "button", class: "button", onclick: leave }, "Cancel"),
      this.#save,
    );
    this.element.replaceChildren(h("div", { class: "edit" }, field, buttons));
    field.focus();
  }
}

export class ReplyTurn {
  element = h("article", { class: "turn reply" });
  #name = h("h2", { class: "unseen" });
  #body = new ReplyBody();
  #waiting = h("p", { class: "waiting", hidden: true }, h("span"), h("span"), h("span"));
  #after = h("div");
  #foot = h("div", { class: "turn-foot" });
  #signature = "";

  constructor(turn, session, actions) {
    this.actions = actions;
    this.element.append(this.#name, this.#body.element, this.#waiting, this.#after, this.#foot);
  }

  /** A stored reply: `turn.messages`. */
  update(turn, session) {
    const last = turn.messages.at(-1);
    this.element.dataset.id = last.id;
    const note = session.notes.get(last.id);
    const stats = note?.stats ?? last.metadata?.page ?? {};
    const isCut = turn.messages.some((message) => message.status === "MESSAGE_STATUS_INTERRUPTED");
    const first = turn.messages[0];
    const signature = JSON.stringify([first.id, last.id, last.status, stats, session.isBusy, session.tree.siblings(first.id).length, Boolean(note)]);
    if (signature === this.#signature) return;
    this.#signature = signature;
    const parts = partsOf(turn.messages);
    const again = () => this.actions.answer(first.parentId);
    this.#show(parts, { stats, isCut, error: note?.error, wasStopped: note?.wasStopped, again, session, id: first.id });
  }

  /** A reply that is being written, or that was cut off before anything of it was stored. */
  live(session) {
    const { reply } = session.reply;
    delete this.element.dataset.id;
    this.element.setAttribute("aria-busy", String(!reply.isOver));
    this.#name.textContent = "Reply";
    if (!reply.isOver) {
      this.#body.update(reply.parts, true);
      this.#waiting.hidden = reply.parts.length > 0;
      if (this.#signature !== "live") {
        this.#signature = "live";
        this.#after.replaceChildren();
        this.#foot.replaceChildren();
      }
      return;
    }
    const state = `over ${reply.state}`;
    if (this.#signature === state) return;
    this.#signature = state;
    const again = () => this.actions.retry();
    const isCut = reply.state === "stopped";
    this.#show(reply.parts, { stats: reply.stats, isCut, error: reply.error, wasStopped: isCut, again, session, isEmpty: !reply.parts.length });
  }

  #show(parts, { stats, isCut, error, wasStopped, again, session, id, isEmpty = false }) {
    this.element.setAttribute("aria-busy", "false");
    this.#waiting.hidden = true;
    this.#name.textContent = stats.model ? `${stats.model} said` : "Reply";
    this.#body.update(parts, false);
    const after = [];
    if (error) after.push(failureCard(error, session.isBusy ? null : again, parts.length > 0));
    else if (isCut || isEmpty) after.push(h("p", { class: "cut" }, cutText(isCut, wasStopped, isEmpty)));
    else if (MORE[stats.finish]) after.push(h("p", { class: "cut" }, MORE[stats.finish]));
    this.#after.replaceChildren(...after);
    const copying = iconButton("copy", "Copy", () => copy(copying, textOf(parts)));
    const redo = error ? null : iconButton("redo", "Answer again", again, { disabled: session.isBusy });
    const branch = id ? versions(session, id, this.actions) : null;
    replace(this.#foot, [branch, parts.length ? copying : null, redo, statsLine(stats)].filter(Boolean));
  }
}

function cutText(isCut, wasStopped, isEmpty) {
  if (!isCut) return "The model said nothing.";
  if (isEmpty) return "Stopped before the first word.";
  return wasStopped ? "Stopped. What was said so far is kept." : "This reply was cut off before it was whole.";
}

function statsLine({ model, firstMs, perSecond, tokens, isEstimate }) {
  const about = isEstimate ? "≈ " : "";
  const parts = [
    model && h("span", { class: "stat-model" }, model),
    perSecond && h("span", { title: "Tokens for each second, after the first" }, `${about}${perSecond} tokens/s`),
    firstMs && h("span", { title: "From sending to the first token" }, `${seconds(firstMs)} to first token`),
    tokens && h("span", {}, `${about}${tokens} token${tokens === 1 ? "" : "s"}`),
  ].filter(Boolean);
  return parts.length ? h("p", { class: "stats" }, parts) : null;
}

const seconds = (ms) => (ms < 1000 ? `${ms} ms` : `${(ms / 1000).toFixed(1)} s`);

/** What a conversation tells the model before everything else. */
export class SystemTurn {
  element = h("details", { class: "turn system fold" });

  constructor(turn) {
    this.element.append(h("summary", {}, "Instructions"), h("div", { class: "fold-text", dir: "auto" }, turn.messages[0].text ?? ""));
  }

  update() {}
}

/** A message that waits for an answer, as nobody is writing one. */
export class Unanswered {
  element = h("article", { class: "turn reply unanswered" });

  constructor(actions) {
    this.actions = actions;
  }

  update(message, session) {
    const replies = session.tree.children(message.id);
    const again = h("button", { type: "button", class: "button", onclick: () => this.actions.answer(message.id) }, "Answer");
    const see = replies.length
      ? h("button", { type: "button", class: "button", onclick: () => this.actions.select(replies.at(-1).id) }, `See the earlier ${replies.length === 1 ? "answer" : "answers"}`)
      : null;
    this.element.replaceChildren(h("p", {}, "This message has no answer yet."), h("div", { class: "edit-buttons" }, see, again));
  }
}
