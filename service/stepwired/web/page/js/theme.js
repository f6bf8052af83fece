// Chooses the colours before anything is painted, which a module would be too late for.
(() => {
  let chosen = null;
  try {
    chosen = localStorage.getItem("stepwire.theme");
  } catch {
    // forbidden: the system's colours
  }
  if (chosen === "dark" || chosen === "light") document.documentElement.dataset.theme = chosen;
})();
