/** Where a person writes: text, pictures, the model, and the button that sends or stops. */

import { h, iconButton, place } from "../dom.js";
import { ALL_BYTES, MOST, takeIn } from "../pictures.js";
import { recall, remember } from "../prefs.js";

const mebibytes = (bytes) => (bytes / 1024 / 1024).toFixed(1);

export class Composer {
  #pictures = [];
  #key = "draft.";
  #isBusy = false;

  /** `parts` are elements of the page; `send({text, pictures})` and `stop()` are called when asked for. */
  constructor(parts, { send, stop }) {
    Object.assign(this, parts, { onSend: send, onStop: stop });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#isBusy) this.onStop();
      else this.#submit();
      this.focus(); // the button is about to be of no use
    });
    this.field.addEventListener("input", () => this.#changed());
    this.field.addEventListener("keydown", (event) => {
      // While an input method composes, Enter chooses a word.
      if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
      event.preventDefault();
      if (!this.#isBusy) this.#submit();
    });
    this.field.addEventListener("paste", (event) => this.#paste(event));
    this.file.addEventListener("change", () => {
      this.add([...this.file.files]);
      this.file.value = ""; // so that the same file can be chosen again
    });
    this.attach.addEventListener("click", () => this.file.click());
    this.#takeDrops();
  }

  /** Goes on with the draft of a conversation; `""` is the one that is not begun yet. */
  open(id) {
    this.#key = `draft.${id}`;
    this.field.value = recall(this.#key);
    this.#clearPictures();
    this.#changed();
  }

  set isBusy(isBusy) {
    this.#isBusy = isBusy;
    this.button.classList.toggle("is-stop", isBusy);
    this.button.setAttribute("aria-label", isBusy ? "Stop" : "Send");
    this.button.title = isBusy ? "Stop (Esc)" : "Send (Enter)";
    this.#enable();
  }

  focus() {
    this.field.focus({ preventScroll: true });
  }

  /** Takes files in as pictures, as far as they can be sent; says why where they cannot. */
  async add(files) {
    this.#say("");
    for (const file of files) {
      try {
        const picture = await takeIn(file);
        const bytes = this.#pictures.reduce((sum, each) => sum + each.blob.size, picture.blob.size);
        if (this.#pictures.length >= MOST) throw new Error(`One message has at most ${MOST} pictures.`);
        if (bytes > ALL_BYTES) throw new Error(`The pictures of one message are at most 8 MiB together; with “${picture.name}” they are ${mebibytes(bytes)}.`);
        this.#pictures.push(picture);
      } catch (error) {
        this.#say(error.message);
      }
    }
    this.#showPictures();
  }

  #submit() {
    const text = this.field.value.trim();
    if (!text && !this.#pictures.length) return;
    const pictures = this.#pictures;
    this.field.value = "";
    this.#changed();
    this.#clearPictures();
    this.onSend({ text, pictures });
  }

  #changed() {
    remember(this.#key, this.field.value);
    if (!CSS.supports("field-sizing", "content")) {
      this.field.style.height = "auto";
      this.field.style.height = `${this.field.scrollHeight}px`;
    }
    this.#enable();
  }

  #enable() {
    this.button.disabled = !this.#isBusy && !this.field.value.trim() && !this.#pictures.length;
  }

  #paste(event) {
    const files = [...event.clipboardData.files].filter((file) => file.type.startsWith("image/"));
    // A spreadsheet offers its cells as text and as a picture of them: the text is meant.
    if (!files.length || event.clipboardData.types.includes("text/plain")) return;
    event.preventDefault();
    this.add(files);
  }

  #takeDrops() {
    let depth = 0; // entering a child comes before leaving its parent
    const hasFiles = (event) => event.dataTransfer?.types.includes("Files");
    const mark = (by) => {
      depth = by === 0 ? 0 : depth + by;
      document.body.classList.toggle("is-dropping", depth > 0);
    };
    addEventListener("dragenter", (event) => hasFiles(event) && mark(1));
    addEventListener("dragleave", (event) => hasFiles(event) && mark(-1));
    // Without this, a picture that misses would be opened in place of the page.
    addEventListener("dragover", (event) => hasFiles(event) && event.preventDefault());
    addEventListener("drop", (event) => {
      if (!hasFiles(event)) return;
      event.preventDefault();
      mark(0);
      this.add([...event.dataTransfer.files]);
      this.focus();
    });
  }

  #clearPictures() {
    for (const { url } of this.#pictures) URL.revokeObjectURL(url);
    this.#pictures = [];
    this.#say("");
    this.#showPictures();
  }

  #showPictures() {
    const shown = this.#pictures.map((picture) => {
      const leave = () => {
        this.#pictures = this.#pictures.filter((each) => each !== picture);
        URL.revokeObjectURL(picture.url);
        this.#showPictures();
        this.focus();
      };
      return h("li", {}, h("img", { src: picture.url, alt: picture.name }), iconButton("close", `Remove ${picture.name}`, leave));
    });
    place(this.tray, shown);
    this.tray.hidden = shown.length === 0;
    this.#enable();
  }

  #say(text) {
    this.notice.textContent = text;
    this.notice.hidden = !text;
  }
}
