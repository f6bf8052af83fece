/** The conversation that is shown: its turns, kept in place as they change, and where one has scrolled to. */

import { h, iconButton, place } from "../dom.js";
import { turns } from "../tree.js";
import { failureCard } from "./failure.js";
import { ReplyTurn, SystemTurn, Unanswered, UserTurn } from "./turns.js";

const KINDS = { user: UserTurn, reply: ReplyTurn, system: SystemTurn };
/** Whoever is within so many pixels of the end wants to stay there. */
const NEAR_PX = 80;
/** A frame that took long is followed by a rest of so many times its length, so that the page can be used meanwhile. */
const REST = 3;

export class Thread {
  #session = null;
  #views = new Map();
  #live = null;
  #isPinned = true;
  #seen = { scrollTop: 0, scrollHeight: 0 }; // where the scroller was last
  #frame = 0;
  #restUntil = 0;

  /** `scroller` holds `list`; `actions` are what turns can ask for: select, edit, answer, retry, load. */
  constructor({ scroller, list, empty, latest }, actions) {
    Object.assign(this, { scroller, list, empty, actions });
    this.down = iconButton("arrowDown", "To the latest", () => this.toEnd(true), { class: "icon-button latest", hidden: true });
    latest.append(this.down);
    scroller.addEventListener("scroll", () => this.#scrolled(), { passive: true });
    // Pictures come late, fields grow, windows turn: whoever was at the end stays there.
    const sizes = new ResizeObserver(() => this.#follow());
    sizes.observe(list);
    sizes.observe(scroller);
  }

  show(session) {
    const isOther = session !== this.#session;
    if (isOther) {
      this.#views.clear();
      this.#live = null;
      this.list.replaceChildren();
    }
    this.#session = session;
    this.#render();
    if (isOther) this.toEnd();
  }

  /** The reply has more text: shown with the next frame, however much came until then. */
  grow() {
    if (this.#frame) return;
    const frame = () => {
      if (performance.now() < this.#restUntil) {
        this.#frame = requestAnimationFrame(frame);
        return;
      }
      this.#frame = 0;
      const before = performance.now();
      if (this.#session.isBusy) this.#live?.live(this.#session);
      this.#follow();
      const took = performance.now() - before;
      if (took > 12) this.#restUntil = performance.now() + REST * took;
    };
    this.#frame = requestAnimationFrame(frame);
  }

  toEnd(isSmooth = false) {
    const calm = !isSmooth || matchMedia("(prefers-reduced-motion: reduce)").matches;
    this.scroller.scrollTo({ top: this.scroller.scrollHeight, behavior: calm ? "instant" : "smooth" });
    this.#isPinned = true;
    this.down.hidden = true;
  }

  /** Brings a message into view and marks it for a moment. */
  reveal(messageId) {
    const element = this.list.querySelector(`[data-id="${CSS.escape(messageId)}"]`);
    if (!element) return;
    element.scrollIntoView({ block: "center" });
    element.classList.add("revealed");
    element.setAttribute("tabindex", "-1");
    element.focus({ preventScroll: true });
    setTimeout(() => element.classList.remove("revealed"), 2000);
  }

  /** After another version is shown, its buttons are where one was. */
  focusVersions(messageId, step) {
    const turn = [...this.#views].find(([key]) => key.endsWith(`:${messageId}`))?.[1].element;
    const button = turn?.querySelector(`[data-step="${step}"]:enabled`) ?? turn?.querySelector("[data-step]:enabled");
    button?.focus();
  }

  #render() {
    const session = this.#session;
    const found = turns(session.path);
    const views = new Map();
    for (const turn of found) {
      const key = `${turn.kind}:${turn.id}`;
      const view = this.#views.get(key) ?? this.#taken(turn) ?? new KINDS[turn.kind](turn, session, this.actions);
      view.update(turn, session);
      views.set(key, view);
    }
    this.#views = views;
    const elements = [...views.values()].map((view) => view.element);
    if (session.reply) elements.push(this.#liveView().element);
    else if (found.at(-1)?.kind === "user") elements.push(this.#unanswered(found.at(-1)));
    place(this.list, [...elements, this.#trouble()].filter(Boolean));
    this.empty.hidden = elements.length > 0 || session.state === "loading" || Boolean(session.error);
    this.#follow();
  }

  /** The stored form of the reply that was just shown goes on in the same element: nothing jumps, nothing is unmarked. */
  #taken(turn) {
    if (turn.kind !== "reply" || !this.#live || this.#session.reply) return null;
    const view = this.#live;
    this.#live = null;
    return view;
  }

  #liveView() {
    this.#live ??= new ReplyTurn(null, this.#session, this.actions);
    this.#live.live(this.#session);
    return this.#live;
  }

  #unanswered(turn) {
    const view = new Unanswered(this.actions);
    view.update(turn.messages[0], this.#session);
    return view.element;
  }

  #trouble() {
    const { state, error } = this.#session;
    if (state === "gone") return h("p", { class: "gone" }, "There is no such conversation, or no more.");
    return error ? failureCard(error, () => this.actions.load()) : null;
  }

  get #toEndPx() {
    const { scrollHeight, scrollTop, clientHeight } = this.scroller;
    return scrollHeight - scrollTop - clientHeight;
  }

  /** One step upwards is enough to say that one reads there; going down as far as near the end, that one follows again. */
  #scrolled() {
    const { scrollTop, scrollHeight } = this.scroller;
    const isUp = scrollTop < this.#seen.scrollTop && scrollHeight >= this.#seen.scrollHeight;
    this.#seen = { scrollTop, scrollHeight };
    this.#isPinned = this.#toEndPx < (isUp ? 2 : NEAR_PX);
    this.down.hidden = this.#toEndPx < NEAR_PX;
  }

  #follow() {
    if (this.#isPinned) this.scroller.scrollTop = this.scroller.scrollHeight;
    const { scrollTop, scrollHeight } = this.scroller;
    this.#seen = { scrollTop, scrollHeight };
    this.down.hidden = this.#toEndPx < NEAR_PX;
  }
}
