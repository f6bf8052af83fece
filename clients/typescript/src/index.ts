/** Stepwire for TypeScript and JavaScript. */

export type { ChatArguments, MessageLike } from "./chats.js";
export { Client, connect } from "./client.js";
export { type CreateArguments, type ListArguments, StoredConversation, type View } from "./conversation.js";
export type { EmbedArguments, EmbeddingResult, SearchArguments, SearchHit } from "./embeddings.js";
export { StepwireError, type Violation } from "./errors.js";
export type * from "./events.js";
export type { Model } from "./gen/stepwire/v1/chat_pb.js";
export type { Conversation as ConversationInfo, MessageHit } from "./gen/stepwire/v1/conversation_pb.js";
export type { EmbeddingModel } from "./gen/stepwire/v1/embed_pb.js";
export type { Image, Message } from "./gen/stepwire/v1/message_pb.js";
export type { Step as StepMessage, StepInfo } from "./gen/stepwire/v1/step_run_pb.js";
export type { BothCasings } from "./guide/casings.js";
export type { Conversation, ConversationClass, GuideConversation } from "./guide/conversation.js";
export type { EmbeddingCallbacks, Embeddings, GuideEmbeddings, ModelInfo } from "./guide/embeddings.js";
export type { GuideImage, GuideMessage, MessageOptions, Metadata } from "./guide/message.js";
export type { CallOptions } from "./options.js";
export { image, type PictureLike } from "./pictures.js";
export type { ConnectOptions } from "./platform.js";
export type { Services } from "./services.js";
export type { ConversationChange, WatchArguments } from "./watch.js";
export type { CallContext, Closure } from "./functions/functions.js";
export type { ChatInput, ChatMessage, ChatSettings } from "./guide/chat-input.js";
export type {
  ChatStep,
  ChatStepFactory,
  ChatStepFactoryClass,
  ChatStepMaker,
  ChatStepOption,
  PlainChatStep,
} from "./guide/chat-step-factory.js";
export type { RunnableStep, Step, StepSettings } from "./guide/step.js";
export type { StepFunction, StepMaker, Steps } from "./guide/steps.js";
export type { Callbacks } from "./steps/delivery.js";
export type { RunResults, StepMetadata, StepResult } from "./steps/results.js";
export type { RunOptions } from "./steps/run.js";
export type { ChatLeaf, ParallelOptions, SearchInput } from "./steps/leaves.js";
export type { Make, Makes, StepLike, StepSpec } from "./steps/spec.js";
export type { KeepsMessages } from "./steps/values.js";
export type { Events } from "./steps/watching.js";
export type { RetryOptions, StateOptions } from "./steps/wrapping.js";
export type { WorkerStep, WorkerSteps } from "./worker/registration.js";
export { serveSteps, type Server, StepWorker, type WorkerOptions } from "./worker/worker.js";
