// Calls a function of a caller once for each list of arguments. It shares its globals with that function, which may
// change any of them: so it takes what it needs before the function comes, and looks nothing up on a prototype.
(outputLength, flushLength, sliceMs) => {
  "use strict";
  const { parse, stringify } = JSON;
  const { apply, getPrototypeOf } = Reflect;
  const { now } = Date;
  const { slice, toWellFormed, isWellFormed, startsWith } = String.prototype;
  const { valueOf: numberOf } = Number.prototype, { valueOf: symbolOf } = Symbol.prototype;
  const { isArray } = Array, plain = Object.prototype, AnyTypeError = TypeError;
  const { toString } = Function.prototype;
  const AnyError = Error, Internal = InternalError, Range = RangeError, AnyPromise = Promise;
  const asynchronous = getPrototypeOf(async () => {});
  const generator = getPrototypeOf(function* () {});
  const asynchronousGenerator = getPrototypeOf(async function* () {});
  // Memory that is shared, ways to wait, and clocks finer than a millisecond.
  for (const name of ["Atomics", "SharedArrayBuffer", "performance", "WeakRef", "FinalizationRegistry"]) {
    delete globalThis[name];
  }

  let done = 0, lines = "", faults = "", refusal = "";

  const cut = (text, length) => apply(toWellFormed, apply(slice, text, [0, length]), []);

  const refuse = (what) => {
    refusal = what;
    throw what;
  };

  const isA = (kindOf, value) => {
    try {
      apply(kindOf, value, []);
      return true;
    } catch (error) {
      if (error instanceof AnyTypeError) return false;
      throw error;
    }
  };

  const checked = (key, value) => {
    switch (typeof value) {
      case "object": {
        if (value === null || isArray(value)) break;
        const kind = getPrototypeOf(value);
        if (kind === plain || kind === null) break;
        // What `new Number` and `Object` make of a number or a symbol says neither NaN nor itself.
        if (isA(numberOf, value)) return checked(key, apply(numberOf, value, []));
        if (isA(symbolOf, value)) refuse("a symbol, which JSON cannot say");
        break;
      }
      case "number":
        if (value - value !== 0) refuse("NaN or infinity, which JSON cannot say");
        break;
      case "function":
      case "symbol":
        refuse(`a ${typeof value}, which JSON cannot say`);
    }
    return value;
  };

  const json = (value) => {
    switch (typeof value) {
      case "undefined":
        return "null";
      case "boolean":
        return value ? "true" : "false";
      case "number":
        return "" + checked("", value);
      case "string":
        return stringify(value);
      case "object": {
        if (value instanceof AnyPromise) refuse("a Promise: a function has to return its value, it cannot wait");
        const text = stringify(value, checked);
        if (text === undefined) return "null";
        // Other texts are written with escapes; what `JSON.rawJSON` holds is not.
        if (!apply(isWellFormed, text, [])) refuse("half a surrogate pair, which JSON cannot say");
        return text;
      }
      default:
        return refuse(`a ${typeof value}, which JSON cannot say`);
    }
  };

  const fault = (kind, text, type, stack) => {
    const before = faults === "" ? "" : ",";
    faults += `${before}{"at":${done},"kind":"${kind}","text":${stringify(cut(text, 1000))}`
      + `,"type":${stringify(cut(type, 100))},"stack":${stringify(cut(stack, 1000))}}`;
  };

  // Says whether the function can be called again: not where there was no memory left.
  const caught = (error, returned) => {
    if (refusal !== "") return fault("invalid", refusal, "", ""), true;
    let text = "", type = "", stack = "";
    try {
      // Where there is no memory even for an error, null is thrown.
      if (error === null || (error instanceof Internal && error.message === "out of memory")) {
        return fault("memory", "", "", ""), false;
      }
      if (error instanceof Range && error.message === "Maximum call stack size exceeded") {
        return fault("stack", "", "", ""), true;
      }
      if (error instanceof Internal && error.message === "string too long") return fault("memory", "", "", ""), true;
      if (error instanceof AnyError) {
        type = "" + error.name, text = "" + error.message, stack = "" + error.stack;
      } else {
        text = typeof error === "string" ? error : "" + stringify(error);
      }
    } catch {
      // It was made so that it cannot be looked at.
    }
    return fault(returned ? "invalid" : "thrown", text, type, stack), true;
  };

  // What was put together of pieces is not yet a string that the other side can take; a slice of it is.
  const report = () => apply(slice, `{"done":${done},"faults":[${faults}]}\n${lines}`, [0]);

  const run = function stepwire$run(called, batch) {
    done = 0, lines = "", faults = "";
    const calls = parse(batch), count = calls.length, end = now() + sliceMs;
    let goes = true;
    while (goes && done < count) {
      let line = "null", returned = false;
      refusal = "";
      try {
        const value = apply(called, undefined, calls[done]);
        returned = true;
        const text = json(value);
        if (text.length > outputLength) fault("output", "", "", "");
        else line = text;
      } catch (error) {
        goes = caught(error, returned);
      }
      lines += done === 0 ? line : "\n" + line;
      done += 1;
      if (lines.length >= flushLength || now() >= end) break;
    }
    return report();
  };

  const wrong = (values) => {
    if (typeof values !== "object" || values.length !== 1) return "it is not one function";
    const value = values[0];
    if (typeof value !== "function") return `it is ${value === null ? "null" : typeof value}, not a function`;
    const kind = getPrototypeOf(value);
    if (kind === asynchronous || kind === asynchronousGenerator) {
      return "it is an async function: a function has to return its value, it cannot wait";
    }
    if (kind === generator) return "it is a generator: a function returns one value, which may be a list";
    if (apply(startsWith, apply(toString, value, []), ["class"])) return "it is a class, not a function";
    return "";
  };

  return (what, values, batch) => (what === "run" ? run(values[0], batch) : what === "report" ? report() : wrong(values));
}
