// A folder that is dropped onto the field of a batch: Gradio takes it for one file, which nobody can read. Its files go
// the way of chosen ones instead, from folders of any depth; hidden ones stay.
{
  const filesOf = async (entry) => {
    if (entry.name.startsWith(".")) return [];
    if (entry.isFile) return [await new Promise((done, failed) => entry.file(done, failed)).catch(() => null)];
    const reader = entry.createReader();
    const within = [];
    for (let more = true; more; ) { // it tells at most a hundred at once
      const found = await new Promise((done, failed) => reader.readEntries(done, failed)).catch(() => []);
      within.push(...found);
      more = found.length > 0;
    }
    return (await Promise.all(within.map(filesOf))).flat();
  };

  const take = async (event) => {
    const input = event.target.closest?.("#batch-files")?.querySelector("input[type=file]");
    const entries = [...(event.dataTransfer?.items ?? [])].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
    if (!input || !entries.some((entry) => entry.isDirectory)) return;
    event.preventDefault();
    event.stopPropagation();
    event.target.dispatchEvent(new DragEvent("dragleave", { bubbles: true })); // which ends the field's highlight
    const taken = new DataTransfer();
    for (const file of (await Promise.all(entries.map(filesOf))).flat()) if (file) taken.items.add(file);
    input.files = taken.files;
    input.dispatchEvent(new Event("change", { bubbles: true }));
  };
  document.addEventListener("drop", take, true); // before Gradio hears of it

  // What is let go beside a field would be opened in place of the page, whose work would be lost.
  const stay = (event) => { if (event.dataTransfer?.types.includes("Files")) event.preventDefault(); };
  for (const kind of ["dragover", "drop"]) window.addEventListener(kind, stay);
}
