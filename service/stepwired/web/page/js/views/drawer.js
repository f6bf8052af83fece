/** The side list on a narrow screen: over the page, and gone when it is not wanted. */

const NARROW = matchMedia("(max-width: 50em)");

export class Drawer {
  constructor({ drawer, button, shade, rest }) {
    Object.assign(this, { drawer, button, shade, rest });
    this.isOpen = false;
    button.addEventListener("click", () => (this.isOpen ? this.close() : this.#set(true)));
    shade.addEventListener("click", () => this.close());
    NARROW.addEventListener("change", () => this.#set(false));
    this.#set(false);
  }

  close() {
    if (!this.isOpen) return;
    this.#set(false);
    this.button.focus();
  }

  #set(isOpen) {
    this.isOpen = isOpen;
    document.body.classList.toggle("is-drawer-open", isOpen);
    this.button.setAttribute("aria-expanded", String(isOpen));
    this.shade.hidden = !isOpen;
    // What cannot be seen cannot be reached with the keyboard either.
    this.drawer.inert = NARROW.matches && !isOpen;
    this.rest.inert = isOpen;
    if (isOpen) this.drawer.querySelector("button, a")?.focus();
  }
}
