/** One conversation that is open: its messages, the reply that is being written, and what a person can do with both. */

import * as api from "./api.js";
import { newId } from "./ids.js";
import { Reply } from "./reply.js";
import { Tree, roleOf } from "./tree.js";
import { hold, release } from "./unsent.js";
import { titleOf } from "./words.js";

const isAborted = (error) => error?.name === "AbortError";

/**
 * Tells its `listener` with `changed(session)` that messages, state or title are others, and with `grown(session)` that
 * the reply has more text; gives a message that was stopped on its way, `{text, images}`, back with `returned(session,
 * message)`. Goes on while it is not shown. Writes one reply at a time: until it is over, nothing else can be asked for.
 */
export class Session {
  tree = new Tree();
  title = "";
  state = "new"; // loading, ready, gone
  error = null; // why it could not be loaded
  reply = null; // {parentId, known, request, reply: Reply, abort}
  notes = new Map(); // of stored messages: {stats, error}
  revision = 0;
  #listener;
  #asked = null; // a promise: the last call for a reply is over
  #unstored = new Set(); // ids of messages that the server is not known to have

  constructor(id, listener, isStored) {
    this.id = id;
    this.#listener = listener;
    this.isStored = isStored;
  }

  get isBusy() {
    return this.reply !== null && !this.reply.reply.isOver;
  }

  /** Whether it has messages that are nowhere else. */
  get isUnstored() {
    return this.#unstored.size > 0;
  }

  /** What is shown: up to the head, or to the message that is being answered. */
  get path() {
    return this.tree.path(this.reply?.parentId ?? this.tree.headId);
  }

  async load() {
    if (!this.isStored) return;
    this.state = this.state === "ready" ? "ready" : "loading";
    this.#tell();
    try {
      // In this order, what changes in between is told twice rather than never: the watch goes on from `revision`.
      const conversation = await api.getConversation(this.id);
      const messages = await api.allMessages(this.id);
      for (const message of messages) this.#take(message);
      this.#describe(conversation);
      Object.assign(this, { state: "ready", error: null });
    } catch (error) {
      Object.assign(this, { state: error.code === "not_found" ? "gone" : "failed", error });
    }
    this.#tell();
  }

  /** One change that WatchConversation told. */
  learn(change) {
    this.revision = Number(change.revision ?? this.revision);
    const { messageAppended, messageUpdated, conversationUpdated } = change;
    if (messageAppended) {
      this.#take(messageAppended.message);
      // News may be older than what the reply itself told: then the head is further along already.
      const isKnown = this.tree.path().some((message) => message.id === messageAppended.message.id);
      if (messageAppended.movedHead && !isKnown) this.tree.headId = messageAppended.message.id;
    }
    if (messageUpdated) this.#take(messageUpdated);
    if (conversationUpdated) {
      const { headId } = this.tree;
      this.#describe(conversationUpdated);
      if (this.isBusy) this.tree.headId = headId; // it is we who move it now
    }
    if (change.deleted) this.leave();
    if (!change.heartbeat) this.#tell();
  }

  /** Says something, below `parentId` or else at the head. */
  async send({ text, images = [], model, parentId = this.tree.headId }) {
    this.#refuseWhileBusy();
    const message = { id: newId(), role: "user", text: text.toWellFormed() };
    if (images.length) message.images = images;
    if (!this.title) this.title = titleOf(text || "Picture");
    const parent = parentId || undefined;
    // Shown at once; the server's form of it replaces it when it comes.
    this.tree.add({ ...message, parentId: parent });
    this.#unstored.add(message.id);
    hold(this.id, message);
    await this.#ask({ conversationId: this.id, parentId: parent, messages: [message], model }, message.id);
  }

  /** Has the model answer a message again, beside the answers that are there. */
  async answer(messageId, model) {
    this.#refuseWhileBusy();
    await this.#ask({ conversationId: this.id, parentId: messageId, model }, messageId);
  }

  /** Repeats what failed, as it was: the server knows by its ids what of it was done. */
  async retry(model) {
    this.#refuseWhileBusy();
    if (!this.reply) return; // settled meanwhile
    const { request, parentId } = this.reply;
    // What the server has, it has given a time. Then only the answer is missing.
    const isStored = Boolean(this.tree.get(parentId)?.createTime);
    await (isStored ? this.answer(parentId, model) : this.#ask({ ...request, model }, parentId));
  }

  stop() {
    if (this.isBusy) this.reply.abort.abort();
  }

  /** Ends the reply that is being written; the promise is kept when nothing of it will be asked for any more. */
  async halt() {
    if (!this.isStored) return this.leave(); // its words are not wanted back
    this.stop();
    return this.#asked;
  }

  /** It was deleted. */
  leave() {
    this.state = "gone";
    this.stop();
  }

  /** Shows another of the messages that were said in the same place, and lets the conversation go on from there. */
  async select(messageId) {
    this.#refuseWhileBusy();
    const before = this.tree.headId;
    this.reply = null;
    this.tree.headId = this.tree.tip(messageId);
    this.#tell();
    try {
      this.#describe((await api.moveHead(this.id, this.tree.headId)).conversation);
    } catch (error) {
      this.tree.headId = before;
      this.#tell();
      throw error;
    }
  }

  async rename(title) {
    this.#describe((await api.renameConversation(this.id, title)).conversation);
    this.#tell();
  }

  #refuseWhileBusy() {
    if (this.isBusy) throw new Error("A reply is being written here. Stop it first, or wait for its end.");
  }

