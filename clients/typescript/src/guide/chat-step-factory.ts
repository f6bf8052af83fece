/** The guide's ChatStepFactory: steps whose input is a conversation and whose result is the text of the reply. */

import type { Core } from "../core.js";
import { misused, refused, searchable } from "../errors.js";
import { collectBlocking } from "../steps/blocking.js";
import * as leaves from "../steps/leaves.js";
import type { RunResults, StepResult } from "../steps/results.js";
import { collect, type RunOptions, stream } from "../steps/run.js";
import { keepsMessages } from "../steps/values.js";
import { bothCasings, type BothCasings } from "./casings.js";
import {
  type ChatInput,
  type ChatRequest,
  chatRequest,
  type ChatSettings,
  checkSettings,
} from "./chat-input.js";
import { RunnableStep } from "./step.js";

/** An option of `newStep`: settings, or a function of the step that returns nothing, or what is wrong. */
export type ChatStepOption = Readonly<ChatSettings> | ((step: ChatStep) => Error | string | null | undefined | void);

const WHOLE = { make: leaves.compose([{ make: leaves.chat({}) }, "text"]) };
const PIECES = { make: leaves.chat({ emit: "deltas" }) };

/**
 * A chat step. Its input is a conversation, the guide's `{messages: [{role, content}], temperature, maxTokens}`, a
 * text, or messages.
 *
 * `startAsync` and `startBlocking` result in a list of one text, the whole reply. `startWithCallbacks` and `stream`
 * give the text piece by piece, as it comes; but a step made of this one, by `with`, `withRetry` and so on, gives it whole.
 * Nothing is added to the conversation: that is for the caller to do.
 */
export class PlainChatStep extends RunnableStep<ChatInput, string> {
  /** How to answer, where the input does not say it. The functions among the options of `newStep` may change it. */
  readonly settings: ChatSettings;

  constructor(core: Core, settings: ChatSettings) {
    const process = leaves.process({
      input: function chatRequestOf(input: Exclude<ChatInput, symbol>) {
        return chatRequest(input as string, settings);
      },
      process: WHOLE,
    });
    super(core, process);
    this.settings = settings;
  }

  override async startAsync(input?: ChatInput, options: RunOptions = {}): Promise<RunResults<string>> {
    const request = await this.#request(input, options);
    return (await collect(this.core, WHOLE, request, options)) as RunResults<string>;
  }

  override startBlocking(input?: ChatInput, options: Omit<RunOptions, "signal"> = {}): RunResults<string> {
    const given = keepsMessages(input) ? input.wireMessagesBlocking() : input;
    const request = chatRequest(given as string, this.settings);
    return collectBlocking(this.core, WHOLE, request, options) as RunResults<string>;
  }

  override stream(input?: ChatInput, options: RunOptions = {}): AsyncGenerator<StepResult, void, undefined> {
    const request = this.#request(input, options); // before anything else is added to the conversation
    request.catch(() => undefined); // it is thrown where the results are read
    return this.#pieces(request, options);
  }

  async *#pieces(request: Promise<ChatRequest>, options: RunOptions): AsyncGenerator<StepResult, void, undefined> {
    yield* stream(this.core.services, PIECES, await request, options);
  }

  async #request(input: ChatInput | undefined, options: RunOptions): Promise<ChatRequest> {
    if (!keepsMessages(input)) return chatRequest(input as string, this.settings);
    return chatRequest(await input.wireMessages(options), this.settings);
  }
}

bothCasings(PlainChatStep.prototype);

/** A chat step, whose methods answer to both spellings. */
export type ChatStep = BothCasings<PlainChatStep>;

/** Makes chat steps. */
export interface ChatStepMaker {
  /**
   * Makes a step.
   *
   * @param options In order, the later ones win: settings such as `{temperature: 0.7, maxTokens: 2000}`, and functions
   *   that are given the step, may change its `settings`, and return nothing or an error.
   * @throws {Error} What a function returned, if that was an error (it answers `includes` then); else a `StepwireError`.
   */
  newStep(options?: readonly ChatStepOption[]): ChatStep;
}

/** The class of the guide. */
export type ChatStepFactoryClass = new () => ChatStepFactory;

/** What it makes. */
export type ChatStepFactory = BothCasings<ChatStepMaker>;

/** Makes the guide's class for a client. */
export function makeChatStepFactory(core: Core): ChatStepFactoryClass {
  class Factory implements ChatStepMaker {
    newStep(options: readonly ChatStepOption[] = []): ChatStep {
      if (!Array.isArray(options)) throw misused("newStep takes a list of options");
      const step = new PlainChatStep(core, {}) as ChatStep;
      for (const option of options as readonly ChatStepOption[]) configure(step, option);
      checkSettings(step.settings);
      return step;
    }
  }
  bothCasings(Factory.prototype);
  return Factory as ChatStepFactoryClass;
}

function configure(step: ChatStep, option: ChatStepOption): void {
  if ((typeof option !== "object" && typeof option !== "function") || option === null) {
    throw misused("an option is an object or a function");
  }
  if (typeof option !== "function") {
    Object.assign(step.settings, option);
    return;
  }
  const wrong = option(step);
  if (wrong instanceof Error) throw searchable(wrong);
  if (wrong !== null && wrong !== undefined) throw refused(String(wrong), "MODEL_CONFIG_INVALID");
}
