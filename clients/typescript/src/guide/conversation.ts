/** The guide's Conversation. */

import platform from "#platform";
import type { DescMessage, JsonObject, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

import type { Method } from "../blocking.js";
import type { Core } from "../core.js";
import { refused, StepwireError } from "../errors.js";
import {
  ConversationFormat,
  ConversationService,
  type ExportConversationResponse,
  MessageView,
} from "../gen/stepwire/v1/conversation_pb.js";
import type { Image, Message } from "../gen/stepwire/v1/message_pb.js";
import { image, MAX_INLINE_BYTES, pieces, type PictureLike } from "../pictures.js";
import { type BothCasings, bothCasings } from "./casings.js";
import { type GuideMessage, jsonObject, madeMessage, type MessageOptions, readMessages } from "./message.js";

const calls = ConversationService.method;

/**
 * Messages, added one after the other and kept by the server.
 *
 * What adds returns at once, with the id of the new message, and is sent in order behind it. What is refused is told by
 * the next `flush`, read or chat. Reads wait; in browsers, where nothing can, use those that end in `Async`.
 */
export class GuideConversation {
  /** Of the conversation, at the server. */
  readonly id: string;
  readonly #core: Core;
  readonly #requestId = crypto.randomUUID();
  /** Whether the server has been asked to create it, and whether it surely has. */
  #isBegun: boolean;
  #isThere: boolean;

  constructor(core: Core, id?: string) {
    this.#core = core;
    this.id = id ?? crypto.randomUUID();
    this.#isBegun = this.#isThere = id !== undefined;
  }

  /** Adds what somebody says; the id of the message. An empty reply, cancelled before its first word, is not kept. */
  addMessage(role: string, text: string, options: MessageOptions = {}): string {
    if (role === "assistant" && text === "") return options.id ?? crypto.randomUUID();
    return this.#add(options, () => ({ role, text }));
  }

  /** Adds what somebody says and shows: path of a file (in Node), URL, or bytes. */
  addMessageWithImage(role: string, text: string, picture: PictureLike, options: MessageOptions = {}): string {
    return this.#add(options, () => ({ role, text, images: [this.#fitted(image(picture))] }));
  }

  /** Adds a model's wish to have a tool called. */
  addToolUse(toolID: string, name: string, input: JsonObject, options: MessageOptions = {}): string {
    return this.#add(options, () => ({
      toolUse: { toolId: toolID, name, input: jsonObject(input, "input", "INVALID_MESSAGE") },
    }));
  }

  /** Adds what a tool answered. */
  addToolResult(toolID: string, result: string, options: MessageOptions = {}): string {
    return this.#add(options, () => ({ toolResult: { toolId: toolID, result } }));
  }

  /** Replaces a message's metadata. False if there is no such message; in browsers, `flush` tells that. */
  updateMetadata(messageId: string, metadata: JsonObject): boolean {
    const request = this.#update(messageId, metadata);
    if (this.#core.canBlock) return unlessMissing(() => this.#wait(calls.updateMessage, request));
    this.#post(() => this.#core.lanes.post(this.id, calls.updateMessage, request));
    return true;
  }

  async updateMetadataAsync(messageId: string, metadata: JsonObject): Promise<boolean> {
    const request = this.#update(messageId, metadata);
    await this.flush();
    try {
      await this.#core.services.conversations.updateMessage(request);
    } catch (thrown) {
      return falseIfMissing(thrown);
    }
    return true;
  }

  /** The messages on the path to the head, which is what a model is sent. */
  getMessages(): GuideMessage[] {
    return readMessages(this.#export(ConversationFormat.GUIDE_JSON));
  }

  async getMessagesAsync(): Promise<GuideMessage[]> {
    return readMessages(await this.#exportAsync(ConversationFormat.GUIDE_JSON));
  }

  /** One message as text: `[role]: text`, `ToolUseContent{…}` or `ToolResultContent{…}`. */
  getMessageView(messageId: string): string {
    return this.#wait(calls.renderConversation, { messageId: needed(messageId) }).text;
  }

  async getMessageViewAsync(messageId: string): Promise<string> {
    return this.#text(needed(messageId));
  }

  /** The path to the head as one prompt. */
  getSinglePrompt(): string {
    return this.#wait(calls.renderConversation, {}).text;
  }

  async getSinglePromptAsync(): Promise<string> {
    return this.#text("");
  }

  /** All of it, as the server exports it: `{conversation, messages}`, each in proto JSON. */
  toGoConversation(): JsonObject {
    return JSON.parse(this.#export(ConversationFormat.PROTO_JSON)) as JsonObject;
  }

  async toGoConversationAsync(): Promise<JsonObject> {
    return JSON.parse(await this.#exportAsync(ConversationFormat.PROTO_JSON)) as JsonObject;
  }

  /** Waits until all that was added is stored. Rejects with the first failure since the last time. */
  async flush(): Promise<void> {
    this.#begin();
    try {
      await this.#core.lanes.flush(this.id);
      this.#isThere = true;
    } finally {
      this.#isBegun = this.#isThere; // what failed may be the creation, and the server takes it twice for once
    }
  }

  /** The messages on the path to the head as the wire has them. */
  async wireMessages(): Promise<Message[]> {
    await this.flush();
    const request = { conversationId: this.id, view: MessageView.HEAD_PATH };
    const parts = await Array.fromAsync(this.#core.services.conversations.streamMessages(request));
    return parts.flatMap(({ messages }) => messages);
  }

  /** The same, and waits. */
  wireMessagesBlocking(): Message[] {
    return this.#collect(calls.streamMessages, { view: MessageView.HEAD_PATH }).flatMap(({ messages }) => messages);
  }

  #add(options: MessageOptions, content: () => Parameters<typeof madeMessage>[2]): string {
    const id = options.id ?? crypto.randomUUID();
    this.#post(() => {
      const messages = [madeMessage(id, options, content())];
      const request = { conversationId: this.id, messages, requestId: crypto.randomUUID() };
      this.#core.lanes.post(this.id, calls.appendMessages, request);
    });
    return id;
  }

  #update(messageId: string, metadata: JsonObject) {
    return { conversationId: this.id, messageId, metadata: jsonObject(metadata, "metadata", "INVALID_METADATA") };
  }

  /** Queues; what cannot even be made fails in its turn. */
  #post(act: () => void): void {
    this.#begin();
    try {
      act();
    } catch (thrown) {
      const error = thrown instanceof StepwireError ? thrown : refused((thrown as Error).message, "INVALID_MESSAGE");
      this.#core.lanes.fail(this.id, error);
    }
  }

  /** Creates it, once there is something to do with it. */
  #begin(): void {
    if (this.#isBegun) return;
    this.#isBegun = true;
    const request = { conversationId: this.id, requestId: this.#requestId };
    this.#core.lanes.post(this.id, calls.createConversation, request);
  }

  /** What a message cannot carry is uploaded before it. */
  #fitted(picture: Image): Image {
    const { source, name } = picture;
    if (source.case !== "data" || source.value.length <= MAX_INLINE_BYTES) return picture;
    const requests = [{ name }, ...[...pieces(source.value)].map((chunk) => ({ chunk }))];
    this.#core.lanes.post(this.id, calls.uploadImage, requests);
    return { ...picture, source: { case: "blobId", value: `sha256:${platform.sha256(source.value)}` } };
  }

  #wait<I extends DescMessage, O extends DescMessage>(method: Method<I, O>, request: object): MessageShape<O> {
    const [message] = this.#collect(method, request);
    return message as MessageShape<O>;
  }

  #collect<I extends DescMessage, O extends DescMessage>(method: Method<I, O>, request: object): MessageShape<O>[] {
    const { blocking } = this.#core;
    this.#begin();
    const whole = { conversationId: this.id, ...request } as unknown as MessageInitShape<I>;
    try {
      const answer = blocking.collect(method, whole, { lane: this.id });
      this.#isThere = true;
      return answer;
    } finally {
      this.#isBegun = this.#isThere;
    }
  }

  #export(format: ConversationFormat): string {
    return joined(this.#collect(calls.exportConversation, { format }));
  }

  async #exportAsync(format: ConversationFormat): Promise<string> {
    await this.flush();
    const { conversations } = this.#core.services;
    return joined(await Array.fromAsync(conversations.exportConversation({ conversationId: this.id, format })));
  }

  async #text(messageId: string): Promise<string> {
    await this.flush();
    const { conversations } = this.#core.services;
    return (await conversations.renderConversation({ conversationId: this.id, messageId })).text;
  }
}

bothCasings(GuideConversation.prototype);

/** The guide's class: `new Conversation()`, or `new Conversation(id)` for one that the server has. */
export type ConversationClass = new (id?: string) => BothCasings<GuideConversation>;

/** Makes the class, for one connection. */
export function makeConversation(core: Core): ConversationClass {
  class Conversation extends GuideConversation {
    constructor(id?: string) {
      super(core, id);
    }
  }
  return Conversation as unknown as ConversationClass;
}

function joined(parts: readonly ExportConversationResponse[]): string {
  const decoder = new TextDecoder(); // pieces end anywhere, within letters too
  return parts.map(({ chunk }) => decoder.decode(chunk, { stream: true })).join("") + decoder.decode();
}

/** Without an id the server would write the whole prompt. */
function needed(messageId: string): string {
  if (!messageId) throw refused("message_id: is needed", "FIELD_REQUIRED");
  return messageId;
}

function unlessMissing(act: () => unknown): boolean {
  try {
    act();
  } catch (thrown) {
    return falseIfMissing(thrown);
  }
  return true;
}

function falseIfMissing(thrown: unknown): false {
  if (thrown instanceof StepwireError && thrown.reason === "MESSAGE_NOT_FOUND") return false;
  throw thrown;
}
