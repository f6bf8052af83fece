/** The calls that the page makes, by what they are for. */

import { stream, unary } from "./connect.js";

const conversations = (method) => `ConversationService/${method}`;
const chats = (method) => `ChatService/${method}`;

/**
 * The first message of every conversation that begins here. No model is sent it, and nobody sees it; it is there because
 * a conversation has one first message, and the first thing that a person says has to be one that can be said anew.
 */
export const ROOT = { role: "system", text: "Begun on the chat page.", metadata: { hidden: true } };

export const listModels = (options) => unary(chats("ListModels"), { pageSize: 1000 }, options);

export const listConversations = (pageToken = "", options = {}) =>
  unary(conversations("ListConversations"), { pageSize: 50, pageToken, order: "CONVERSATION_ORDER_UPDATE_TIME" }, options);

export const createConversation = (conversationId, title, options) =>
  unary(conversations("CreateConversation"), { conversationId, title, messages: [ROOT], requestId: conversationId.slice(0, 36) }, options);

export const getConversation = (conversationId, options) =>
  unary(conversations("GetConversation"), { conversationId }, options).then((answer) => answer.conversation);

export const renameConversation = (id, title) =>
  unary(conversations("UpdateConversation"), { conversation: { id, title }, updateMask: "title" });

export const moveHead = (id, headId, options) =>
  unary(conversations("UpdateConversation"), { conversation: { id, headId }, updateMask: "headId" }, options);

export const deleteConversation = (conversationId) => unary(conversations("DeleteConversation"), { conversationId });

export const searchMessages = (query, pageToken, options) =>
  unary(conversations("SearchMessages"), { query, pageSize: 30, pageToken }, options);

/** Keeps with a stored message what only this page measured. */
export const noteMessage = (conversationId, messageId, note) =>
  unary(
    conversations("UpdateMessage"),
    { conversationId, messageId, metadata: { page: note }, metadataUpdate: "METADATA_UPDATE_MERGE" },
    { keepalive: true },
  );

export async function allMessages(conversationId, options) {
  const found = [];
  const request = { conversationId, view: "MESSAGE_VIEW_ALL" };
  for await (const page of stream(conversations("StreamMessages"), request, options)) found.push(...page.messages);
  return found;
}

export const watchConversation = (conversationId, afterRevision, options) =>
  stream(conversations("WatchConversation"), { conversationId, afterRevision }, options);

export const streamChat = (request, options) => stream(chats("StreamChat"), request, options);

/** The bytes of a stored picture. */
export async function downloadPicture(blobId, options) {
  const pieces = [];
  let type = "";
  for await (const { chunk = "", image } of stream(conversations("DownloadImage"), { blobId }, options)) {
    if (image) type = image.mediaType;
    pieces.push(Uint8Array.from(atob(chunk), (character) => character.charCodeAt(0)));
  }
  return new Blob(pieces, { type });
}
