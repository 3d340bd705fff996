// The Live tab: microphone -> denoiser -> headphones. Gradio runs this as the body of a function (element). What is heard
// and played is live-sound.js, in the sound's own thread; where it is denoised is live-engine.js, in another; this file
// opens them, and shows what they tell.
//
// element.denoiseLive: running, place, model (key of the one that was asked last), ready (whether it answers), rate,
// before, after (Int16Array: what was recorded of both sides), steps (of the recording, one after the other: {samples,
// delay at their end, start: position in the recording that the engine began at, missing: samples of them that came too
// late}).
const RAW = { echoCancellation: false, noiseSuppression: false, autoGainControl: false };
const PROBLEMS = { NotAllowedError: "blocked", SecurityError: "blocked", NotFoundError: "absent", OverconstrainedError: "absent" };
const RETRIES = [500, 1000, 2000, 4000, 8000, 16000]; // ms; together longer than the server keeps a place for who is gone
const COMING_BACK = 30000; // ms after a session on the server in which this page waits for a place, as that one was its own
const FULL = ["live-full", "live-share", "live-crowd"]; // reasons that may pass soon
const SETTLE = 200; // ms without another choice after which a choice is carried out: arrow keys pass through a list
const REST = 5000; // ms for which a denoiser that was late too often is left alone
const MOST_SAMPLES = 30 * 60 * 16000; // of a recording: half an hour at 16 kHz
const COLUMN = 0.025; // s of a column of the spectrograms
const QUIETEST = -90, LOUDEST = -20; // dB of their colours
const FLOOR = -60; // dBFS of the meters
const SIDES = ["before", "after"];
const TOLD = 300; // ms between two looks at the figures, which nobody could read faster

const part = (name) => element.querySelector(`.live-${name}`);
const texts = () => JSON.parse(element.querySelector(".live").dataset.texts);
const fill = (text, facts = {}) => text.replace(/\{(\w+)\}/g, (_, name) => facts[name]);
const say = (key, facts) => fill(texts()[key], facts);

let run = null; // what is open while it runs
let left = -Infinity; // ms: when this page last gave up a place on the server, which may take a moment to be free again
let turns = 0; // so many times a denoiser was asked for: what concerns an earlier time is known by it
let state = { key: "ready" }; // what is said of it
let bypassed = false;
let choosing = 0; // the timer of a choice that is not carried out yet
let recorded = null; // {rate, before: [Int16Array], after: [Int16Array], steps, samples}: of the last run

// ------------------------------------------------------------------------------------------------------ begin and end

async function start() {
  problem("");
  if (!window.denoiseMicrophone?.open) return problem(say("insecure"));
  part("start").disabled = true;
  const opened = { turn: 0, tries: 0, late: 0, missing: 0, ready: false };
  try {
    opened.raw = await window.denoiseMicrophone.open({ audio: RAW });
    await openSound(opened);
  } catch (error) {
    release(opened);
    const unopened = error.name === "AbortError" ? "lost" : "device"; // a script that could not be fetched, or a device
    problem(say(opened.raw ? unopened : PROBLEMS[error.name] ?? "busy"));
    return;
  } finally {
    part("start").disabled = false;
  }
  run = opened;
  recorded = { rate: run.context.sampleRate, before: [], after: [], steps: [], samples: 0 };
  watch(opened);
  show();
  ask();
  requestAnimationFrame(draw);
}

/** Whatever becomes of the devices while it runs is told; what is gone ends it. */
function watch(opened) {
  const { context } = opened, [track] = opened.raw.getAudioTracks();
  const on = (source, event, act) => source.addEventListener(event, () => run === opened && act());
  on(track, "ended", () => stop(say("unplugged")));
  on(track, "mute", () => notice(say("muted")));
  on(track, "unmute", () => notice(""));
  on(context, "error", () => stop(say("device"))); // as where it was replaced by one of another rate
  on(context, "statechange", () => {
    const plays = context.state === "running";
    notice(plays ? "" : say("paused"));
    if (!plays) context.resume().catch(() => {}); // until the device gives it back; closed, nobody hears of it
  });
}

