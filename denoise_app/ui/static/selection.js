// A stretch of the recording: dragged over its waveform it fills in the two times; what they say is shaded on the waveform.
// A loop of the result's player changes nothing here, but can be taken by a button. Gradio runs this as the body of a
// function.
const sheet = element.closest("#stretch");
const clear = element.querySelector(".clear");
const take = element.querySelector(".take");
const DRAG_PIXELS = 4; // a pointer that moves less has clicked
const LEAST = 0.02; // s
let loop = null; // {from, to} in s: of the player of the result

const field = (name) => sheet.querySelector(`#stretch-${name} :is(input, textarea)`);
const waveform = () => document.querySelector("#controls .recording .waveform-container");
const duration = () => Number(document.querySelector("#facts [data-seconds]")?.dataset.seconds ?? 0);

function time(text) {
  if (!/^\s*(\d+:){0,2}(\d+\.?\d*|\.\d+)\s*$/.test(text)) return null;
  return text.split(":").reduce((sum, part) => 60 * sum + Number(part), 0);
}

function clock(seconds) {
  const hundredths = Math.round(100 * seconds);
  const two = (n) => String(n).padStart(2, "0");
  return `${Math.floor(hundredths / 6000)}:${two(Math.floor(hundredths / 100) % 60)}.${two(hundredths % 100)}`;
}

/** The stretch that the times say, in s; null for none. */
function stretch() {
  const [from, to] = ["from", "to"].map((name) => time(field(name)?.value ?? ""));
  return from !== null && to !== null && to > from ? { from, to } : null;
}

function write(name, text) {
  const input = field(name);
  if (input.value === text) return;
  input.value = text;
  input.dispatchEvent(new Event("input", { bubbles: true })); // so that Gradio hears of it
}

function choose(from, to) {
  write("from", clock(Math.max(0, Math.min(from, to))));
  write("to", clock(Math.min(Math.max(from, to), duration() || Infinity)));
  show();
}

/** Shades what the times say, or what is being dragged. */
function show(dragged = null) {
  const shown = dragged ?? stretch(), wave = waveform(), seconds = duration();
  sheet.classList.toggle("chosen", Boolean(shown));
  clear.hidden = !field("from")?.value && !field("to")?.value;
  let shade = wave?.querySelector(":scope > .shade");
  if (!wave || !shown || !seconds) return void shade?.remove();
  if (!shade) wave.append((shade = Object.assign(document.createElement("div"), { className: "shade" })));
  const share = (time) => Math.min(Math.max(0, time / seconds), 1);
  shade.style.left = `${100 * share(shown.from)}%`;
  shade.style.width = `${100 * (share(shown.to) - share(shown.from))}%`;
}

function follow(down) {
  const wave = waveform();
  if (!wave || down.button !== 0 || !duration() || !wave.contains(down.target)) return;
  down.stopPropagation(); // Gradio's own drag would move what is played
  const box = wave.getBoundingClientRect();
  const at = ({ clientX }) => (Math.min(Math.max(0, clientX - box.left), box.width) / box.width) * duration();
  const span = (event) => {
    const edges = [at(down), at(event)].sort((a, b) => a - b);
    return { from: edges[0], to: edges[1] };
  };
  let dragging = false;
  const listeners = { pointermove: move, pointerup: end, pointercancel: end };
  for (const [name, listener] of Object.entries(listeners)) document.addEventListener(name, listener, true);

  function move(event) {
    if (event.pointerId !== down.pointerId) return;
    dragging ||= Math.abs(event.clientX - down.clientX) >= DRAG_PIXELS;
    if (dragging) show(span(event));
  }

  function end(event) {
    if (event.pointerId !== down.pointerId) return;
    for (const [name, listener] of Object.entries(listeners)) document.removeEventListener(name, listener, true);
    const { from, to } = span(event);
    if (event.type === "pointerup" && dragging) {
      if (to - from >= LEAST) choose(from, to);
      const still = (click) => click.stopPropagation(); // a drag is no click, which would move what is played
      wave.addEventListener("click", still, { capture: true, once: true });
      setTimeout(() => wave.removeEventListener("click", still, true), 0);
    }
    show();
  }
}

function offer({ from, to }) {
  const isPreview = document.querySelector("#outcome .result-heading[data-preview]"); // whose times are its own
  loop = from === null || isPreview ? null : { from, to };
  take.hidden = !loop;
  const times = loop && { from: clock(from), to: clock(to) };
  take.textContent = loop ? take.dataset.text.replace(/\{(\w+)\}/g, (_, name) => times[name]) : "";
}

function forget() {
  write("from", "");
  write("to", "");
  show();
  field("from").focus();
}

document.addEventListener("pointerdown", follow, true);
document.addEventListener("denoise:region", ({ detail }) => {
  if (detail.player === "player") offer(detail);
});
sheet.addEventListener("input", () => show());
clear.addEventListener("click", forget);
take.addEventListener("click", () => choose(loop.from, loop.to));
// the server clears the times for another recording, and Gradio makes its waveform anew
new MutationObserver(() => show()).observe(document.querySelector("#controls"), { childList: true, subtree: true });
show();
