/** A conversation that the server keeps. */

import { create, type JsonObject, type MessageInitShape } from "@bufbuild/protobuf";

import { type ChatArguments, type MessageLike, messagesOf, reply, streamChat } from "./chats.js";
import { StepwireError } from "./errors.js";
import type { ChatEvent, Reply } from "./events.js";
import {
  type Conversation,
  type ListConversationsRequestSchema,
  type MessageHit,
  MessageView,
  MetadataUpdate,
} from "./gen/stepwire/v1/conversation_pb.js";
import { type Image, ImageSchema, type Message } from "./gen/stepwire/v1/message_pb.js";
import { type CallOptions, callOptions } from "./options.js";
import { pages } from "./pages.js";
import { image, pieces, type PictureLike } from "./pictures.js";
import type { Services } from "./services.js";
import { type ConversationChange, watch, type WatchArguments } from "./watch.js";

/** Which messages to read: the path to the head (what a model is sent), the path along each oldest child, or all. */
export type View = "headPath" | "leftmost" | "all";

const VIEWS: Readonly<Record<View, MessageView>> = {
  headPath: MessageView.HEAD_PATH,
  leftmost: MessageView.LEFTMOST,
  all: MessageView.ALL,
};

/** What may be said of a conversation that is created. */
export interface CreateArguments extends CallOptions {
  /** 1 to 128 of `A-Z a-z 0-9 . _ : -`. Default: a new UUID. */
  readonly conversationId?: string;
  readonly title?: string;
  readonly metadata?: JsonObject;
  /** Its first messages, oldest first. */
  readonly messages?: readonly MessageLike[];
}

/** A handle of one; `client.conversation(id)` makes it without a call. */
export class StoredConversation {
  readonly id: string;
  readonly #services: Services;

  constructor(services: Services, id: string) {
    this.#services = services;
    this.id = id;
  }

  /** Describes it, without its messages. */
  async info(options: CallOptions = {}): Promise<Conversation> {
    const { conversation } = await this.#calls.getConversation({ conversationId: this.id }, callOptions(options));
    return known(conversation);
  }

  /** Appends messages, all or none, each after the one before it; their ids. */
  async append(messages: readonly MessageLike[] | MessageLike, options: CallOptions = {}): Promise<string[]> {
    const several = Array.isArray(messages) ? messages : [messages as MessageLike];
    const request = { conversationId: this.id, messages: messagesOf(several), requestId: crypto.randomUUID() };
    const { messageIds } = await this.#calls.appendMessages(request, callOptions(options));
    return messageIds;
  }

