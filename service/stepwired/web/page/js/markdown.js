/**
 * Turns Markdown into elements. Whatever the text says, it becomes only elements that this file makes, with text nodes in
 * them: no HTML is parsed, no address is asked for, and links go to http, https and mailto only.
 */

import { Lexer } from "../vendor/marked.esm.js";
import { codeBlock } from "./code.js";
import { h } from "./dom.js";

/** Deeper nesting than this is shown as the text that it was. */
const DEEPEST = 40;
const LINKS = new Set(["http:", "https:", "mailto:"]);

/** marked takes the square of their number to pair them off: with more in one block, they are taken for what they are. */
const MOST_STARS = 1500;

/** The blocks of a text whose lines end with LF, as marked names them. Never throws. */
export function blocks(text) {
  try {
    const lexer = new Lexer({ gfm: true });
    lexer.blockTokens(text, lexer.tokens);
    for (const { src, tokens } of lexer.inlineQueue) {
      if (hasManyStars(src)) tokens.push({ type: "text", raw: src, text: src });
      else lexer.inlineTokens(src, tokens);
    }
    return { tokens: lexer.tokens, hasDefinitions: Object.keys(lexer.tokens.links).length > 0 };
  } catch {
    // Nested so deeply that the lexer ran out of stack. It is somebody's trick, or an accident; it is still a text.
    return { tokens: [{ type: "text", raw: text, text }], hasDefinitions: false };
  }
}

function hasManyStars(text) {
  if (text.length <= MOST_STARS) return false;
  let count = 0;
  for (const character of text) if (character === "*" || character === "_") count++;
  return count > MOST_STARS;
}

/**
 * The element of one block; null for what shows nothing. `top` is the depth of the text's first heading: whatever depth a
 * text begins with, its headings follow those of the page without a gap.
 */
export function block(token, depth = 0, top = 1) {
  const element = made(token, depth, top);
  // Its first letters say which way it reads; what is inside goes with it. Code says so itself.
  if (depth === 0 && element && !element.dir) element.dir = "auto";
  return element;
}

function made(token, depth, top) {
  if (depth > DEEPEST) return h("p", {}, token.raw);
  if (token.type === "heading") return h(`h${Math.min(6, 3 + Math.max(0, token.depth - top))}`, {}, inlines(token.tokens, depth + 1));
  const make = BLOCKS[token.type];
  return make ? make(token, depth + 1) : h("p", {}, inlines([token], depth + 1));
}

const BLOCKS = {
  space: () => null,
  def: () => null,
  hr: () => h("hr"),
  paragraph: (token, depth) => h("p", {}, inlines(token.tokens, depth)),
  code: (token) => codeBlock(token.text, token.lang ?? ""),
  blockquote: (token, depth) => h("blockquote", {}, children(token.tokens, depth)),
  html: (token) => h("p", { class: "raw" }, token.raw.trimEnd()),
  list: (token, depth) => list(token, depth),
  table: (token, depth) => table(token, depth),
};

function children(tokens = [], depth) {
  return tokens.map((token) => block(token, depth)).filter(Boolean);
}

function list(token, depth) {
  const start = token.ordered && token.start !== 1 && token.start !== "" ? String(token.start) : null;
  const element = h(token.ordered ? "ol" : "ul", { start });
  const make = (item) => h("li", { class: item.task ? "task" : null }, item.task ? checkbox(item.checked) : null, itemChildren(item, depth));
  const isSame = (one, other) => one.raw === other.raw && one.loose === other.loose && one.checked === other.checked;
  growsBy(element, token, make, ({ items }) => items, isSame, ({ ordered, start: first }) => `${ordered} ${first}`);
  return element;
}

/**
 * Fills an element with what it makes of a token's members, and gives it a `grow(token)` that takes in a later form of
 * the same block: where all but the last members stay as they are, so do their elements. True if it could; it can where
 * `kindOf` both is the same.
 */
