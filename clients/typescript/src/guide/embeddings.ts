/** The guide's embeddings. */

import type { Core } from "../core.js";
import { checked, embed, embeddingModel, vectorOf } from "../embeddings.js";
import { misused, type StepwireError } from "../errors.js";
import { EmbedService, type EmbeddingModel } from "../gen/stepwire/v1/embed_pb.js";
import type { CallOptions } from "../options.js";
import { deliver, type Item } from "../steps/delivery.js";
import { type BothCasings, bothCasings } from "./casings.js";

/** What is told of an embedding: its vector, an error or that it was cancelled, then `onDone`. */
export interface EmbeddingCallbacks {
  readonly onSuccess?: ((embedding: Float32Array) => unknown) | undefined;
  /** The same, as it is called everywhere else. */
  readonly onResult?: ((embedding: Float32Array) => unknown) | undefined;
  readonly onError?: ((error: StepwireError) => unknown) | undefined;
  readonly onCancel?: (() => unknown) | undefined;
  readonly onDone?: (() => unknown) | undefined;
}

/** The server's default model. */
export interface ModelInfo {
  readonly name: string;
  readonly dimensions: number;
}

/** Vectors of texts, by the server's default model. */
export class GuideEmbeddings {
  readonly #core: Core;

  constructor(core: Core) {
    this.#core = core;
  }

  /** Describes the model, and waits for it. Not in browsers. */
  getModel(): ModelInfo {
    const { model } = this.#core.blocking.call(EmbedService.method.getEmbeddingModel, {});
    return info(model);
  }

  /** Describes the model. */
  async getModelAsync(options: CallOptions = {}): Promise<ModelInfo> {
    return info(await embeddingModel(this.#core.services, options));
  }

  /** Turns a text into a vector, and waits for it. Not in browsers. */
  generateEmbedding(text: string): Float32Array {
    const { embeddings } = this.#core.blocking.call(EmbedService.method.embed, { texts: [checked(text)] });
    return vectorOf(embeddings[0]);
  }

  /** Turns a text into a vector. */
  async generateEmbeddingAsync(text: string, options: CallOptions = {}): Promise<Float32Array> {
    const [vector] = await embed(this.#core.services, [checked(text)], options);
    return vector as Float32Array;
  }

  /** The same, told by callbacks; returns what cancels it. */
  generateEmbeddingWithCallbacks(text: string, callbacks: EmbeddingCallbacks = {}): () => void {
    const { services } = this.#core;
    async function* one(signal: AbortSignal): AsyncGenerator<Item<Float32Array>> {
      const [value] = await embed(services, [checked(text)], { signal });
      yield { value: value as Float32Array, error: undefined };
    }
    const { onSuccess, ...others } = callbacks ?? {};
    if (typeof (onSuccess ?? deliver) !== "function") throw misused("onSuccess is no function");
    return deliver(one, { ...others, onResult: onSuccess ?? others.onResult });
  }
}

bothCasings(GuideEmbeddings.prototype);

/** The same, whose methods answer to both spellings. */
export type Embeddings = BothCasings<GuideEmbeddings>;

/** Makes them for one connection. */
export function makeEmbeddings(core: Core): Embeddings {
  return new GuideEmbeddings(core) as Embeddings;
}

function info(model: EmbeddingModel | undefined): ModelInfo {
  return { name: model?.name ?? "", dimensions: model?.dimensions ?? 0 };
}
