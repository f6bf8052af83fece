/** Stepwire for TypeScript and JavaScript. */

export { Client, connect } from "./client.js";
export { StepwireError, type Violation } from "./errors.js";
export type { ConnectOptions } from "./platform.js";
export type { Services } from "./services.js";
