// Pointing at a step lights what it needs, what needs it, and its row in the time line. Dragging pans.
export function light() {
  document.addEventListener("pointerover", (event) => {
    const at = event.target.closest?.("[data-step]");
    clear();
    if (at) mark(at.dataset.step);
  });
  let drag = null;
  document.addEventListener("pointerdown", (event) => {
    const canvas = event.target.closest?.(".canvas");
    if (!canvas || event.button !== 0 || event.target.closest("a")) return;
    drag = { canvas, x: event.clientX + canvas.scrollLeft, y: event.clientY + canvas.scrollTop };
  });
  document.addEventListener("pointermove", (event) => {
    if (!drag) return;
    drag.canvas.scrollLeft = drag.x - event.clientX;
    drag.canvas.scrollTop = drag.y - event.clientY;
  });
  document.addEventListener("pointerup", () => { drag = null; });
}

function clear() {
  for (const it of document.querySelectorAll(".lit")) it.classList.remove("lit");
}

function mark(step) {
  const dag = document.querySelector("svg.dag");
  for (const row of document.querySelectorAll(`.gantt .row[data-step="${CSS.escape(step)}"]`)) row.classList.add("lit");
  if (!dag) return;
  const edges = [...dag.querySelectorAll("path.edge[data-from]")];
  const found = new Set([step]);
  const lit = new Set();
  const walk = (from, to) => {
    const todo = [step];
    const seen = new Set(todo);
    while (todo.length) {
      const at = todo.pop();
      for (const edge of edges) {
        if (edge.dataset[from] !== at) continue;
        lit.add(edge);
        found.add(edge.dataset[to]);
        if (!seen.has(edge.dataset[to])) { seen.add(edge.dataset[to]); todo.push(edge.dataset[to]); }
      }
    }
  };
  walk("from", "to");
  walk("to", "from");
  if (!dag.querySelector(`.card[data-step="${CSS.escape(step)}"]`)) return;
  dag.classList.add("lit");
  for (const edge of lit) edge.classList.add("lit");
  for (const card of dag.querySelectorAll(".card")) if (found.has(card.dataset.step)) card.classList.add("lit");
}
