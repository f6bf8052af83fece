/** Puts the page together: which conversation is open, and who is told of what. */

import { icon } from "./dom.js";
import { newId } from "./ids.js";
import { recall, remember } from "./prefs.js";
import { Session } from "./session.js";
import { isUnsent, leftBehind, release, unsent } from "./unsent.js";
import { Composer } from "./views/composer.js";
import { Drawer } from "./views/drawer.js";
import { Models } from "./views/models.js";
import { Search } from "./views/search.js";
import { Sidebar } from "./views/sidebar.js";
import { Thread } from "./views/thread.js";
import { Watching } from "./watching.js";

const part = (id) => document.getElementById(id);
const ANNOUNCED_CHARACTERS = 600;

class Page {
  #sessions = new Map(); // those that are open or have a reply being written
  #open = null;
  #reveal = "";
  #wasBusy = new WeakMap();
  #recovered = new Set(); // ids of messages that are drafts again

  constructor() {
    for (const element of document.querySelectorAll("[data-icon]")) element.prepend(icon(element.dataset.icon));
    this.models = new Models({ picker: part("model") });
    this.watching = new Watching();
    this.tabs = new BroadcastChannel("stepwire"); // a reply that is not looked at here may have been deleted there
    this.drawer = new Drawer({ drawer: part("drawer"), button: part("menu"), shade: part("shade"), rest: part("main") });
    this.sidebar = new Sidebar({ list: part("conversations") }, {
      deleting: (id) => this.#sessions.get(id)?.halt(), // nothing of it is paid for, or stored, behind its end
      deleted: (id) => {
        this.#forget(id);
        this.tabs.postMessage({ deleted: id });
      },
      renamed: (id, title) => this.#renamed(id, title),
    });
    this.thread = new Thread({ scroller: part("scroller"), list: part("thread"), empty: part("empty"), latest: part("latest") }, this.#actions());
    this.composer = new Composer(
      { form: part("composer"), field: part("field"), file: part("file"), attach: part("attach"), button: part("send"), tray: part("tray"), notice: part("notice") },
      { send: this.#guarded((what) => this.#send(what)), stop: () => this.#open.stop() },
    );
    const found = { dialog: part("search"), field: part("search-field"), list: part("hits"), status: part("search-status") };
    this.search = new Search(found, { open: (id, messageId) => this.#go(id, messageId) });
    this.#listen();
  }

  start() {
    this.#route();
    this.sidebar.refresh();
    this.#guarded(() => this.models.load())();
  }

  // --- what sessions tell ---

  changed(session) {
    this.sidebar.touch(session);
    const wasBusy = this.#wasBusy.get(session) ?? false;
    this.#wasBusy.set(session, session.isBusy);
    if (session !== this.#open) {
      if (wasBusy && !session.isBusy && !session.isUnstored) this.#sessions.delete(session.id);
      return;
    }
    this.#show();
    if (wasBusy && !session.isBusy) this.#ended(session);
    if (!wasBusy && session.isBusy) this.#say("The model is answering.");
    if (session.isStored && session.state === "ready") this.watching.follow(session);
  }

  grown(session) {
    if (session === this.#open) this.thread.grow();
  }

  returned(session, message) {
    const isOpen = session === this.#open;
    if (!session.isStored && isOpen) {
      // Nothing was begun: the address is that of the conversation to come again, which has kept its id.
      history.replaceState(null, "", location.pathname);
      this.#sessions.delete(session.id);
      this.sidebar.open("");
      this.composer.open("");
    }
    this.composer.giveBack(session.isStored ? session.id : "", message, session.id);
  }

  #ended(session) {
    const stored = session.tree.get(session.tree.headId);
    const error = session.reply?.reply.error ?? session.notes.get(session.tree.headId)?.error;
    const text = session.reply?.reply.text ?? stored?.text ?? "";
    const wasStopped = session.reply?.reply.state === "stopped" || session.notes.get(session.tree.headId)?.wasStopped;
    if (!error) this.#say(`${wasStopped ? "Stopped" : "Reply"}: ${text.slice(0, ANNOUNCED_CHARACTERS)}`); // an error's card speaks for itself
    this.sidebar.refresh();
  }

  // --- what the person does ---

  #actions() {
    return {
      select: this.#guarded(async (id, step) => {
        const shown = this.#open.select(id);
        this.thread.focusVersions(id, step);
        const all = this.#open.tree.siblings(id).map((message) => message.id);
        this.#say(`Version ${all.indexOf(id) + 1} of ${all.length}.`);
        await shown;
      }),
      edit: this.#guarded((message, text) => this.#edit(message, text)),
      answer: this.#guarded((id) => this.#asked(this.#open.answer(id, this.models.chosen))),
      retry: this.#guarded(() => this.#asked(this.#open.retry(this.models.chosen))),
      load: this.#guarded(() => this.#load()),
    };
  }

  /** What fails of it is said where everybody sees it. */
  #guarded(act) {
    return async (...given) => {
      try {
        await act(...given);
      } catch (error) {
        this.composer.say(error.message);
      }
    };
  }

  #send({ text, images }) {
    if (!this.#open.isStored) {
      // The address is the conversation's from now on, also when the page is loaded again.
      history.replaceState(null, "", `#${this.#open.id}`);
      this.composer.open(this.#open.id);
      this.#sessions.set(this.#open.id, this.#open);
    }
    this.sidebar.open(this.#open.id);
    return this.#asked(this.#open.send({ text, images, model: this.models.chosen }));
  }

  /** The same place in the tree, other words. Where that place is the very first, a conversation of its own. */
  #edit(message, text) {
    // Of a stored picture, only where it is: the rest the server knows.
    const images = (message.images ?? []).map(({ blobId, uri, name }) => (blobId ? { blobId, name } : { uri, name }));
    if (message.parentId) return this.#asked(this.#open.send({ text, images, model: this.models.chosen, parentId: message.parentId }));
    this.#go("");
    return this.#send({ text, images });
  }

