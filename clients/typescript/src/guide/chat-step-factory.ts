/** The guide's ChatStepFactory. */

import type { Core } from "../core.js";

export type ChatStepFactoryClass = new () => object;

export function makeChatStepFactory(_core: Core): ChatStepFactoryClass {
  return class {};
}
