/** Stepwire for TypeScript and JavaScript. */

export type { ChatArguments, MessageLike } from "./chats.js";
export { Client, connect } from "./client.js";
export { type CreateArguments, StoredConversation, type View } from "./conversation.js";
export type { EmbedArguments, EmbeddingResult, SearchArguments, SearchHit } from "./embeddings.js";
export { StepwireError, type Violation } from "./errors.js";
export type * from "./events.js";
export type { ConversationClass } from "./guide/conversation.js";
export type { EmbeddingCallbacks, Embeddings, ModelInfo } from "./guide/embeddings.js";
export type { GuideImage, GuideMessage, MessageOptions } from "./guide/message.js";
export type { CallOptions } from "./options.js";
export { image, type PictureLike } from "./pictures.js";
export type { ConnectOptions } from "./platform.js";
export type { Services } from "./services.js";
export type { ConversationChange, WatchArguments } from "./watch.js";