  #asked(running) {
    this.thread.toEnd();
    this.composer.focus();
    return running;
  }

  #go(id, messageId = "") {
    this.#reveal = messageId;
    const hash = id ? `#${encodeURIComponent(id)}` : "";
    if (location.hash === hash) return this.#route();
    history.pushState(null, "", hash || location.pathname);
    return this.#route();
  }

  // --- which conversation is open ---

  #route() {
    const id = namedBy(location.hash);
    if (this.#open && !this.#open.isBusy && !this.#open.isUnstored) this.#sessions.delete(this.#open.id);
    this.watching.follow(null);
    const known = this.#sessions.get(id);
    this.#open = known ?? new Session(id || newId(), this, Boolean(id));
    if (id) this.#sessions.set(id, this.#open);
    this.sidebar.open(id);
    this.drawer.close();
    this.composer.open(id);
    this.#show();
    this.#guarded(() => this.#load())();
    if (matchMedia("(hover: hover)").matches) this.composer.focus(); // elsewhere it would bring up the keyboard
  }

  async #load() {
    const session = this.#open;
    await session.load();
    if (session !== this.#open) return;
    // Side by side: what another tab is sending is waited for.
    await Promise.all([this.#recover(session), this.#revealed()]);
  }

  /** What was sent before the page was loaded, and did not arrive, is a draft again: of a new chat if there is no other. */
  async #recover(session) {
    if (session.state !== "ready" && session.state !== "gone") return;
    const isLost = ({ id }) => isUnsent(session.id, id) && !session.tree.has(id) && !this.#recovered.has(id);
    const left = await Promise.all(unsent(session.id).filter(isLost).map(leftBehind));
    if (session !== this.#open) return; // when it is looked at again
    const lost = left.filter(isLost); // still
    const isGone = session.state === "gone";
    if (!lost.length && !(isGone && recall(`draft.${session.id}`))) return;
    for (const { id } of lost) this.#recovered.add(id);
    if (isGone) {
      history.replaceState(null, "", location.pathname);
      this.#route();
    }
    const text = lost.map((each) => each.text).filter(Boolean).join("\n\n");
    const isKept = this.composer.giveBack(isGone ? "" : session.id, { text, images: lost.flatMap(({ images }) => images) }, session.id);
    this.composer.say("What is in the field was not sent.");
    await isKept; // as a draft, before the copy goes
    for (const { id } of lost) release(session.id, id);
  }

  async #revealed() {
    const messageId = this.#reveal;
    const session = this.#open;
    this.#reveal = "";
    if (!messageId || !session.tree.has(messageId)) return;
    if (!session.path.some((message) => message.id === messageId)) {
      if (session.isBusy) throw new Error("That message is in another version of this conversation. Stop the reply, or wait for its end, to see it.");
      await session.select(messageId);
    }
    this.thread.reveal(messageId);
  }

  #show() {
    const session = this.#open;
    const title = session.title || (session.isStored ? "Untitled" : "New chat");
    part("title").textContent = title;
    part("title").title = title; // where there is no room for it
    document.title = session.title ? `${title} · Stepwire` : "Stepwire";
    this.composer.isBusy = session.isBusy;
    this.thread.show(session);
  }

  #forget(id) {
    this.composer.forget(id);
    release(id);
    this.#sessions.get(id)?.leave();
    this.#sessions.delete(id);
    if (this.#open.id === id) this.#go("");
  }

  #renamed(id, title) {
    if (this.#open.id !== id) return;
    this.#open.title = title;
    this.#show();
  }

  // --- the rest of the page ---

  #listen() {
    addEventListener("hashchange", () => this.#route());
    this.tabs.addEventListener("message", ({ data }) => {
      this.#sessions.get(data.deleted)?.learn(data);
      this.sidebar.forget(data.deleted);
    });
    document.addEventListener("visibilitychange", () => document.visibilityState === "visible" && this.sidebar.refresh());
    document.querySelector("[data-skip]").addEventListener("click", (event) => {
      event.preventDefault(); // the address names the conversation, not a place on the page
      this.composer.focus();
    });
    for (const element of document.querySelectorAll("[data-do]")) element.addEventListener("click", () => this.#do(element.dataset.do));
    for (const element of document.querySelectorAll("[data-begin]")) element.addEventListener("click", () => this.composer.begin(element.dataset.begin));
    const theme = part("theme");
    theme.value = recall("theme", "system");
    theme.addEventListener("change", () => {
      remember("theme", theme.value === "system" ? "" : theme.value);
      if (theme.value === "system") delete document.documentElement.dataset.theme;
      else document.documentElement.dataset.theme = theme.value;
    });
    addEventListener("keydown", (event) => {
      if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "k") {
        event.preventDefault();
        this.search.show();
      } else if (event.key === "Escape" && !event.isComposing && !document.querySelector("dialog[open]")) {
        if (this.drawer.isOpen) this.drawer.close();
        else this.#open.stop();
      }
    });
  }

  #do(what) {
    if (what === "search") this.search.show();
    if (what === "new") {
      this.#go("");
      this.composer.focus();
    }
  }

  /** Tells those who listen to the page, in their own time. */
  #say(text) {
    part("announcer").textContent = text;
  }
}

/** The conversation that an address names; one that is no address at all names what nobody has. */
function namedBy(hash) {
  try {
    return decodeURIComponent(hash.slice(1));
  } catch {
    return hash.slice(1);
  }
}

new Page().start();
