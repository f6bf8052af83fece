import { build } from "esbuild";
import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, test } from "node:test";

import { VERSION } from "../dist/version.js";
import { address } from "./serve.ts";

const PACKAGE = join(import.meta.dirname, "..");

/** A folder of somebody's who has installed the package. */
function project(after: (end: () => void) => void): string {
  const folder = mkdtempSync(join(tmpdir(), "stepwire-"));
  after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, "node_modules"));
  symlinkSync(PACKAGE, join(folder, "node_modules", "stepwire"));
  for (const scope of ["@bufbuild", "@connectrpc"]) {
    symlinkSync(join(PACKAGE, "node_modules", scope), join(folder, "node_modules", scope));
  }
  return folder;
}

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

  test("is complete: a library compiles that exports what it makes of it", (t) => {
    const folder = project((end) => t.after(end));
    copyFileSync(join(PACKAGE, "test", "consumer", "library.ts"), join(folder, "library.mts"));
    const options = {
      ...{ strict: true, exactOptionalPropertyTypes: true, declaration: true, preserveSymlinks: true, skipLibCheck: false },
      ...{ module: "nodenext", target: "es2022", lib: ["es2022", "dom", "dom.iterable"], types: [], outDir: "out" },
    };
    writeFileSync(join(folder, "tsconfig.json"), JSON.stringify({ compilerOptions: options, files: ["library.mts"] }));
    const tsc = join(PACKAGE, "node_modules", ".bin", "tsc");
    const { status, stdout } = spawnSync(process.execPath, [tsc, "-p", folder], { encoding: "utf8" });
    assert.equal(status, 0, stdout);
  });

  test("does what its README shows", (t) => {
    const folder = project((end) => t.after(end));
    const text = readFileSync(join(PACKAGE, "README.md"), "utf8");
    const blocks = [...text.matchAll(/^```ts\n(.*?)^```$/gms)].map(([, block = ""]) => block);
    const programs = blocks.filter((block) => !block.includes("serveSteps")); // which does not end
    const said = programs.map((program) => {
      assert.match(program, /"localhost:50051"/);
      writeFileSync(join(folder, "program.mts"), program.replaceAll("localhost:50051", address));
      const options = { cwd: folder, encoding: "utf8", timeout: 120_000 } as const;
      const { status, stdout, stderr } = spawnSync(process.execPath, ["program.mts"], options);
      assert.equal(status, 0, stderr);
      return stdout;
    });
    assert.deepEqual(said, ["Hello", "Hello\n[ 2, 4, 6 ]\n"]);
  });

  test("has nothing in it that has no source any more", () => {
    const sources = new Set(readdirSync(join(PACKAGE, "src"), { recursive: true, encoding: "utf8" }));
    const built = readdirSync(join(PACKAGE, "dist"), { recursive: true, encoding: "utf8" });
    const stale = built.filter((path) => /\.(js|d\.ts)$/.test(path) && !sources.has(path.replace(/\.(js|d\.ts)$/, ".ts")));
    assert.deepEqual(stale, []);
  });
});