/** The context at the denoiser's rate, where the browser takes a microphone into it; else at the device's own. */
async function openSound(opened) {
  const rate = Number(part("model").selectedOptions[0].dataset.rate);
  const attach = (context) => new MediaStreamAudioSourceNode(context, { mediaStream: opened.raw });
  opened.context = new AudioContext({ sampleRate: rate, latencyHint: "interactive" });
  try {
    opened.source = attach(opened.context);
  } catch {
    opened.context.close();
    opened.context = new AudioContext({ latencyHint: "interactive" });
    opened.source = attach(opened.context);
  }
  const { context } = opened;
  await context.audioWorklet.addModule(address("files/live-sound.js"));
  const shape = { numberOfInputs: 2, outputChannelCount: [1], channelCount: 1, channelCountMode: "explicit" };
  opened.node = new AudioWorkletNode(context, "live-sound", shape);
  opened.node.port.onmessage = ({ data }) => (data.lost ? run?.ready && late() : heard(data));
  opened.node.port.postMessage({ bypass: bypassed });
  opened.source.connect(opened.node).connect(context.destination);
  opened.worker = new Worker(address("files/live-engine.js"), { type: "module" });
  opened.worker.onmessage = ({ data }) => told(data);
  opened.worker.onerror = () => (run === opened ? stop(say("lost")) : (opened.broken = true)); // it could not be fetched
  opened.views = { before: view(context, opened.source), after: view(context, opened.node) };
  await context.resume();
  if (opened.broken) throw new DOMException("no worker", "AbortError");
}

function view(context, node) {
  const analyser = new AnalyserNode(context, { fftSize: 512, smoothingTimeConstant: 0, minDecibels: QUIETEST, maxDecibels: LOUDEST });
  node.connect(analyser);
  return analyser;
}

function stop(why = "") {
  if (!run) return;
  release(run);
  if (run.where === "server") left = performance.now();
  run = null;
  said("ready");
  for (const side of SIDES) meter(side, []);
  problem(why);
  show();
}

function release({ raw, own, context, worker }) {
  for (const stream of [raw, own]) end(stream);
  worker?.terminate();
  if (context && context.state !== "closed") context.close();
}

const end = (stream) => stream?.getTracks().forEach((track) => track.stop());
const address = (name) => new URL(`live/${name}`, document.baseURI).href;
const place = () => element.querySelector(".live-place input:checked").value;

// -------------------------------------------------------------------------------------------------------------- engines

/** Asks the denoiser that is chosen, where it is chosen; until it is ready the microphone is played as it is. */
async function ask() {
  const { worker, node } = run, turn = next(), where = place();
  Object.assign(run, { where, model: part("model").value });
  worker.postMessage({ close: true });
  node.port.postMessage({ engine: null, own: false });
  end(run.own);
  run.ownSource?.disconnect();
  if (where === "own") return askBrowserItself(turn);
  said("opening");
  const options = await (where === "server" ? serverOptions() : browserOptions()).catch((error) => ({ error }));
  if (!run || turn !== run.turn) return; // something else was chosen meanwhile
  if (options.error) return where === "server" ? lost() : failed("graph", options.error.message);
  if (options.refused) return stop(options.refused);
  const channel = new MessageChannel();
  run.port = channel.port2;
  worker.postMessage({ open: { place: where, turn, port: channel.port1, ...options } }, [channel.port1]);
}

/** From now on nobody is asked, and what an earlier one still says is nobody's; the number of the next turn. */
function next() {
  Object.assign(run, { turn: ++turns, ready: false, network: null, cost: null, latency: null });
  return turns;
}

async function serverOptions() {
  const answer = await fetch(address("token"), { method: "POST" });
  const { token, detail } = await answer.json();
  if (!answer.ok) return { refused: detail };
  const { model, loss } = part("model").selectedOptions[0].dataset;
  const socket = address("sound").replace(/^http/, "ws");
  const hello = { token, model, loss: loss || null, strength: strength(), rate: run.context.sampleRate };
  return { address: socket, hello };
}