  /** Yields messages, parents before children. */
  async *messages(view: View = "headPath", options: CallOptions = {}): AsyncGenerator<Message, void, undefined> {
    const request = { conversationId: this.id, view: VIEWS[view] };
    for await (const { messages } of this.#calls.streamMessages(request, callOptions(options))) yield* messages;
  }

  /** The path to the head as one prompt, or one message as `[role]: text`. */
  async text(messageId = "", options: CallOptions = {}): Promise<string> {
    const request = { conversationId: this.id, messageId };
    return (await this.#calls.renderConversation(request, callOptions(options))).text;
  }

  /** Appends `prompt` and then the model's reply to all that was said; its text. */
  async chat(prompt: string, args: ChatArguments = {}): Promise<string> {
    return (await this.reply(prompt, args)).text;
  }

  /** The same; the whole reply. */
  reply(prompt: string, args: ChatArguments = {}): Promise<Reply> {
    return reply(this.#services, prompt, { ...args, conversationId: this.id });
  }

  /** The same, as it is made. Leaving the loop ends the call; what had come is kept, as an interrupted message. */
  streamChat(prompt: string, args: ChatArguments = {}): AsyncGenerator<ChatEvent, void, undefined> {
    return streamChat(this.#services, prompt, { ...args, conversationId: this.id });
  }

  /** Yields every change, in order, each once, through cut connections, until it is deleted. */
  watch(args: WatchArguments = {}): AsyncGenerator<ConversationChange, void, undefined> {
    return watch(this.#services, this.id, args);
  }

  /** Replaces a message's metadata; with `merge`, sets the keys given and removes those whose value is null. */
  async updateMetadata(
    messageId: string,
    metadata: JsonObject,
    options: CallOptions & { readonly merge?: boolean } = {},
  ): Promise<Message> {
    const metadataUpdate = options.merge ? MetadataUpdate.MERGE : MetadataUpdate.REPLACE;
    const request = { conversationId: this.id, messageId, metadata, metadataUpdate };
    return known((await this.#calls.updateMessage(request, callOptions(options))).message);
  }

  /** Copies the path to a message, by default the head, into a new conversation. */
  async fork(
    args: CallOptions & {
      readonly messageId?: string;
      readonly newConversationId?: string;
      readonly title?: string;
    } = {},
  ): Promise<StoredConversation> {
    const { messageId = "", newConversationId = "", title = "" } = args;
    const request = { conversationId: this.id, messageId, newConversationId, title, requestId: crypto.randomUUID() };
    const { conversation } = await this.#calls.forkConversation(request, callOptions(args));
    return new StoredConversation(this.#services, known(conversation).id);
  }

  /** Deletes it with its messages. */
  async delete(options: CallOptions = {}): Promise<void> {
    await this.#calls.deleteConversation({ conversationId: this.id }, callOptions(options));
  }

  get #calls(): Services["conversations"] {
    return this.#services.conversations;
  }
}

/** Creates a conversation, with its first messages if any are given. */
export async function createConversation(services: Services, args: CreateArguments): Promise<StoredConversation> {
  const { signal: _signal, timeoutMs: _timeoutMs, messages, ...rest } = args;
  const request = { ...rest, messages: messagesOf(messages), requestId: crypto.randomUUID() };
  const { conversation } = await services.conversations.createConversation(request, callOptions(args));
  return new StoredConversation(services, known(conversation).id);
}

/** Which conversations to list; the pages are turned by themselves. */
export type ListArguments = CallOptions &
  Omit<MessageInitShape<typeof ListConversationsRequestSchema>, "pageToken" | "$typeName">;

/** Lists conversations, newest first, without their messages. */
export async function* listConversations(
  services: Services,
  args: ListArguments,
): AsyncGenerator<Conversation, void, undefined> {
  const { signal: _signal, timeoutMs: _timeoutMs, ...filters } = args;
  const read = (pageToken: string) =>
    services.conversations.listConversations({ ...filters, pageToken }, callOptions(args));
  for await (const { conversations } of pages(read)) yield* conversations;
}

/** Finds messages by their words, best match first: the first `pageSize` of them. */
export async function searchMessages(
  services: Services,
  query: string,
  args: CallOptions & { readonly conversationId?: string; readonly pageSize?: number },
): Promise<MessageHit[]> {
  const { conversationId = "", pageSize = 0 } = args;
  return (await services.conversations.searchMessages({ query, conversationId, pageSize }, callOptions(args))).hits;
}

/** Stores a picture, and describes it, ready to be put into a message. Small ones need not be. */
export async function uploadImage(services: Services, source: PictureLike, options: CallOptions): Promise<Image> {
  const picture = image(source);
  if (picture.source.case !== "data") return picture;
  const {
    name,
    source: { value },
  } = picture;
  async function* requests() {
    yield { name };
    for (const chunk of pieces(value as Uint8Array)) yield { chunk };
  }
  const { image: stored } = await services.conversations.uploadImage(requests(), callOptions(options));
  return create(ImageSchema, { ...known(stored), name });
}

function known<T>(value: T | undefined): T {
  if (value === undefined) throw new StepwireError("the server's answer is empty", { code: "INTERNAL" });
  return value;
}
