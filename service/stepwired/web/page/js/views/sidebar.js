/** The list of conversations: newest first, by day, with what can be done to each. */

import * as api from "../api.js";
import { h, iconButton, place } from "../dom.js";
import { failureCard } from "./failure.js";
import { confirm } from "./dialogs.js";

const DAY_MS = 24 * 3600 * 1000;

export class Sidebar {
  #found = new Map(); // id → conversation
  #next = "";
  #openId = "";
  #busy = new Set();
  #held = new Set(); // those that have what the server has not
  #renaming = "";
  #error = null;
  #loading = null;

  /**
   * `deleted(id)` and `renamed(id, title)` are called when the server has done so, `deleting(id)` before it is asked to,
   * and is waited for.
   */
  constructor({ list }, { deleting, deleted, renamed }) {
    Object.assign(this, { list, onDeleting: deleting, onDeleted: deleted, onRenamed: renamed });
  }

  /** Reads the newest conversations anew. What was read of older ones stays. */
  async refresh() {
    this.#loading ??= this.#read("").finally(() => (this.#loading = null));
    await this.#loading;
  }

  /** What is known of an open conversation, before the list says so. */
  touch(session) {
    const before = this.#found.get(session.id);
    if (session.isBusy) this.#busy.add(session.id);
    else this.#busy.delete(session.id);
    if (session.isUnstored) this.#held.add(session.id);
    else this.#held.delete(session.id);
    if (session.state === "gone" || !(session.isStored || session.isUnstored)) {
      this.#found.delete(session.id);
      return this.#show();
    }
    const updateTime = before?.updateTime ?? new Date().toISOString();
    this.#found.set(session.id, { ...before, id: session.id, title: session.title || before?.title, updateTime });
    return this.#show();
  }

  open(id) {
    this.#openId = id;
    this.#show();
  }

  async #read(pageToken) {
    try {
      const { conversations = [], nextPageToken = "" } = await api.listConversations(pageToken);
      if (!pageToken) this.#drop(conversations, nextPageToken);
      for (const conversation of conversations) this.#found.set(conversation.id, conversation);
      if (pageToken || this.#found.size <= conversations.length) this.#next = nextPageToken;
      this.#error = null;
    } catch (error) {
      this.#error = error;
    }
    this.#show();
  }

  /** What is not on a whole list, though it would have to be, was deleted elsewhere. */
  #drop(conversations, nextPageToken) {
    const there = new Set(conversations.map(({ id }) => id));
    const oldest = nextPageToken ? (conversations.at(-1)?.updateTime ?? "") : "";
    for (const [id, { updateTime }] of this.#found) if (!there.has(id) && updateTime > oldest && !this.#busy.has(id) && !this.#held.has(id)) this.#found.delete(id);
  }

  #show() {
    const conversations = [...this.#found.values()].sort((one, other) => (one.updateTime < other.updateTime ? 1 : -1));
    const groups = Map.groupBy(conversations, ({ updateTime }) => dayOf(new Date(updateTime)));
    const focused = document.activeElement?.closest("[data-conversation]")?.dataset.conversation;
    const role = document.activeElement?.dataset?.role;
    const elements = [...groups].flatMap(([name, group], index) => {
      const id = `group-${index}`;
      return [h("h2", { id }, name), h("ul", { "aria-labelledby": id }, group.map((each) => this.#item(each)))];
    });
    if (this.#error) elements.push(failureCard(this.#error, () => this.refresh()));
    else if (!conversations.length) elements.push(h("p", { class: "none" }, "Conversations are kept here."));
    if (this.#next) elements.push(h("button", { type: "button", class: "button more", onclick: () => this.#read(this.#next) }, "Show older"));
    if (this.#renaming && this.list.querySelector(".rename")) return; // not under somebody's fingers
    place(this.list, elements);
    if (focused && role) this.#focus(focused, role);
  }

  #item({ id, title }) {
    const name = title || "Untitled";
    const isOpen = id === this.#openId;
    const item = h("li", { "data-conversation": id, class: isOpen ? "is-open" : null });
    // Not `#…` alone, which would be a place on this page.
    const link = h("a", { href: `./#${encodeURIComponent(id)}`, "aria-current": isOpen ? "page" : null, "data-role": "open", title: name, dir: "auto" }, name);
    link.addEventListener("keydown", (event) => {
      if (event.key === "F2") this.#rename(item, id, name);
      if (event.key === "Delete") this.#delete(id, name);
    });
    const busy = this.#busy.has(id) ? h("span", { class: "is-writing", role: "img", "aria-label": "A reply is being written" }) : null;
    item.append(
      link,
      ...(busy ? [busy] : []),
      iconButton("edit", `Rename “${name}”`, () => this.#rename(item, id, name), { "data-role": "rename" }),
      iconButton("trash", `Delete “${name}”`, () => this.#delete(id, name), { "data-role": "delete" }),
    );
    return item;
  }

  #rename(item, id, before) {
    this.#renaming = id;
    const field = h("input", { class: "rename", dir: "auto", value: before, maxlength: "200", "aria-label": "New name" });
    let isOver = false;
    const end = async (isKept) => {
      if (isOver) return; // leaving the field follows the key that ended it
      isOver = true;
      const title = field.value.trim();
      this.#renaming = "";
      field.remove();
      if (isKept && title && title !== before) await this.#keep(id, title);
      else this.#show();
      this.#focus(id);
    };
    field.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && !event.isComposing) end(true);
      if (event.key === "Escape" && !event.isComposing) end(false);
      event.stopPropagation();
    });
    field.addEventListener("blur", () => end(true));
    item.replaceChildren(field);
    field.focus();
    field.select();
  }

  async #keep(id, title) {
    try {
      const { conversation } = await api.renameConversation(id, title);
      this.#found.set(id, conversation);
      this.onRenamed(id, title);
    } catch (error) {
      this.#error = error;
    }
    this.#show();
  }

  async #delete(id, name) {
    if (!(await confirm(`Delete “\u2068${name}\u2069”?`, "All its messages go with it. This cannot be undone.", "Delete"))) return;
    const next = this.#neighbour(id);
    try {
      await this.onDeleting(id);
      await api.deleteConversation(id);
    } catch (error) {
      if (error.code !== "not_found") {
        this.#error = error;
        return this.#show();
      }
    }
    this.forget(id);
    if (document.activeElement === document.body) this.#focus(next); // what was held is gone
    return this.onDeleted(id);
  }

  /** Takes one that was deleted off the list. */
  forget(id) {
    this.#found.delete(id);
    this.#show();
  }

  /** The one below a line, or above it where it is the last. */
  #neighbour(id) {
    const lines = [...this.list.querySelectorAll("[data-conversation]")].map((line) => line.dataset.conversation);
    const at = lines.indexOf(id);
    return lines[at + 1] ?? lines[at - 1];
  }

  #focus(id, role = "open") {
    this.list.querySelector(`[data-conversation="${CSS.escape(id ?? "")}"] [data-role="${role}"]`)?.focus();
  }
}

function dayOf(date) {
  const midnight = new Date().setHours(0, 0, 0, 0);
  if (date >= midnight) return "Today";
  if (date >= midnight - DAY_MS) return "Yesterday";
  if (date >= midnight - 7 * DAY_MS) return "The last seven days";
  return date.toLocaleDateString("en", { month: "long", year: "numeric" });
}