async function browserOptions() {
  const { wasm, module } = element.querySelector(".live").dataset;
  const answer = await fetch(`${address("graph")}?key=${encodeURIComponent(part("model").value)}`);
  const graph = await answer.json();
  if (!answer.ok) throw new Error(graph.detail);
  const assets = { module: address(module), wasm: address(wasm) };
  return { assets, graph: { ...graph, address: address(graph.address) }, rate: run.context.sampleRate, strength: strength() };
}

/** The same microphone once more, with the browser's own suppression. */
async function askBrowserItself(turn) {
  const stream = await window.denoiseMicrophone.open({ audio: { ...RAW, noiseSuppression: true } }).catch(() => null);
  if (!run || turn !== run.turn) return end(stream);
  run.own = stream;
  try {
    if (!stream.getAudioTracks()[0].getSettings().noiseSuppression) throw new Error("not granted");
    run.ownSource = new MediaStreamAudioSourceNode(run.context, { mediaStream: stream });
  } catch {
    return said("own-none");
  }
  run.ownSource.connect(run.node, 0, 1);
  run.node.port.postMessage({ own: true });
  run.ready = true;
  said("own-plays");
}

function told(message) {
  if (!run || message.turn !== run.turn) return;
  if (message.ready) {
    const { chunk, held, latency } = message.ready;
    run.node.port.postMessage({ engine: { port: run.port, chunk, held } }, [run.port]);
    Object.assign(run, { ready: true, served: run.where === "server" || run.served, latency, tries: 0 });
    said(`${run.where}-plays`);
  }
  if (message.status) run.cost = message.status.mean_ms;
  if ("network" in message) run.network = message.network;
  const had = run.served || performance.now() - left < COMING_BACK;
  if (message.refused) had && FULL.includes(message.reason) ? lost(message.refused, "full") : stop(message.refused);
  if (message.failed) failed(message.failed);
  if (message.lost) lost();
}

/** The connection broke, or the place is not free again yet: meanwhile the microphone is played as it is. */
function lost(sentence = say("lost"), meanwhile = "again") {
  if (run.tries >= RETRIES.length) return stop(sentence);
  const turn = next();
  run.node.port.postMessage({ engine: null });
  said(meanwhile);
  setTimeout(() => run && turn === run.turn && ask(), RETRIES[run.tries++]);
}

/** The model cannot run in this browser: the server takes over, with a word. */
function failed(why, sentence) {
  element.querySelector(".live-place [value=server]").checked = true;
  notice(fill(sentence ?? say(`failed-${why}`)) + " " + say("instead"));
  ask();
}

/** The denoiser was late so often that the microphone as it is sounds better, for a while. */
function late() {
  const turn = next();
  run.worker.postMessage({ close: true });
  notice(say("late"));
  said("raw-plays", { seconds: REST / 1000 });
  setTimeout(() => run && turn === run.turn && ask(), REST);
}

// ------------------------------------------------------------------------------------------------------ what is shown

function show() {
  const running = Boolean(run);
  part("start").textContent = say(running ? "stop" : "start");
  part("start").setAttribute("aria-pressed", running);
  part("bypass").disabled = !running;
  part("bypass").setAttribute("aria-pressed", bypassed);
  element.querySelector(".live").toggleAttribute("data-running", running);
  part("recording").hidden = running || !recorded?.samples;
  if (!running && recorded?.samples) offer();
}

function said(key, facts) {
  state = { key, facts };
  part("said").textContent = say(key, facts);
}

function problem(text) {
  const line = part("problem");
  line.textContent = text;
  line.hidden = !text;
  part("notice").hidden = true;
}

function notice(text) {
  part("notice").textContent = text;
  part("notice").hidden = !text;
}

