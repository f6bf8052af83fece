/**
 * What was sent and is not yet known to be stored: like drafts it outlives the page, so that nothing is lost that a
 * person wrote. By conversation, a list of `{id, text, hasPictures}` of messages.
 */

import { recall, remember } from "./prefs.js";
import { shelve, shelved } from "./shelf.js";

const keyOf = (conversationId) => `unsent.${conversationId}`;
const placeOf = (messageId) => `unsent.${messageId}`;

export function unsent(conversationId) {
  return JSON.parse(recall(keyOf(conversationId), "[]"));
}

export const picturesOf = ({ id, hasPictures }) => (hasPictures ? shelved(placeOf(id)) : []);

export function hold(conversationId, { id, text, images = [] }) {
  const hasPictures = images.length > 0;
  if (hasPictures) shelve(placeOf(id), images);
  keep(conversationId, [...unsent(conversationId), { id, text, hasPictures }]);
}

/** Forgets one message, or all of a conversation. */
export function release(conversationId, messageId = "") {
  const before = unsent(conversationId);
  const gone = before.filter(({ id }) => !messageId || id === messageId);
  for (const { id, hasPictures } of gone) if (hasPictures) shelve(placeOf(id), []);
  if (gone.length) keep(conversationId, before.filter((message) => !gone.includes(message)));
}

function keep(conversationId, messages) {
  remember(keyOf(conversationId), messages.length ? JSON.stringify(messages) : "");
}
