/** The JavaScript blocks of the guide, and how one is run as it stands. */

import { readFileSync } from "node:fs";
import { join } from "node:path";

/** One block of the guide. */
export interface Block {
  /** Its place among the JavaScript blocks, from 1. */
  readonly number: number;
  /** Its lines in the document, from 1, without those of the fence. */
  readonly first: number;
  readonly last: number;
  readonly source: string;
}

/** What a block is given beside what JavaScript has, by name. */
export type Scope = Record<string, unknown>;

/** Reads the blocks out of the folder with the guide. */
export function blocksOf(folder: string): Block[] {
  const lines = readFileSync(join(folder, "geppetto-javascript-api.md"), "utf8").split("\n");
  const found: Block[] = [];
  for (let line = 0; line < lines.length; line++) {
    if (!lines[line]?.startsWith("```")) continue;
    const isWanted = lines[line] === "```javascript";
    const begin = line + 1;
    for (line = begin; line < lines.length && lines[line] !== "```"; line++);
    const source = lines.slice(begin, line).join("\n");
    if (isWanted) found.push({ number: found.length + 1, first: begin + 1, last: line, source });
  }
  return found;
}

type Made = (scope: Scope) => Promise<Scope>;

const AsyncFunction = (async () => undefined).constructor as new (...given: string[]) => Made;

/**
 * Runs JavaScript as it stands, with `await` at its top, and names that it does not declare out of `scope`.
 *
 * @returns What it declared at its top.
 * @throws {SyntaxError} It is none.
 */
export async function run(source: string, scope: Scope): Promise<Scope> {
  const declared = [...source.matchAll(/^(?:const|let|(?:async )?function) (\w+)/gm)].map(([, name]) => name);
  const whole = `with (scope) { return await (async () => {\n${source}\n; return { ${declared.join(", ")} }; })(); }`;
  return new AsyncFunction("scope", whole)(scope);
}

/** A field of an object that a block shows. */
export interface Field {
  readonly name: string;
  readonly type: string;
  readonly isOptional: boolean;
}

/** The fields that a block shows which is no program but the shape of an object; those of objects within it too. */
export function fieldsOf(source: string): Field[] {
  const lines = source.matchAll(/^\s*(\w+)(\?)?:\s*(string|number|object|Date|\[)/gm);
  return [...lines].map(([, name = "", optional, type = ""]) => ({ name, type, isOptional: optional !== undefined }));
}

/** Whether a value is of a type that a block names. */
export function isOf(value: unknown, type: string): boolean {
  if (type === "Date") return value instanceof Date && !Number.isNaN(value.getTime());
  if (type === "[") return Array.isArray(value);
  return typeof value === type && value !== null;
}