function heard({ before, after, delay, start, late, missing }) {
  if (!run) return;
  Object.assign(run, { delay, start, late: run.late + late, missing: run.missing + missing });
  keep("before", before);
  keep("after", after);
  if (recorded.samples < MOST_SAMPLES) recorded.steps.push({ samples: before.length, delay, start, missing });
  recorded.samples = Math.min(recorded.samples + before.length, MOST_SAMPLES);
  meter("before", before);
  meter("after", after);
  if (performance.now() - (run.toldAt ?? 0) > TOLD) tell();
}

function meter(side, samples) {
  const peak = samples.reduce((most, sample) => Math.max(most, Math.abs(sample)), 1e-6);
  const decibels = Math.max(FLOOR, 20 * Math.log10(peak));
  part(`meter-${side}`).value = decibels;
  part(`level-${side}`).textContent = peak <= 1e-3 ? "" : say("level", { level: decibels.toFixed(0) });
}

function tell() {
  run.toldAt = performance.now();
  const { context, delay, latency, network, cost, late, missing, raw } = run;
  const milliseconds = (seconds) => say("milliseconds", { number: Math.round(1000 * seconds) });
  const input = raw.getAudioTracks()[0].getSettings().latency ?? 0;
  const devices = (context.baseLatency || 0) + (context.outputLatency || 0) + input;
  const own = delay / context.sampleRate;
  const facts = {
    delay: milliseconds(own),
    model: latency === null ? "–" : milliseconds(latency),
    buffer: latency === null ? "–" : milliseconds(Math.max(0, own - latency)),
    network: network === null ? "–" : say("milliseconds", { number: network.toFixed(1) }),
    devices: milliseconds(devices),
    cost: cost === null ? "–" : say("milliseconds", { number: cost.toFixed(2) }),
    missing: say("missing", { count: late, number: Math.round((1000 * missing) / context.sampleRate) }),
  };
  for (const [name, value] of Object.entries(facts)) part(`fact-${name}`).textContent = value;
}

// ------------------------------------------------------------------------------------------------------- spectrograms

const COLOURS = palette([[4, 6, 18], [46, 20, 92], [140, 36, 108], [222, 92, 58], [250, 190, 80], [252, 252, 220]]);

/** 256 colours in straight lines between a few, from soft to loud. */
function palette(stops) {
  const mixed = (share) => {
    const place = share * (stops.length - 1), first = Math.min(Math.floor(place), stops.length - 2);
    return stops[first].map((value, k) => value + (place - first) * (stops[first + 1][k] - value));
  };
  return Uint8ClampedArray.from({ length: 1024 }, (_, k) => (k % 4 === 3 ? 255 : mixed((k >> 2) / 255)[k % 4]));
}

/** As many columns as have become due since the last picture; a tab in the background draws none, and plays on. */
function draw(now) {
  if (!run) return;
  requestAnimationFrame(draw);
  const due = Math.floor((now - (run.drawn ?? now)) / (1000 * COLUMN));
  if (run.drawn !== undefined && !due) return;
  run.drawn = (run.drawn ?? now) + due * 1000 * COLUMN;
  for (const side of SIDES) if (due) column(part(`canvas-${side}`), run.views[side], due);
}

function column(canvas, analyser, count) {
  const brush = canvas.getContext("2d"), { width, height } = canvas;
  const levels = new Uint8Array(analyser.frequencyBinCount);
  analyser.getByteFrequencyData(levels);
  const picture = brush.createImageData(1, height);
  for (let y = 0; y < height; y++) {
    const level = levels[Math.floor(((height - 1 - y) * levels.length) / height)];
    picture.data.set(COLOURS.subarray(4 * level, 4 * level + 4), 4 * y);
  }
  const shift = Math.min(count, width);
  brush.drawImage(canvas, -shift, 0);
  for (let x = width - shift; x < width; x++) brush.putImageData(picture, x, 0);
}

// ------------------------------------------------------------------------------------------------------------ recording

