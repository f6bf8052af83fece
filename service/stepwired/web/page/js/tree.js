/** One conversation's messages as a tree: the path that is shown, and what lies beside it. */

export class Tree {
  #messages = new Map();
  #children = new Map();
  headId = "";

  /** Takes a message in, or its newer form, in which it may follow another: what is said first gets its parent late. */
  add(message) {
    const before = this.#messages.get(message.id);
    const parent = message.parentId ?? "";
    this.#messages.set(message.id, message);
    if (before && (before.parentId ?? "") === parent) return;
    if (before) this.#children.get(before.parentId ?? "").splice(this.#children.get(before.parentId ?? "").indexOf(message.id), 1);
    this.#children.set(parent, [...(this.#children.get(parent) ?? []), message.id]);
  }

  /** Forgets a message that nothing follows. */
  remove(id) {
    const siblings = this.#children.get(this.get(id).parentId ?? "");
    siblings.splice(siblings.indexOf(id), 1);
    this.#messages.delete(id);
  }

  get(id) {
    return this.#messages.get(id);
  }

  has(id) {
    return this.#messages.has(id);
  }

  /** Those that follow a message, oldest first. */
  children(id) {
    return (this.#children.get(id) ?? []).map((child) => this.#messages.get(child));
  }

  /** From the first message to `id`. */
  path(id = this.headId) {
    const found = [];
    for (let message = this.get(id); message; message = this.get(message.parentId ?? "")) found.push(message);
    return found.reverse();
  }

  /** The message and those that were said in its place, oldest first: those of its kind with the same parent. */
  siblings(id) {
    const message = this.get(id);
    return this.children(message.parentId ?? "").filter((other) => isUsers(other) === isUsers(message));
  }

  /** Where one comes to from `id`, following the newest message each time. */
  tip(id) {
    for (;;) {
      const next = this.#children.get(id)?.at(-1);
      if (!next) return id;
      id = next;
    }
  }
}

const isUsers = (message) => roleOf(message) === "user";

export function roleOf(message) {
  if (message.role) return message.role;
  return message.toolResult ? "tool" : message.toolUse ? "assistant" : "user";
}

/**
 * A path as people see it: what they said, and what came back. All messages of one reply, with its tools, are one turn.
 * Messages that are hidden from models are hidden here too.
 */
export function turns(path) {
  const found = [];
  for (const message of path) {
    if (message.metadata?.hidden === true) continue;
    const role = roleOf(message);
    const kind = role === "user" || role === "system" ? role : "reply";
    if (kind === "reply" && found.at(-1)?.kind === "reply") found.at(-1).messages.push(message);
    else found.push({ kind, id: message.id, messages: [message] });
  }
  return found;
}
