import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import { describe, test } from "node:test";

import { image } from "../dist/pictures.js";

const MAX_BYTES = 20 * 1024 * 1024;

describe("a data URL", () => {
  test("is read byte for byte, in lines too", () => {
    const bytes = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte));
    const lines = bytes.toString("base64").replace(/.{76}/g, "$&\r\n");
    assert.deepEqual(image(`data:image/png;base64,${lines}`).source, { case: "data", value: new Uint8Array(bytes) });
  });

  test("of the largest picture takes little more memory than it has", () => {
    const script = `import { image } from ${JSON.stringify(new URL("../dist/pictures.js", import.meta.url).href)};
      const url = "data:image/png;base64," + Buffer.alloc(${MAX_BYTES}, 7).toString("base64");
      const { value } = image(url).source;
      console.log(value.length, value.every((byte) => byte === 7));`;
    const { stdout, stderr } = spawnSync(
      process.execPath,
      ["--max-old-space-size=256", "--input-type=module", "-e", script],
      { encoding: "utf8", timeout: 120_000 },
    );
    assert.equal(stdout.trim(), `${MAX_BYTES} true`, stderr);
  });

  test("is refused without being read where no picture can be so large", (t) => {
    const read = t.mock.method(globalThis, "atob");
    const url = `data:image/png;base64,${"A".repeat(3 * MAX_BYTES)}`;
    assert.throws(() => image(url), { reason: "IMAGE_TOO_LARGE" });
    assert.equal(read.mock.callCount(), 0);
    const larger = `data:image/png;base64,${Buffer.alloc(MAX_BYTES + 1).toString("base64")}`;
    assert.throws(() => image(larger), { reason: "IMAGE_TOO_LARGE" });
  });
});
