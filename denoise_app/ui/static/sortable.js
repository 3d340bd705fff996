// Tables whose columns can be sorted: by a click on a header's button, or Enter on it. Gradio runs this as the body of a
// function (element). The server replaces the table while numbers arrive; the order that was chosen stays.
// A header is <th data-better="higher|lower|"> with a button in it, a cell <td data-value=...>; without one it comes last.
let chosen = null; // {index, down}
let focused = -1; // column whose button has the focus

const heads = () => [...element.querySelectorAll("thead th")];

function valueOf(row, index) {
  const text = row.cells[index]?.dataset.value;
  return text === undefined ? null : text === "" || Number.isNaN(Number(text)) ? text : Number(text);
}

function compare(one, other) {
  if (one === null || other === null) return (one === null) - (other === null);
  const order = typeof one === "number" ? one - other : one.localeCompare(other);
  return chosen.down ? -order : order;
}

function sort() {
  if (!chosen) return;
  heads().forEach((head, i) => {
    head.setAttribute("aria-sort", i !== chosen.index ? "none" : chosen.down ? "descending" : "ascending");
  });
  for (const body of element.querySelectorAll("tbody")) {
    const rows = [...body.rows];
    const sorted = rows.map((row) => [valueOf(row, chosen.index), row]).sort(([a], [b]) => compare(a, b));
    if (sorted.some(([, row], i) => row !== rows[i])) body.append(...sorted.map(([, row]) => row));
  }
}

element.addEventListener("click", (event) => {
  const head = event.target.closest("thead button")?.closest("th");
  if (!head) return;
  const index = heads().indexOf(head);
  const best = head.dataset.better === "higher"; // the best comes first
  chosen = { index, down: chosen?.index === index ? !chosen.down : best };
  sort();
});
element.addEventListener("focusin", (event) => { focused = heads().indexOf(event.target.closest("th")); });
element.addEventListener("focusout", (event) => { if (event.target.isConnected) focused = -1; });

new MutationObserver(() => {
  sort();
  if (focused >= 0 && document.activeElement === document.body) heads()[focused]?.querySelector("button")?.focus();
}).observe(element, { childList: true, subtree: true });