function growsBy(element, token, make, membersOf, isSame, kindOf) {
  let shown = [];
  const take = (members) => {
    let at = 0;
    while (at < shown.length && at < members.length && isSame(shown[at], members[at])) at++;
    for (let left = element.childElementCount; left > at; left--) element.lastElementChild.remove();
    element.append(...members.slice(at).map(make));
    shown = members;
  };
  take(membersOf(token));
  element.grow = (next) => {
    if (next.type !== token.type || kindOf(next) !== kindOf(token)) return false;
    take(membersOf(next));
    return true;
  };
}

/** A tight item holds bare text; a loose one, paragraphs. */
function itemChildren(item, depth) {
  return item.tokens.flatMap((token) => {
    if (token.type === "checkbox") return [];
    if (token.type === "text") return item.loose ? [h("p", {}, inlines(token.tokens ?? [token], depth))] : inlines(token.tokens ?? [token], depth);
    return [block(token, depth)].filter(Boolean);
  });
}

function checkbox(isChecked) {
  return h("input", { type: "checkbox", disabled: true, checked: isChecked, "aria-label": isChecked ? "done" : "to do" });
}

function table(token, depth) {
  const cell = (tag, { tokens }, column) => {
    const side = token.align[column];
    return h(tag, { class: side ? `align-${side}` : null, scope: tag === "th" ? "col" : null }, inlines(tokens, depth));
  };
  const head = h("tr", {}, token.header.map((each, column) => cell("th", each, column)));
  const rows = h("tbody");
  const make = (row) => h("tr", {}, row.map((each, column) => cell("td", each, column)));
  const isSame = (one, other) => one.every(({ text }, column) => text === other[column].text);
  growsBy(rows, token, make, (each) => each.rows, isSame, ({ header, align }) => JSON.stringify([header.map(({ text }) => text), align]));
  // Scrolls by itself when it is wide, with the keyboard too.
  const scroller = { class: "table", tabindex: "0", role: "group", "aria-label": "Table" };
  const element = h("div", scroller, h("table", {}, h("thead", {}, head), rows));
  element.grow = rows.grow;
  return element;
}

const INLINES = {
  text: (token, depth) => (token.tokens ? inlines(token.tokens, depth) : [unescaped(token)]),
  escape: (token) => [token.text],
  strong: (token, depth) => [h("strong", {}, inlines(token.tokens, depth))],
  em: (token, depth) => [h("em", {}, inlines(token.tokens, depth))],
  del: (token, depth) => [h("del", {}, inlines(token.tokens, depth))],
  codespan: (token) => [h("code", {}, token.text)],
  br: () => [h("br")],
  link: (token, depth) => [link(token.href, inlines(token.tokens, depth), token.title)],
  // Loading it would tell its server who reads this: what it would be is named, and is a link.
  image: (token) => [link(token.href, [`image: ${token.text || token.href}`], token.title)],
  html: (token) => [token.raw],
};

function inlines(tokens = [], depth) {
  if (depth > DEEPEST) return tokens.map((token) => token.raw);
  return tokens.flatMap((token) => INLINES[token.type]?.(token, depth + 1) ?? [token.raw]);
}

/** marked leaves character references to whoever makes HTML; these are the ones that models write. */
function unescaped({ text }) {
  return text.includes("&") ? text.replace(/&(amp|lt|gt|quot|nbsp|#39|#x27);/g, (_, name) => REFERENCES[name]) : text;
}

const REFERENCES = { amp: "&", lt: "<", gt: ">", quot: '"', nbsp: "\u00a0", "#39": "'", "#x27": "'" };

/** A link that leaves nothing behind; its bare text where it would go anywhere but to a web page or a mailbox. */
function link(href, content, title) {
  const url = safeUrl(href);
  if (!url) return h("span", { class: "no-link", title: "This link was left out: it goes to no web page." }, content);
  return h("a", { href: url, title, target: "_blank", rel: "noopener noreferrer nofollow" }, content);
}

/** The address, if it is one of the kinds that may be followed, else null. Relative ones would be ours: they are none. */
export function safeUrl(href) {
  try {
    const url = new URL(href);
    return LINKS.has(url.protocol) ? url.href : null;
  } catch {
    return null;
  }
}
