/** What went wrong, in the server's words, and how to go on. */

import { copy, h, icon } from "../dom.js";

/** `retry` is what the button does; without it there is none. `isCut` where something had come before it went wrong. */
export function failureCard(error, retry, isCut = false) {
  const title = isCut || error.isTruncated ? "The reply was cut off" : "That did not work";
  const button = retry && h("button", { type: "button", class: "button retry", onclick: retry, "aria-live": "off" }, "Try again");
  if (button && error.retryAfterS) countDown(button, error.retryAfterS);
  return h(
    "div",
    { class: "failure", role: "alert" },
    icon("alert"),
    h("div", { class: "failure-text" }, h("strong", {}, title), h("p", {}, sentence(error.message)), violations(error), facts(error)),
    button,
  );
}

/** The server's messages are made to stand after a colon. */
function sentence(text) {
  return `${text.charAt(0).toUpperCase()}${text.slice(1)}${/[.!?…]$/.test(text) ? "" : "."}`;
}

function violations({ violations: found }) {
  if (!found?.length) return null;
  return h("ul", {}, found.map(({ field, description }) => h("li", {}, h("code", {}, field), ` ${description}`)));
}

function facts({ reason, code, requestId }) {
  const parts = [];
  if (reason || code) parts.push(h("span", {}, reason || code));
  if (requestId) {
    const button = h("button", { type: "button", class: "fact", title: "Copy the request's id", onclick: () => copy(button, requestId) }, `request ${requestId}`);
    parts.push(button);
  }
  return parts.length ? h("p", { class: "facts" }, parts) : null;
}

/** The server said how long to wait: until then the button counts, in silence, and cannot be pressed. */
function countDown(button, seconds) {
  const until = performance.now() + seconds * 1000;
  button.disabled = true;
  const tick = () => {
    const left = Math.ceil((until - performance.now()) / 1000);
    button.disabled = left > 0;
    button.textContent = left > 0 ? `Try again in ${left} s` : "Try again";
    if (left > 0) setTimeout(tick, Math.min(1000, until - performance.now()));
  };
  tick();
}
