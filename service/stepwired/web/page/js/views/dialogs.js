/** Questions that have to be answered before anything goes on. */

import { h } from "../dom.js";

/** Whether the person agrees. Escape, and a click beside the question, mean no. */
export function confirm(question, consequence, verb) {
  const dialog = h(
    "dialog",
    { class: "dialog", "aria-labelledby": "dialog-question", "aria-describedby": "dialog-consequence" },
    h("form", { method: "dialog" },
      h("h2", { id: "dialog-question" }, question),
      h("p", { id: "dialog-consequence" }, consequence),
      h("div", { class: "edit-buttons" },
        h("button", { class: "button", value: "" }, "Cancel"),
        h("button", { class: "button danger", value: "yes" }, verb))),
  );
  dialog.addEventListener("click", (event) => event.target === dialog && dialog.close(""));
  document.body.append(dialog);
  dialog.showModal();
  return new Promise((done) => {
    dialog.addEventListener("close", () => {
      dialog.remove();
      done(dialog.returnValue === "yes");
    });
  });
}
