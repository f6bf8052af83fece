/**
 * What was sent and is not yet known to be stored: like drafts it outlives the page, so that nothing is lost that a
 * person wrote. By conversation, a list of `{id, text}` of messages.
 */

import { recall, remember } from "./prefs.js";

const keyOf = (conversationId) => `unsent.${conversationId}`;

export function unsent(conversationId) {
  return JSON.parse(recall(keyOf(conversationId), "[]"));
}

export function hold(conversationId, { id, text }) {
  if (text) keep(conversationId, [...unsent(conversationId), { id, text }]);
}

/** Forgets one message, or all of a conversation. */
export function release(conversationId, messageId = "") {
  const before = unsent(conversationId);
  if (before.length) keep(conversationId, before.filter(({ id }) => messageId && id !== messageId));
}

function keep(conversationId, messages) {
  remember(keyOf(conversationId), messages.length ? JSON.stringify(messages) : "");
}
