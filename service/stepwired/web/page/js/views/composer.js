/** Where a person writes: text, pictures, the model, and the button that sends or stops. */

import { h, iconButton, place } from "../dom.js";
import { ALL_BYTES, MOST, bytesOf, show, takeIn } from "../pictures.js";
import { recall, remember } from "../prefs.js";
import { shelve, shelved } from "../shelf.js";

const keyOf = (id) => `draft.${id}`;
const mebibytes = (bytes) => (bytes / 1024 / 1024).toFixed(1);

export class Composer {
  #trays = new Map(); // of each draft its pictures, as messages hold them
  #brought = new Map(); // of each draft a promise: its pictures of earlier are in the tray
  #key = null; // of the draft that is shown
  #reading = []; // keys of the drafts that files are being read for
  #isWanted = false; // to be sent as soon as its pictures are read
  #isBusy = false;

  /** `parts` are elements of the page; `send({text, images})` and `stop()` are called when asked for. */
  constructor(parts, { send, stop }) {
    Object.assign(this, parts, { onSend: send, onStop: stop });
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#isBusy) this.onStop();
      else this.#submit();
      this.focus(); // the button is about to be of no use
    });
    this.field.addEventListener("input", () => {
      this.#isWanted = false;
      this.#changed();
    });
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
    if (this.#key === keyOf(id)) return;
    this.#key = keyOf(id);
    this.#isWanted = false;
    this.field.value = recall(this.#key);
    this.say("");
    this.#showPictures();
    this.#changed();
    this.#bring(this.#key);
  }

  /**
   * Puts what was not sent before the draft of a conversation; `from` is where the draft was until now. The promise is
   * kept when its pictures are in the tray and their copy is asked for.
   */
  giveBack(id, { text, images = [] }, from = id) {
    const keys = [...new Set([keyOf(from), keyOf(id)])];
    const draft = [text, ...keys.map((each) => recall(each))].filter(Boolean).join("\n\n");
    for (const each of keys) remember(each, each === keyOf(id) ? draft : "");
    const isKept = this.#giveBackPictures(keys, images);
    if (this.#key === keyOf(id)) {
      this.field.value = draft;
      this.#changed();
    }
    return isKept;
  }

  #giveBackPictures(keys, images) {
    const fill = async () => {
      const brought = keys.map((each) => this.#bring(each));
      await Promise.all(brought);
      if (this.#isForgotten(keys.at(-1), brought.at(-1))) return;
      const pictures = [...images, ...keys.flatMap((each) => this.#trays.get(each) ?? [])];
      for (const each of keys) this.#fill(each, each === keys.at(-1) ? pictures : []);
    };
    return this.#read(keys.at(-1), fill);
  }

  /** Forgets the draft of a conversation. */
  forget(id) {
    remember(keyOf(id), "");
    this.#brought.set(keyOf(id), Promise.resolve());
    this.#fill(keyOf(id), []);
  }

  /** Puts the pictures that a draft had when the page was left into its tray, once. */
  #bring(key) {
    if (!this.#brought.has(key)) {
      const fill = async () => {
        const before = await shelved(key);
        if (before.length && !this.#isForgotten(key, mine)) this.#fill(key, [...before, ...(this.#trays.get(key) ?? [])]);
      };
      const mine = this.#read(key, fill);
      this.#brought.set(key, mine);
    }
    return this.#brought.get(key);
  }

  /** Whether a draft was forgotten since its pictures were brought, which `brought` tells of. */
  #isForgotten(key, brought) {
    return this.#brought.get(key) !== brought;
  }

  #fill(key, pictures) {
    this.#trays.set(key, pictures);
    shelve(key, pictures);
    if (key === this.#key) this.#showPictures();
  }

  /** Sends nothing of a draft until `read` is done, and then, if it was to be sent meanwhile, sends it. */
  async #read(key, read) {
    this.#reading.push(key);
    try {
      await read();
    } finally {
      this.#reading.splice(this.#reading.indexOf(key), 1);
    }
    if (key === this.#key && this.#isWanted && !this.#isBusy) this.#submit();
  }

  /** Says above the field, for everybody, what could not be done. */
  say(text) {
    this.notice.textContent = text;
    this.notice.hidden = !text;
  }

  /** Puts a beginning before what the field has, for the person to go on with. */
  begin(text) {
    this.field.value = text + this.field.value;
    this.#isWanted = false;
    this.#changed();
    this.focus();
    this.field.setSelectionRange(this.field.value.length, this.field.value.length);
  }

  set isBusy(isBusy) {
    this.#isBusy = isBusy;
    this.form.classList.toggle("is-busy", isBusy);
    this.button.classList.toggle("is-stop", isBusy);
    this.button.setAttribute("aria-label", isBusy ? "Stop" : "Send");
    this.button.title = isBusy ? "Stop (Esc)" : "Send (Enter)";
    this.#enable();
  }

  focus() {
    this.field.focus({ preventScroll: true });
  }

  /** Takes files in as pictures, as far as they can be sent; says why where they cannot. */
  add(files) {
    const key = this.#key;
    this.say("");
    return this.#read(key, async () => {
      const brought = this.#bring(key);
      await brought;
      for (const file of files) {
        try {
          const picture = await takeIn(file);
          if (this.#isForgotten(key, brought)) return;
          this.#put(key, picture);
        } catch (error) {
          if (key !== this.#key) continue;
          this.#isWanted = false; // whether it is to be sent without is for the person to say
          this.say(error.message);
        }
      }
    });
  }

  #put(key, picture) {
    const others = this.#trays.get(key) ?? [];
    const bytes = others.reduce((sum, each) => sum + bytesOf(each), bytesOf(picture));
    if (others.length >= MOST) throw new Error(`One message has at most ${MOST} pictures.`);
    if (bytes > ALL_BYTES) throw new Error(`The pictures of one message are at most 8 MiB together; with “${picture.name}” they are ${mebibytes(bytes)}.`);
    this.#fill(key, [...others, picture]);
  }

  get #pictures() {
    return this.#trays.get(this.#key) ?? [];
  }

  #submit() {
    this.#isWanted = this.#reading.includes(this.#key);
    const text = this.field.value.trim();
    const images = this.#pictures;
    if (this.#isWanted || (!text && !images.length)) return;
    this.field.value = "";
    this.#fill(this.#key, []);
    this.say("");
    this.#changed();
    this.onSend({ text, images });
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

  #showPictures() {
    const shown = this.#pictures.map((picture) => {
      const leave = () => {
        this.#fill(this.#key, this.#pictures.filter((each) => each !== picture));
        this.focus();
      };
      const img = h("img", { alt: picture.name });
      show(img, picture);
      return h("li", {}, img, iconButton("close", `Remove ${picture.name}`, leave));
    });
    place(this.tray, shown);
    this.tray.hidden = shown.length === 0;
    this.#enable();
  }
}
