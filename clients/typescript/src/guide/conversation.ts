/** The guide's Conversation. */

import platform from "#platform";
import type { DescMessage, JsonObject, MessageInitShape, MessageShape } from "@bufbuild/protobuf";

import type { Method } from "../blocking.js";
import type { Core } from "../core.js";
import { refused, StepwireError } from "../errors.js";
import { ConversationFormat, ConversationService, MessageView } from "../gen/stepwire/v1/conversation_pb.js";
import type { Image, Message } from "../gen/stepwire/v1/message_pb.js";
import type { LaneOptions } from "../lanes.js";
import type { CallOptions } from "../options.js";
import { image, MAX_INLINE_BYTES, pieces, type PictureLike } from "../pictures.js";
import { known } from "../steps/spec.js";
import { falseIfMissing, joined, needed, textIn, textOf, unlessMissing } from "./answers.js";
import { type BothCasings, bothCasings } from "./casings.js";
import {
  type GuideMessage,
  jsonObject,
  madeMessage,
  MESSAGE_OPTIONS,
  type MessageOptions,
  type Metadata,
  readMessages,
} from "./message.js";

const calls = ConversationService.method;

const HEAD = { view: MessageView.HEAD_PATH };
const GUIDE = { format: ConversationFormat.GUIDE_JSON };
const WHOLE = { format: ConversationFormat.PROTO_JSON };
const UNKNOWN_PARENT = "`parentID` is of an empty reply, which was not kept, and what stood before it is not known here";

/**
 * Messages, added one after the other and kept by the server.
 *
 * What adds returns at once, with the id of the new message. Everything, reads and what ends in `Async` too, is done in
 * the order in which it was called. Reads wait; in browsers, where nothing can, use those that end in `Async`.
 *
 * What the server refuses is told once, by the next `flush`, read or chat, and dropped; several refusals are told as one,
 * with `others`. What could not be sent because there was no server (`isTransient`) stays queued, and so does all behind
 * it: the next `flush`, read or chat sends it, in order and once. What is queued when the program ends is lost, and what
 * nobody asks after is told to nobody: end with `await flush()`, or `await client.close()`.
 */
export class GuideConversation {
  /** Of the conversation, at the server. */
  readonly id: string;
  readonly #core: Core;
  readonly #requestId = crypto.randomUUID();
  /** Whether the server had it before. */
  readonly #isOpened: boolean;
  /** Whether its creation is queued or done. */
  #isBegun: boolean;
  /** The message that was added last. */
  #last: string | undefined;
  /** Ids of messages that were not kept, with the message that was the last then; empty where that is not known. */
  readonly #skipped = new Map<string, string | undefined>();

  constructor(core: Core, id?: string) {
    this.#core = core;
    this.id = id ?? crypto.randomUUID();
    this.#isBegun = this.#isOpened = id !== undefined;
  }

  /**
   * Adds what somebody says; the id of the message. An empty reply without options, as a chat that is cancelled before its
   * first word leaves behind, is not kept: as `parentID`, its id stands for the message before it. If that is none of this
   * object's, the server is asked for it; in browsers, where nothing can wait, only the next message takes such an id.
   */
  addMessage(role: string, text: string, options: MessageOptions = {}): string {
    const isBare = Object.keys(options ?? {}).length === 0;
    if (role === "assistant" && text === "" && isBare) return this.#skip();
    return this.#add(options, () => ({ role: textIn(role, "role"), text: textIn(text, "text") }));
  }

