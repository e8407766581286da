// Runs before the first paint, so that the page never flashes in the other theme.
(() => {
  const root = document.documentElement;
  root.classList.add("js");
  try {
    const theme = localStorage.getItem("theme");
    if (theme) root.dataset.theme = theme;
  } catch { /* storage may be forbidden: the system's choice stays */ }
})();
