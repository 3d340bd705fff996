// The table of a batch: a click on a row's button asks the server for its sounds. Gradio runs this as the body of a
// function (element, trigger). The button keeps the focus while the server replaces the table.
let focused = null;

element.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-row]");
  if (button) trigger("click", { row: Number(button.dataset.row) });
});
element.addEventListener("focusin", (event) => { focused = event.target.closest("button[data-row]")?.dataset.row; });
element.addEventListener("focusout", () => { setTimeout(() => { if (element.isConnected) restore(); }); });

function restore() {
  if (focused === null || focused === undefined || document.activeElement !== document.body) return;
  element.querySelector(`button[data-row="${focused}"]`)?.focus();
}
