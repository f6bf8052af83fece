/**
 * What was sent and is not yet known to be stored: like drafts it outlives the page, so that nothing is lost that a
 * person wrote. By conversation, a list of `{id, text, hasPictures}` of messages. The page that sent one has a lock of its
 * name until the server has it, so that no other takes it for lost; where there are no locks (plain http from elsewhere),
 * another does.
 */

import { recall, remember } from "./prefs.js";
import { shelve, shelved } from "./shelf.js";

const keyOf = (conversationId) => `unsent.${conversationId}`;
const placeOf = (messageId) => `unsent.${messageId}`;

const claims = new Map(); // of each message that this page has sent, what gives up its lock

export function unsent(conversationId) {
  return JSON.parse(recall(keyOf(conversationId), "[]"));
}

export const isUnsent = (conversationId, id) => unsent(conversationId).some((message) => message.id === id);

/** A message with its pictures, as soon as no other page has it. That may be when the server has it. */
export async function leftBehind(message) {
  await lock(message.id, () => null);
  return { ...message, images: message.hasPictures ? await shelved(placeOf(message.id)) : [] };
}

/** Kept when what `use` returns is. A browser that may not keep anything has no locks either. */
async function lock(id, use) {
  await navigator.locks?.request(placeOf(id), use).catch(() => null);
}

export function hold(conversationId, { id, text, images = [] }) {
  const hasPictures = images.length > 0;
  lock(id, () => new Promise((give) => claims.set(id, give)));
  if (hasPictures) shelve(placeOf(id), images);
  keep(conversationId, [...unsent(conversationId), { id, text, hasPictures }]);
}

/** Forgets one message, or all of a conversation. */
export function release(conversationId, messageId = "") {
  const before = unsent(conversationId);
  const gone = before.filter(({ id }) => !messageId || id === messageId);
  for (const { id, hasPictures } of gone) if (hasPictures) shelve(placeOf(id), []);
  if (gone.length) keep(conversationId, before.filter((message) => !gone.includes(message)));
  for (const id of [messageId, ...gone.map((message) => message.id)]) {
    claims.get(id)?.();
    claims.delete(id);
  }
}

function keep(conversationId, messages) {
  remember(keyOf(conversationId), messages.length ? JSON.stringify(messages) : "");
}