function keep(side, samples) {
  if (recorded.samples >= MOST_SAMPLES) return;
  recorded[side].push(Int16Array.from(samples, (sample) => Math.max(-32768, Math.min(32767, Math.round(32768 * sample)))));
}

function joined(side) {
  const parts = recorded?.[side] ?? [];
  const all = new Int16Array(parts.reduce((sum, samples) => sum + samples.length, 0));
  parts.reduce((at, samples) => (all.set(samples, at), at + samples.length), 0);
  return all;
}

/** A side as a wav file of 16 bits (RIFF, PCM), mono. */
function file(side) {
  const samples = joined(side), header = new DataView(new ArrayBuffer(44)), { rate } = recorded;
  const ascii = (at, text) => [...text].forEach((letter, k) => header.setUint8(at + k, letter.charCodeAt(0)));
  ascii(0, "RIFF");
  header.setUint32(4, 36 + 2 * samples.length, true);
  ascii(8, "WAVEfmt ");
  header.setUint32(16, 16, true);
  header.setUint16(20, 1, true);
  header.setUint16(22, 1, true);
  header.setUint32(24, rate, true);
  header.setUint32(28, 2 * rate, true);
  header.setUint16(32, 2, true);
  header.setUint16(34, 16, true);
  ascii(36, "data");
  header.setUint32(40, 2 * samples.length, true);
  return new File([header, samples], `${say(`file-${side}`)}.wav`, { type: "audio/wav" });
}

function offer() {
  for (const side of SIDES) {
    const link = part(`download-${side}`);
    if (link.href) URL.revokeObjectURL(link.href);
    const sound = file(side);
    link.href = URL.createObjectURL(sound);
    link.download = sound.name;
  }
  const seconds = recorded.samples / recorded.rate, whole = recorded.samples < MOST_SAMPLES;
  part("length").textContent = say(whole ? "recorded" : "recorded-first", { seconds: seconds.toFixed(1) });
}

// --------------------------------------------------------------------------------------------------------------- hands

const strength = () => Number(part("strength").value);

function bypass() {
  if (!run) return;
  bypassed = !bypassed;
  run.node.port.postMessage({ bypass: bypassed });
  show();
}

element.addEventListener("click", ({ target }) => {
  const button = target.closest("button");
  if (!button) return;
  if (button.matches(".live-start")) run ? stop() : start();
  if (button.matches(".live-bypass")) bypass();
  if (button.dataset.side) document.dispatchEvent(new CustomEvent("denoise:open", { detail: { file: file(button.dataset.side) } }));
});

element.addEventListener("input", ({ target }) => {
  if (!target.matches(".live-strength")) return;
  part("percent").textContent = say("percent", { number: strength() });
  run?.worker.postMessage({ strength: strength() });
});

element.addEventListener("change", ({ target }) => {
  if (!run || !(target.matches(".live-model") || target.closest(".live-place"))) return;
  run.tries = 0;
  notice("");
  clearTimeout(choosing);
  const chosen = run;
  choosing = setTimeout(() => run === chosen && ask(), SETTLE);
});

element.addEventListener("keydown", (event) => {
  const typing = event.target.matches("select, input:not([type=radio])");
  if (event.key.toLowerCase() !== "b" || typing || event.ctrlKey || event.metaKey || event.altKey || event.repeat) return;
  bypass();
});

// In another language Gradio writes the panel's words and attributes anew: what is under way is told again in it.
new MutationObserver(() => {
  part("percent").textContent = say("percent", { number: strength() });
  said(state.key, state.facts);
  show();
}).observe(element, { subtree: true, attributeFilter: ["data-texts"] });

window.addEventListener("pagehide", () => stop());

element.denoiseLive = {
  get running() { return Boolean(run); },
  get ready() { return Boolean(run?.ready); },
  get place() { return place(); },
  get model() { return run?.model; },
  get rate() { return recorded?.rate; },
  get steps() { return recorded?.steps ?? []; },
  get before() { return joined("before"); },
  get after() { return joined("after"); },
};
