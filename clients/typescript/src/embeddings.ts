/** Turns texts into vectors, and ranks documents by meaning. */

import { ofItem, refused, StepwireError } from "./errors.js";
import type { EmbeddingModel } from "./gen/stepwire/v1/embed_pb.js";
import type { Embedding } from "./gen/stepwire/v1/message_pb.js";
import { type CallOptions, callOptions } from "./options.js";
import type { Services } from "./services.js";

/** What one Embed call takes. */
const TEXTS_PER_CALL = 256;

/** What may be said of texts that are turned into vectors. */
export interface EmbedArguments extends CallOptions {
  /** Name or alias of an embedding model. Default: the server's. */
  readonly model?: string;
}

/** What may be said of a search. */
export interface SearchArguments extends EmbedArguments {
  /** At most this many hits. Default: all. */
  readonly topK?: number;
}

/** One document, ranked. */
export interface SearchHit {
  /** Its position in the request, from 0. */
  readonly index: number;
  /** Cosine of the angle to the query, -1 to 1; more is nearer. */
  readonly score: number;
  /** The document. */
  readonly text: string;
}

/** What came of one text of many: a vector, or the error in its place. */
export type EmbeddingResult =
  | { readonly index: number; readonly vector: Float32Array; readonly error: undefined }
  | { readonly index: number; readonly vector: undefined; readonly error: StepwireError };

/** The vector of an embedding. */
export function vectorOf(embedding: Embedding | undefined): Float32Array {
  if (!embedding) throw new StepwireError("there are not as many vectors as texts", { code: "INTERNAL" });
  return Float32Array.from(embedding.values);
}

/** A text; what is none would be written as one. */
export function checked(text: string): string {
  if (typeof text === "string") return text;
  throw refused(`a ${typeof text} is no text`, "INVALID_INPUT_TEXT");
}

/** One vector for each text, in their order. Above 256 they travel in several calls, in turn. */
export async function embed(
  services: Services,
  texts: readonly string[],
  args: EmbedArguments,
): Promise<Float32Array[]> {
  const vectors: Float32Array[] = [];
  for (let start = 0; start < texts.length; start += TEXTS_PER_CALL) {
    const some = texts.slice(start, start + TEXTS_PER_CALL).map(checked);
    const { embeddings } = await services.embed.embed({ texts: some, model: args.model ?? "" }, callOptions(args));
    vectors.push(...some.map((_, index) => vectorOf(embeddings[index])));
  }
  return vectors;
}

/** The outcome of each of up to 2,048 texts, as soon as it is there. */
export async function* streamEmbeddings(
  services: Services,
  texts: readonly string[],
  args: EmbedArguments & { readonly inOrder?: boolean; readonly failFast?: boolean },
): AsyncGenerator<EmbeddingResult, void, undefined> {
  const { model = "", inOrder = false, failFast = false } = args;
  const request = { texts: texts.map(checked), model, inOrder, failFast };
  for await (const { index = 0, outcome } of services.embed.streamEmbeddings(request, callOptions(args))) {
    if (outcome.case === "embedding") yield { index, vector: vectorOf(outcome.value), error: undefined };
    if (outcome.case === "failure") yield { index, vector: undefined, error: ofItem(outcome.value) };
  }
}

/** Documents by nearness to the query, nearest first. */
export async function search(
  services: Services,
  query: string,
  documents: readonly string[],
  args: SearchArguments,
): Promise<SearchHit[]> {
  const { model = "", topK } = args;
  const texts = { query: checked(query), documents: documents.map(checked) };
  const request = { ...texts, model, ...(topK === undefined ? {} : { topK }) };
  const { hits } = await services.embed.search(request, callOptions(args));
  return hits.map(({ index = 0, score = 0 }) => ({ index, score, text: documents[index] ?? "" }));
}

/** Describes an embedding model. */
export async function embeddingModel(services: Services, args: EmbedArguments): Promise<EmbeddingModel> {
  const { model } = await services.embed.getEmbeddingModel({ name: args.model ?? "" }, callOptions(args));
  if (!model) throw new StepwireError("the server described no model", { code: "INTERNAL" });
  return model;
}
