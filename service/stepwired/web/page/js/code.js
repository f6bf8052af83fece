/** A block of code: what language it is in, a button that copies it, and a little colour. */

import { copy, h, icon } from "./dom.js";

/** Longer ones stay plain: colouring them would take longer than anybody wants to wait. */
const COLOURED_CHARACTERS = 20_000;

const words = (text) => new Set(text.split(" "));
const C_LIKE = "break case catch class const continue default do else enum extends finally for if new return static super switch this throw try void while";
const KEYWORDS = {
  python: words("and as assert async await break class continue def del elif else except False finally for from global if import in is lambda None nonlocal not or pass raise return True try while with yield match case"),
  javascript: words(`${C_LIKE} async await delete export false from function import in instanceof let null of true typeof undefined var yield interface type implements`),
  java: words(`${C_LIKE} abstract boolean byte char double false final float implements import int interface long null package private protected public record true var throws`),
  c: words(`${C_LIKE} auto bool char const_cast constexpr delete double extern false float include int long namespace nullptr operator private public short signed sizeof struct template true typedef typename union unsigned using virtual`),
  go: words("break case chan const continue default defer else fallthrough false for func go goto if import interface map nil package range return select struct switch true type var"),
  rust: words("as async await break const continue crate dyn else enum false fn for if impl in let loop match mod move mut pub ref return self Self static struct super trait true type unsafe use where while"),
  sh: words("case cd do done echo elif else esac exit export fi for function if in local read return set then while"),
  sql: words("select from where and or not insert into values update set delete create table index drop alter join left right inner outer on group by order having limit as distinct null is in like between union all primary key foreign references SELECT FROM WHERE AND OR NOT INSERT INTO VALUES UPDATE SET DELETE CREATE TABLE INDEX DROP ALTER JOIN LEFT RIGHT INNER OUTER ON GROUP BY ORDER HAVING LIMIT AS DISTINCT NULL IS IN LIKE BETWEEN UNION ALL PRIMARY KEY FOREIGN REFERENCES"),
  json: words("true false null"),
};
const ALIASES = { py: "python", python3: "python", js: "javascript", jsx: "javascript", ts: "javascript", tsx: "javascript", typescript: "javascript", mjs: "javascript", kotlin: "java", cpp: "c", "c++": "c", h: "c", cs: "java", rs: "rust", golang: "go", bash: "sh", shell: "sh", zsh: "sh", console: "sh", jsonc: "json", yaml: "sh", yml: "sh", toml: "sh" };
const HASH_COMMENTS = new Set(["python", "sh"]);

// Strings end with their line, so that one that is never closed colours no more than that.
const TEXT = String.raw`"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|\x60(?:[^\x60\\]|\\.)*\x60`;
const REST = String.raw`|(?<text>${TEXT})|(?<number>\b\d[\w.]*)|(?<word>[A-Za-z_]\w*)`;
const WITH_HASH = new RegExp(String.raw`(?<comment>#[^\n]*|"""[^]*?(?:"""|$)|'''[^]*?(?:'''|$))${REST}`, "g");
const WITH_SLASHES = new RegExp(String.raw`(?<comment>\/\/[^\n]*|\/\*[^]*?\*\/)${REST}`, "g");
const WITH_DASHES = new RegExp(String.raw`(?<comment>--[^\n]*|\/\*[^]*?\*\/)${REST}`, "g");

/** What could make code read as other code than it is. */
const TURNS = /([\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069])/;

/** The element of a block; its `grow(token)` takes in a later form of the same block, if it can. */
export function codeBlock(text, info) {
  const label = info.trim().split(/[\s,{]/, 1)[0].slice(0, 24);
  const content = h("code");
  let shown = text;
  colour(content, text, label);
  const button = h("button", { type: "button", class: "copy", onclick: () => copy(button, shown) }, icon("copy"), "Copy");
  const head = h("figcaption", {}, h("span", {}, label || "text"), button);
  const name = `Code${label ? `, ${label}` : ""}`;
  const element = h("figure", { class: "code", dir: "ltr" }, head, h("pre", { tabindex: "0", role: "group", "aria-label": name }, content));
  element.grow = (token) => {
    const isSame = token.type === "code" && (token.lang ?? "") === info && token.text.startsWith(shown);
    if (!isSame) return false;
    if (token.text.length > COLOURED_CHARACTERS) append(content, token.text.slice(shown.length));
    else colour(content, token.text, label);
    shown = token.text;
    return true;
  };
  return element;
}

function append(content, text) {
  const isPlain = text.search(TURNS) < 0;
  if (isPlain && content.lastChild?.nodeType === Node.TEXT_NODE) content.lastChild.appendData(text);
  else content.append(...plain(text));
}

/** Text as it stands; characters that would have others read in another order are seen, and turn nothing around. */
function plain(text) {
  if (text.search(TURNS) < 0) return [text];
  return text.split(TURNS).map((piece, at) => (at % 2 ? h("span", { class: "code-turn", title: "Turns the order of letters" }, piece) : piece));
}

function colour(content, text, label) {
  const name = label.toLowerCase();
  const language = ALIASES[name] ?? name;
  const keywords = KEYWORDS[language];
  if (!keywords || text.length > COLOURED_CHARACTERS) {
    content.replaceChildren(...plain(text));
    return;
  }
  const pattern = HASH_COMMENTS.has(language) ? WITH_HASH : language === "sql" ? WITH_DASHES : WITH_SLASHES;
  const nodes = [];
  let at = 0;
  for (const match of text.matchAll(pattern)) {
    const kind = kindOf(match, keywords, text);
    if (!kind) continue;
    nodes.push(...plain(text.slice(at, match.index)), h("span", { class: `code-${kind}` }, plain(match[0])));
    at = match.index + match[0].length;
  }
  content.replaceChildren(...nodes, ...plain(text.slice(at)));
}

function kindOf(match, keywords, text) {
  const { comment, text: string, number, word } = match.groups;
  if (comment) return "comment";
  if (string) return "string";
  if (number) return "number";
  if (keywords.has(word)) return "keyword";
  return text[match.index + word.length] === "(" ? "call" : null;
}
