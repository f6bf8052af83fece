/// <reference lib="esnext.disposable" preserve="true" />
/** A Stepwire server: the everyday API, and the guide's beside it. */

import { type ChatArguments, reply, streamChat } from "./chats.js";
import {
  type CreateArguments,
  createConversation,
  type ListArguments,
  listConversations,
  searchMessages,
  StoredConversation,
  uploadImage,
} from "./conversation.js";
import { Core } from "./core.js";
import {
  type EmbedArguments,
  type EmbeddingResult,
  embed,
  embeddingModel,
  type SearchArguments,
  type SearchHit,
  search,
  streamEmbeddings,
} from "./embeddings.js";
import type { ChatEvent, Reply } from "./events.js";
import type { Model } from "./gen/stepwire/v1/chat_pb.js";
import type { Conversation as Info, MessageHit } from "./gen/stepwire/v1/conversation_pb.js";
import type { EmbeddingModel } from "./gen/stepwire/v1/embed_pb.js";
import type { Image } from "./gen/stepwire/v1/message_pb.js";
import { type ChatStepFactoryClass, makeChatStepFactory } from "./guide/chat-step-factory.js";
import { type ConversationClass, makeConversation } from "./guide/conversation.js";
import { type Embeddings, makeEmbeddings } from "./guide/embeddings.js";
import { makeSteps, type Steps } from "./guide/steps.js";
import { type CallOptions, callOptions } from "./options.js";
import { pages } from "./pages.js";
import type { PictureLike } from "./pictures.js";
import type { ConnectOptions } from "./platform.js";
import type { Services } from "./services.js";
import type { RunResults, StepResult } from "./steps/results.js";
import { collect, type RunOptions, stream } from "./steps/run.js";
import type { StepLike } from "./steps/spec.js";

/** Made by `connect`. Calls fail with `StepwireError`; a `signal` ends them, and so does leaving the loop over a stream. */
export class Client {
  /** Everything that the protos have, typed: `client.services.chat.streamChat({…})`. */
  readonly services: Services;
  /** The guide's classes and objects. They may be taken out: `const { Conversation, steps } = connect()`. */
  readonly Conversation: ConversationClass;
  readonly embeddings: Embeddings;
  readonly steps: Steps;
  readonly ChatStepFactory: ChatStepFactoryClass;
  readonly #core: Core;

  constructor(address: string, options: ConnectOptions = {}) {
    this.#core = new Core(address, options);
    this.services = this.#core.services;
    this.Conversation = makeConversation(this.#core);
    this.embeddings = makeEmbeddings(this.#core);
    this.steps = makeSteps(this.#core);
    this.ChatStepFactory = makeChatStepFactory(this.#core);
  }

  /** Asks a model, and returns the text of its reply. */
  async chat(prompt: string, args: ChatArguments = {}): Promise<string> {
    return (await this.reply(prompt, args)).text;
  }

  /** The same; the whole reply: tokens used, why it ended, messages. */
  reply(prompt: string, args: ChatArguments = {}): Promise<Reply> {
    return reply(this.services, prompt, args);
  }

  /** The same, as it is made: `started`, any pieces, then exactly one `finished`. */
  streamChat(prompt: string, args: ChatArguments = {}): AsyncGenerator<ChatEvent, void, undefined> {
    return streamChat(this.services, prompt, args);
  }

  /** One vector for each text, in their order; all or none. */
  embed(texts: readonly string[], args: EmbedArguments = {}): Promise<Float32Array[]> {
    return embed(this.services, texts, args);
  }

  /** The outcome of each of up to 2,048 texts, as soon as it is there. */
  streamEmbeddings(
    texts: readonly string[],
    args: EmbedArguments & { readonly inOrder?: boolean; readonly failFast?: boolean } = {},
  ): AsyncGenerator<EmbeddingResult, void, undefined> {
    return streamEmbeddings(this.services, texts, args);
  }

  /** Documents by nearness to the query, nearest first. */
  search(query: string, documents: readonly string[], args: SearchArguments = {}): Promise<SearchHit[]> {
    return search(this.services, query, documents, args);
  }

  /** Describes an embedding model, by default the server's default. */
  embeddingModel(args: EmbedArguments = {}): Promise<EmbeddingModel> {
    return embeddingModel(this.services, args);
  }

  /** The server's language models, by name. */
  async models(options: CallOptions = {}): Promise<Model[]> {
    const read = (pageToken: string) => this.services.chat.listModels({ pageToken }, callOptions(options));
    return (await Array.fromAsync(pages(read))).flatMap(({ models }) => models);
  }

  /** Runs a step, or several one after the other, and returns all results, however many. Functions among them are called here. */
  run(step: StepLike | readonly StepLike[], input: unknown, options: RunOptions = {}): Promise<RunResults> {
    return collect(this.#core, this.#composed(step), input, options);
  }

  /** The same; each result as soon as it is there, and errors in their places. */
  streamRun(
    step: StepLike | readonly StepLike[],
    input: unknown,
    options: RunOptions = {},
  ): AsyncGenerator<StepResult, void, undefined> {
    return stream(this.services, this.#composed(step), input, options);
  }

  /** A handle of a conversation that the server has; makes no call. */
  conversation(id: string): StoredConversation {
    return new StoredConversation(this.services, id);
  }

  /** Creates a conversation, with its first messages if any are given. */
  createConversation(args: CreateArguments = {}): Promise<StoredConversation> {
    return createConversation(this.services, args);
  }

  /** Lists conversations, newest first, without their messages. */
  listConversations(args: ListArguments = {}): AsyncGenerator<Info, void, undefined> {
    return listConversations(this.services, args);
  }

  /** Finds messages by their words, best match first. */
  searchMessages(
    query: string,
    args: CallOptions & { readonly conversationId?: string; readonly pageSize?: number } = {},
  ): Promise<MessageHit[]> {
    return searchMessages(this.services, query, args);
  }

  /** Stores a picture, so that messages can refer to it. Those up to 4 MiB can be put into messages as they are. */
  uploadImage(source: PictureLike, options: CallOptions = {}): Promise<Image> {
    return uploadImage(this.services, source, options);
  }

  /**
   * Ends the connection and all calls on it at once; nothing can be called afterwards. What was added to a
   * `Conversation` and is not sent yet, is sent nevertheless; for that the process stays, at most 30 s.
   *
   * @returns When that is done; need not be awaited.
   * @throws {StepwireError} Something was refused, and nobody was told yet, or could not be sent: then it is lost.
   */
  close(): Promise<void> {
    return this.#core.close();
  }

  [Symbol.dispose](): void {
    void this.close();
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #composed(step: StepLike | readonly StepLike[]): StepLike {
    return Array.isArray(step) ? this.steps.compose(step as StepLike[]) : (step as StepLike);
  }
}

/** Connects to a server, such as `localhost:50051`; nothing is sent before the first call. */
export function connect(address = "localhost:50051", options: ConnectOptions = {}): Client {
  return new Client(address, options);
}