  /** Adds what somebody says and shows: path of a file (in Node), URL of any kind, or bytes. */
  addMessageWithImage(role: string, text: string, picture: PictureLike, options: MessageOptions = {}): string {
    return this.#add(options, () => ({
      role: textIn(role, "role"),
      text: textIn(text, "text"),
      images: [this.#fitted(image(picture))],
    }));
  }

  /** Adds a model's wish to have a tool called. */
  addToolUse(toolID: string, name: string, input: Metadata, options: MessageOptions = {}): string {
    return this.#add(options, () => ({
      toolUse: {
        toolId: textIn(toolID, "toolID"),
        name: textIn(name, "name"),
        input: jsonObject(input, "input", "INVALID_MESSAGE"),
      },
    }));
  }

  /** Adds what a tool answered. */
  addToolResult(toolID: string, result: string, options: MessageOptions = {}): string {
    return this.#add(options, () => ({
      toolResult: { toolId: textIn(toolID, "toolID"), result: textIn(result, "result") },
    }));
  }

  /** Replaces a message's metadata. False if there is no such message; in browsers, `flush` tells that. */
  updateMetadata(messageId: string, metadata: Metadata): boolean {
    const request = this.#update(messageId, metadata);
    if (this.#core.canBlock) {
      return unlessMissing(() => this.#wait(calls.updateMessage, request, { isAlone: true }));
    }
    this.#post(() => this.#core.lanes.post(this.id, calls.updateMessage, request));
    return true;
  }

  /** The same. */
  async updateMetadataAsync(messageId: string, metadata: Metadata, options: CallOptions = {}): Promise<boolean> {
    const request = this.#update(messageId, metadata);
    try {
      await this.#after(calls.updateMessage, request, { ...options, isAlone: true });
    } catch (thrown) {
      return falseIfMissing(thrown);
    }
    return true;
  }

  /** The messages on the path to the head, which is what a model is sent. */
  getMessages(): GuideMessage[] {
    return readMessages(joined(this.#collect(calls.exportConversation, GUIDE)));
  }

  /** The same. */
  async getMessagesAsync(options: CallOptions = {}): Promise<GuideMessage[]> {
    return readMessages(joined(await this.#after(calls.exportConversation, GUIDE, options)));
  }

  /** One message as text: `[role]: text`, `ToolUseContent{…}` or `ToolResultContent{…}`. */
  getMessageView(messageId: string): string {
    return this.#wait(calls.renderConversation, { messageId: needed(messageId) }).text;
  }

  /** The same. */
  async getMessageViewAsync(messageId: string, options: CallOptions = {}): Promise<string> {
    return textOf(await this.#after(calls.renderConversation, { messageId: needed(messageId) }, options));
  }

  /** The path to the head as one prompt. */
  getSinglePrompt(): string {
    return this.#wait(calls.renderConversation, {}).text;
  }

  /** The same. */
  async getSinglePromptAsync(options: CallOptions = {}): Promise<string> {
    return textOf(await this.#after(calls.renderConversation, {}, options));
  }

  /** All of it, as the server exports it: `{conversation, messages}`, each in proto JSON. */
  toGoConversation(): JsonObject {
    return JSON.parse(joined(this.#collect(calls.exportConversation, WHOLE))) as JsonObject;
  }

  /** The same. */
  async toGoConversationAsync(options: CallOptions = {}): Promise<JsonObject> {
    return JSON.parse(joined(await this.#after(calls.exportConversation, WHOLE, options))) as JsonObject;
  }

  /**
   * Waits until all that was added is stored.
   *
   * @throws {StepwireError} What the server refused since the last time, all of it, and will not be told again. Or there
   *   was no server (`isTransient`): then everything is still queued, and the next `flush` goes on.
   */
  async flush(options: CallOptions = {}): Promise<void> {
    this.#begin();
    await this.#core.lanes.flush(this.id, options);
  }

  /** The messages on the path to the head as the wire has them. */
  async wireMessages(options: CallOptions = {}): Promise<Message[]> {
    return (await this.#after(calls.streamMessages, HEAD, options)).flatMap(({ messages }) => messages);
  }

  /** The same, and waits. */
  wireMessagesBlocking(): Message[] {
    return this.#collect(calls.streamMessages, HEAD).flatMap(({ messages }) => messages);
  }

  #skip(): string {
    const id = crypto.randomUUID();
    this.#skipped.set(id, this.#last ?? (this.#isOpened ? this.#head() : undefined));
    return id;
  }

  /** The message that the next one will follow, if any; empty where the server cannot be asked. */
  #head(): string | undefined {
    if (!this.#core.canBlock) return "";
    try {
      return this.#wait(calls.getConversation, {}, { isAlone: true }).conversation?.headId || undefined;
    } catch {
      return ""; // whoever needs it will be told
    }
  }

  #add(given: MessageOptions | null, content: () => Parameters<typeof madeMessage>[2]): string {
    const options = known(given ?? {}, MESSAGE_OPTIONS);
    const id = options.id || crypto.randomUUID();
    const { parentID = "", ...others } = options;
    const parent = this.#skipped.has(parentID) ? this.#skipped.get(parentID) : options.parentID;
    const isUnknown = parent === "" && parentID !== "" && this.#last !== undefined;
    const placed = parent === undefined ? others : { ...others, parentID: parent };
    this.#last = id;
    this.#post(() => {
      if (isUnknown) throw refused(UNKNOWN_PARENT, "INVALID_MESSAGE");
      const messages = [madeMessage(id, placed, content())];
      const request = { conversationId: this.id, messages, requestId: crypto.randomUUID() };
      this.#core.lanes.post(this.id, calls.appendMessages, request);
    });
    return id;
  }

  #update(messageId: string, metadata: Metadata) {
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
    const again = () => (this.#isBegun = false); // it may be another time that it is refused
    this.#core.lanes.post(this.id, calls.createConversation, request, again);
  }

  /** What a message cannot carry is uploaded before it. */
  #fitted(picture: Image): Image {
    const { source, name } = picture;
    if (source.case !== "data" || source.value.length <= MAX_INLINE_BYTES) return picture;
    const requests = [{ name }, ...[...pieces(source.value)].map((chunk) => ({ chunk }))];
    this.#core.lanes.post(this.id, calls.uploadImage, requests);
    return { ...picture, source: { case: "blobId", value: `sha256:${platform.sha256(source.value)}` } };
  }

  #wait<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: object,
    options?: LaneOptions,
  ): MessageShape<O> {
    const [message] = this.#collect(method, request, options);
    return message as MessageShape<O>;
  }

  #collect<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: object,
    { isAlone }: LaneOptions = {},
  ): MessageShape<O>[] {
    const { blocking } = this.#core;
    this.#begin();
    return blocking.collect(method, this.#whole<I>(request), { lane: this.id, isAlone });
  }

  async #after<I extends DescMessage, O extends DescMessage>(
    method: Method<I, O>,
    request: object,
    options: LaneOptions,
  ): Promise<MessageShape<O>[]> {
    this.#begin();
    return this.#core.lanes.after(this.id, method, this.#whole<I>(request), options);
  }

  #whole<I extends DescMessage>(request: object): MessageInitShape<I> {
    return { conversationId: this.id, ...request } as unknown as MessageInitShape<I>;
  }
}

bothCasings(GuideConversation.prototype);

/** The guide's class: `new Conversation()`, or `new Conversation(id)` for one that the server has. */
export type ConversationClass = new (id?: string) => Conversation;

/** What it makes, whose methods answer to both spellings. */
export type Conversation = BothCasings<GuideConversation>;

/** Makes the class, for one connection. */
export function makeConversation(core: Core): ConversationClass {
  class Conversation extends GuideConversation {
    constructor(id?: string) {
      super(core, id);
    }
  }
  return Conversation as unknown as ConversationClass;
}
