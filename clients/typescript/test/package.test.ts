import { build } from "esbuild";
import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { describe, test } from "node:test";

import { VERSION } from "../dist/version.js";

describe("the package", () => {
  test("knows its version", () => {
    const { version } = JSON.parse(readFileSync(new URL("../package.json", import.meta.url), "utf8")) as {
      version: string;
    };
    assert.equal(VERSION, version);
  });

  test("names no registry in its lock file", () => {
    assert.doesNotMatch(readFileSync(new URL("../package-lock.json", import.meta.url), "utf8"), /"resolved"/);
  });

  test("has nothing of Node in it for browsers", async () => {
    const { metafile, errors } = await build({
      stdin: { contents: 'export * from "stepwire"', resolveDir: import.meta.dirname },
      bundle: true,
      minify: true,
      format: "esm",
      platform: "browser",
      metafile: true,
      write: false,
    });
    assert.deepEqual(errors, []);
    const inputs = Object.keys(metafile.inputs);
    assert.ok(inputs.some((path) => path.endsWith("browser/platform.js")));
    assert.ok(!inputs.some((path) => path.includes("dist/node/") || path.includes("connect-node")));
  });
});