  #ask(request, parentId) {
    const asking = this.#run(request, parentId);
    this.#asked = asking.catch(() => null);
    return asking;
  }

  async #run(request, parentId) {
    const known = new Set(this.tree.children(parentId).map((message) => message.id));
    const reply = new Reply(performance.now());
    const abort = new AbortController();
    this.reply = { parentId, known, request, reply, abort };
    let isAsked = false;
    this.#tell();
    try {
      await this.#prepare(request, parentId, abort);
      const call = { ...request, requestId: newId() };
      isAsked = true;
      for await (const event of api.streamChat(call, { signal: abort.signal })) this.#hear(event, reply);
      if (!reply.isOver) throw new Error("The reply ended before it was whole.");
    } catch (error) {
      reply.cut(isAborted(error) ? "stopped" : "failed", isAborted(error) ? null : error);
      if (isAborted(error) && !isAsked && request.messages) return this.#giveBack(parentId);
    }
    if (reply.state === "finished") this.#stored(parentId);
    const stored = this.#settle();
    this.#tell();
    if (reply.state !== "finished") await this.#catchUp();
    else if (stored) await this.#keepStats(stored, reply);
    return undefined;
  }

  /** A message that was stopped before the server was sent it: as if it had not been said. */
  #giveBack(messageId) {
    const { text, images = [] } = this.tree.get(messageId);
    this.tree.remove(messageId);
    this.#stored(messageId);
    this.reply = null;
    this.#tell();
    if (this.state !== "gone") this.#listener.returned(this, { text, images });
  }

  /** What has to be so before a reply is asked for. */
  async #prepare(request, parentId, { signal }) {
    if (!this.isStored) {
      const { conversation } = await api.createConversation(this.id, this.title, { signal });
      this.isStored = true;
      this.state = "ready";
      this.#describe(conversation);
      // What was said first follows the conversation's hidden first message.
      request.parentId ??= conversation.headId;
      for (const message of await api.allMessages(this.id, { signal })) this.#take(message);
      const said = this.tree.get(parentId);
      if (said) this.#take({ ...said, parentId: request.parentId });
    } else if (!request.messages && this.tree.headId !== parentId) {
      // The server moves the head to a reply only from the message that it answers.
      this.#describe((await api.moveHead(this.id, parentId, { signal })).conversation);
    }
    this.#tell();
  }

  #hear(event, reply) {
    reply.apply(event, performance.now());
    if (!event.finished) {
      this.#listener.grown(this);
      return;
    }
    for (const message of event.finished.messages ?? []) this.#add(message); // all of them, before any is looked at
    const last = event.finished.messages?.at(-1);
    if (last && !event.finished.branched) this.tree.headId = last.id;
  }

  /**
   * Where the reply has been stored, the stored one is shown in its place, with what only we know of it.
   * Returns the id of its last message.
   */
  #settle() {
    if (!this.reply?.reply.isOver) return "";
    const { parentId, known, reply } = this.reply;
    const stored = this.tree.children(parentId).findLast((message) => !known.has(message.id) && roleOf(message) !== "user");
    if (!stored) return "";
    const last = this.tree.tip(stored.id);
    this.notes.set(last, { stats: reply.stats, error: reply.error, wasStopped: reply.state === "stopped" });
    this.reply = null;
    if (this.tree.path().every((message) => message.id !== last)) this.tree.headId = last;
    return last;
  }

  async #keepStats(messageId, reply) {
    const { model, firstMs, perSecond, tokens, isEstimate, finish } = reply.stats;
    const note = Object.fromEntries(Object.entries({ model, firstMs, perSecond, tokens, isEstimate, finish }).filter(([, value]) => value));
    try {
      await api.noteMessage(this.id, messageId, note);
    } catch {
      // It is only for looks, and is shown from memory until the page is loaded again.
    }
  }

  /** What the server kept of a reply that was cut off comes through the watch; where there is none, by asking. */
  async #catchUp() {
    try {
      if (!this.isStored || this.state === "gone") return;
      const conversation = await api.getConversation(this.id);
      for (const message of await api.allMessages(this.id)) this.#add(message);
      this.#describe(conversation);
    } catch {
      return; // the server cannot be reached, which the reply says already
    }
    this.#settle();
    this.#tell();
  }

  #take(message) {
    this.#add(message);
    this.#settle();
  }

  #add(message) {
    this.tree.add(message);
    if (message.createTime) this.#stored(message.id); // the server has it: it gave it a time
  }

  #stored(messageId) {
    this.#unstored.delete(messageId);
    release(this.id, messageId);
  }

  #describe(conversation) {
    const revision = Number(conversation.revision ?? 0);
    if (revision < this.revision) return; // the watch has told of later changes while this was on its way
    this.title = conversation.title ?? "";
    this.tree.headId = conversation.headId ?? "";
    this.revision = revision;
  }

  #tell() {
    this.#listener.changed(this);
  }
}
