/** The guide's Steps API. */

import type { Core } from "../core.js";

export type Steps = Readonly<Record<string, never>>;

export function makeSteps(_core: Core): Steps {
  return {};
}
