/** Cuts text where it may be cut: JavaScript counts in halves of some characters, and a server takes no halves. */

const TITLE_CHARACTERS = 60;
const NAME_CHARACTERS = 80;

/** The first words, cut between words. */
export function titleOf(text) {
  const line = [...text.replace(/\s+/g, " ").trim().toWellFormed()];
  if (line.length <= TITLE_CHARACTERS) return line.join("");
  const cut = line.slice(0, TITLE_CHARACTERS);
  return `${cut.slice(0, Math.max(cut.lastIndexOf(" "), TITLE_CHARACTERS / 2)).join("")}…`;
}

/** A picture's name, as long as one may be. */
export function nameOf(file) {
  return [...file.name.toWellFormed()].slice(0, NAME_CHARACTERS).join("");
}
