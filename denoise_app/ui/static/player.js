// The A/B player. Gradio runs this file as the body of a function (element, trigger, props, server, upload, watch) each
// time the component appears; player.py puts `const settings = {texts, player}` before it, and says what props.value
// holds and what the server functions answer.
//
// All versions run at once from one start() and only their gains differ, so a switch keeps the sample. One such start is
// a "deck"; a seek or a changed loop opens a new deck and fades the old one out under it. The same deck plays to the
// loudspeaker and, for render(), into an OfflineAudioContext: what a test compares with a file is what people hear.
//
// element.denoisePlayer: state, loads (counts the windows asked for), playing, version, versions, played, position, seconds,
//   window, region, looping, matched, volume, sampleRate, context, output, play(), pause(), toggle(), seek(s),
//   select(key), setMatched(on), setVolume(0..1), setRegion(from, to), clearRegion(), setLooping(on), moveWindow(s),
//   render({start, seconds, version, switches: [{at, version}]}) -> {sampleRate, channels: [Float32Array]}

const FADE = 0.006; // s: equal-gain crossfade between versions, too short to hear, long enough not to click
const SOON = 0.02; // s: how far ahead the sound thread is told of a new gain, more than one of its blocks
const START = 0.05; // s: ... of a new start, which must not come late even where this thread is slow
const DRAG_PIXELS = 4; // a pointer that moves less has clicked
const GRAB_PIXELS = 8; // how near to a loop's edge a pointer takes hold of it
const WAVE_COLUMNS = 1600; // outline of the window, more than the pixels of most screens
const METER_FLOOR = -60; // dBFS
const NUMBER_KEYS = 10; // 1 to 9 and 0; player.py says so too
const recent = new Float32Array(2048); // samples that the meter looks at: longer than one picture lasts

const root = element.querySelector(".denoise-player");
const playerId = settings.player;
const texts = chooseTexts(settings.texts);

let value = null; // what the server sent, null while there is nothing to play
let state = "empty"; // empty | loading | ready | error
let sounds = []; // one for each version: {sound, buffer, outline, error, coming: fetches it where it is silent so far}
let part = { start: 0, frames: 0 }; // frames of the recording that are loaded
let coming = 0; // first frame of what was loaded last or is being loaded
let generation = 0; // counts loads, so that a late answer to an earlier one is dropped
let version = ""; // key of what is heard
let resting = 0; // frame of the recording where play() starts
let region = null, toldRegion = null; // {from, to} frames of the recording; never changed, but replaced
let looping = false;
let matched = true;
let volume = 1;
let playAfterLoad = false;
const played = new Set(); // versions that have sounded since the server sent this value
let context = null, master = null, analyser = null, deck = null;
let leaving = []; // decks that were told to stop and may still sound
let percent = 0;
let overviews = new Map(); // version -> outline of the whole file
let ticking = false; // whether tick() comes again with the next picture
let draggedStart = null; // frame: the window while it is being dragged

// ---------------------------------------------------------------------------------------------------------- language

function chooseTexts(languages) {
  const wanted = (navigator.language || "en").toLowerCase();
  const name = Object.keys(languages).find((name) => wanted === name || wanted.startsWith(name + "-"));
  return languages[name] || languages.en || Object.values(languages)[0];
}

function say(key, facts = {}) {
  return texts[key].replace(/\{(\w+)\}/g, (whole, name) => (name in facts ? facts[name] : whole));
}

function nameOf(version) {
  return texts["version." + version.key] || version.label;
}

function clock(seconds, digits = 1) {
  const unit = 10 ** digits;
  const ticks = Math.floor(seconds * unit + 1e-6); // a clock never runs ahead
  const whole = Math.floor(ticks / unit);
  const two = (n) => String(n).padStart(2, "0");
  const hours = Math.floor(whole / 3600), minutes = Math.floor(whole / 60) % 60;
  const front = hours ? hours + ":" + two(minutes) : String(minutes);
  const fraction = digits ? "." + String(ticks % unit).padStart(digits, "0") : "";
  return front + ":" + two(whole % 60) + fraction;
}

// -------------------------------------------------------------------------------------------------------------- sound

/** A gain that moves in straight lines; a new move waits for the one under way, so that lines never break. */
class Fader {
  constructor(context, level) {
    this.node = new GainNode(context, { gain: level });
    this.level = level;
    this.free = 0; // s on the context's clock: when the last move ends
  }

  moveTo(level, when) {
    const start = Math.max(when, this.free);
    this.node.gain.setValueAtTime(this.level, start);
    this.node.gain.linearRampToValueAtTime(level, start + FADE);
    this.level = level;
    this.free = start + FADE;
  }
}

/** All versions, started together at frame `at` of their buffers when the context's clock shows `when`. */
class Deck {
  constructor(context, output, { at, when, fadeIn, loop, levels }) {
    Object.assign(this, { at, when, loop, rate: value.sample_rate });
    this.settled = when + (fadeIn ? FADE : 0); // s on the context's clock: from then on at its level
    this.fading = Infinity; // s: when it was told to fade out
    this.bus = new Fader(context, fadeIn ? 0 : 1);
    if (fadeIn) this.bus.moveTo(1, when);
    this.bus.node.connect(output);
    this.faders = levels.map((level) => new Fader(context, level));
    this.sources = sounds.map((sound, i) => {
      const source = new AudioBufferSourceNode(context, { buffer: sound.buffer });
      if (loop) Object.assign(source, { loop: true, loopStart: loop.from / this.rate, loopEnd: loop.to / this.rate });
      source.connect(this.faders[i].node).connect(this.bus.node);
      return source;
    });
    for (const source of this.sources) source.start(when, at / this.rate);
  }

  setLevels(levels, when) {
    const start = Math.max(when, ...this.faders.map((fader) => fader.free)); // all move together: their sum stays
    this.faders.forEach((fader, i) => levels[i] !== fader.level && fader.moveTo(levels[i], start));
  }

  /** Fades out at `when`, or earlier where it was told so before; what has not begun by then never does. */
  stop(when) {
    this.sources[0].onended = null;
    const start = Math.max(when, this.settled), { gain } = this.bus.node;
    if (start >= this.fading) return;
    if (this.fading < Infinity) gain.cancelScheduledValues(this.fading);
    gain.setValueAtTime(1, start);
    gain.linearRampToValueAtTime(0, start + FADE);
    this.fading = start;
    for (const source of this.sources) source.stop(when > this.when ? start + FADE : this.when);
  }

  /** Frame of the buffers that sounds when the context's clock shows `time`. */
  frameAt(time) {
    const frame = this.at + Math.max(0, Math.round((time - this.when) * this.rate));
    if (!this.loop || frame < this.loop.to || this.at >= this.loop.to) return Math.min(frame, part.frames);
    return this.loop.from + ((frame - this.loop.from) % (this.loop.to - this.loop.from));
  }
}

function levelsFor(heard) {
  return value.versions.map(({ key, gain_db }) => (key !== heard ? 0 : matched ? 10 ** (gain_db / 20) : 1));
}

function loopOfWindow(first = 0) {
  if (!looping) return null;
  const loop = region || { from: part.start, to: part.start + part.frames };
  const from = Math.max(0, loop.from - part.start), to = Math.min(part.frames, loop.to - part.start);
  return to - from > 1 && first < to ? { from, to } : null;
}

function openContext() {
  if (context) return;
  try {
    context = new AudioContext({ sampleRate: value.sample_rate, latencyHint: "interactive" });
  } catch {
    context = new AudioContext({ latencyHint: "interactive" }); // a browser that cannot run at this rate resamples
  }
  master = new Fader(context, volume);
  analyser = new AnalyserNode(context, { fftSize: recent.length });
  master.node.connect(analyser).connect(context.destination);
}

function closeContext() {
  deck = null;
  leaving = [];
  context?.close();
  context = master = analyser = null;
}

/** A moment that the sound thread can still be told of, on a whole frame. */
function soon(lead = SOON) {
  return Math.ceil((context.currentTime + lead) * context.sampleRate) / context.sampleRate;
}

/** Starts at frame where(when) of the recording, or moves there while it sounds. */
function startDeck(where, lead = START) {
  const when = soon(lead);
  const at = Math.min(Math.max(0, where(when) - part.start), part.frames - 1);
  const fadeIn = at > 0 || deck !== null;
  leave(when);
  deck = new Deck(context, master.node, { at, when, fadeIn, loop: loopOfWindow(at), levels: levelsFor(version) });
  deck.sources[0].onended = endOfWindow;
  if (context.currentTime + SOON > when) startDeck(where, 2 * lead); // this thread was held up: it may sound late
}

/** Lets all that sounds fade out at `when`, however late it was to do so. */
function leave(when) {
  if (deck) leaving.push(deck);
  deck = null;
  for (const one of leaving) one.stop(when);
  leaving = leaving.filter(({ fading }) => fading + FADE > context.currentTime);
}

function restartDeck() {
  if (!deck) return;
  const running = deck;
  startDeck((when) => part.start + running.frameAt(when), 2 * START); // it sounds until then, so nobody waits
}

function endOfWindow() {
  const end = part.start + part.frames;
  deck = null;
  resting = end;
  if (end < value.frames) {
    playAfterLoad = true;
    load(end);
  } else {
    context.suspend();
    announce(say("said-end"));
    update();
  }
}

function currentFrame() {
  return deck ? part.start + deck.frameAt(context.currentTime) : resting;
}

// ------------------------------------------------------------------------------------------------------------- loading

/** Fetches the window that starts at frame `start`, or as near to it as the recording's end allows. */
async function load(start) {
  const mine = ++generation;
  const wanted = value;
  const frames = wanted.window_frames;
  const next = { start: Math.max(0, Math.min(Math.round(start), wanted.frames - frames)), frames };
  coming = next.start;
  state = "loading";
  percent = 0;
  update();
  let done = 0;
  const progress = (count) => {
    done += count;
    percent = Math.floor((100 * done) / (frames * atOnce));
    if (mine === generation) showStatus();
  };
  const isLater = ({ key, computed }) => computed && key !== version;
  const atOnce = wanted.versions.filter((one) => !isLater(one)).length;
  const loaded = await Promise.all(wanted.versions.map((one, i) =>
    isLater(one) ? later(wanted, i, next, mine) : fetchSound(wanted, i, next, mine, progress)));
  if (mine !== generation) return;
  arrive(next, loaded);
}

/** A version that the server has to compute: silent until it is there, which nobody has to wait for. */
function later(wanted, index, next, mine) {
  const { sound } = wanted.versions[index];
  const here = ready(sound, next);
  if (here) return here;
  let fetching = null;
  const coming = () => (fetching ??= fetchSound(wanted, index, next, mine, () => {}).then((found) => {
    if (!found || mine !== generation) return;
    sounds[index] = found;
    if (found.error && keyAt(index) === version) fallBack();
    restartDeck();
    update();
  }));
  return { sound, buffer: silence(wanted, next), outline: null, error: null, coming };
}

function keyAt(index) {
  return value.versions[index].key;
}

/** Goes on with the first version that can be heard. */
function fallBack() {
  version = keyAt(sounds.findIndex((sound) => !sound.error));
}

/** The sound of a window where it is loaded already. */
function ready(sound, next) {
  const here = sounds.find((one) => one.sound === sound && !one.error && !one.coming);
  return here && part.start === next.start && here.buffer.length === next.frames ? here : null;
}

function silence(wanted, next) {
  const { channels: numberOfChannels, sample_rate: sampleRate } = wanted;
  return new AudioBuffer({ numberOfChannels, length: next.frames, sampleRate });
}

async function fetchSound(wanted, index, next, mine, progress) {
  const { sound } = wanted.versions[index];
  const here = ready(sound, next);
  if (here) {
    progress(next.frames);
    return here;
  }
  const buffer = silence(wanted, next);
  for (let done = 0; done < next.frames; done += wanted.block_frames) {
    const frames = Math.min(wanted.block_frames, next.frames - done);
    const request = { token: wanted.token, version: index, start: next.start + done, frames };
    const answer = await fetchBlock(request);
    if (mine !== generation) return null;
    if (answer.error) return { sound, buffer: silence(wanted, next), outline: null, error: answer.error };
    decode(answer, frames).forEach((samples, channel) => buffer.copyToChannel(samples, channel, done));
    progress(frames);
  }
  return { sound, buffer, outline: outline(buffer), error: null };
}

/** Samples of a block as player.py's route sends them: {format, scale, data}, or {error}. */
async function fetchBlock(request) {
  try {
    const headers = { "Content-Type": "application/json" };
    const answer = await fetch("player/samples", { method: "POST", headers, body: JSON.stringify(request) });
    if (!answer.ok) return { error: "unreachable", ...(await answer.json().catch(() => ({}))) };
    const [format, scale] = [answer.headers.get("X-Format"), Number(answer.headers.get("X-Scale"))];
    return { format, scale, data: await answer.arrayBuffer() };
  } catch {
    return { error: "unreachable" };
  }
}

function decode({ format, scale, data }, frames) {
  if (format === "float32") {
    const all = new Float32Array(data);
    return Array.from({ length: all.length / frames }, (_, c) => all.subarray(c * frames, (c + 1) * frames));
  }
  const all = new Int16Array(data);
  const unit = scale / 32768;
  return Array.from({ length: all.length / frames }, (_, c) => {
    const samples = new Float32Array(frames);
    for (let i = 0, j = c * frames; i < frames; i++, j++) samples[i] = all[j] * unit;
    return samples;
  });
}

/** Lowest and highest sample in each of WAVE_COLUMNS stretches, over all channels. */
function outline(buffer) {
  const columns = Math.min(WAVE_COLUMNS, buffer.length);
  const low = new Float32Array(columns), high = new Float32Array(columns);
  for (let channel = 0; channel < buffer.numberOfChannels; channel++) {
    const samples = buffer.getChannelData(channel);
    for (let column = 0; column < columns; column++) {
      const end = Math.floor(((column + 1) * samples.length) / columns);
      let least = low[column], most = high[column];
      for (let i = Math.floor((column * samples.length) / columns); i < end; i++) {
        const sample = samples[i];
        if (sample < least) least = sample;
        else if (sample > most) most = sample;
      }
      low[column] = least;
      high[column] = most;
    }
  }
  return { low, high };
}

function arrive(next, loaded) {
  const frame = currentFrame(); // an older sound of the same recording may still be running
  part = next;
  sounds = loaded;
  const end = part.start + part.frames;
  if (region && (region.from < part.start || region.to > end)) region = null;
  resting = Math.min(Math.max(frame, part.start), end);
  state = sounds.some((sound) => !sound.error) ? "ready" : "error";
  if (state === "ready" && sounds[indexOf(version)].error) fallBack();
  if (state === "error") halt();
  else if (deck) startDeck(() => resting);
  else if (playAfterLoad) begin();
  playAfterLoad = false;
  if (isLong()) fetchOverview(version);
  update();
  fetchLater();
}

/** Fetches, one after the other, what can wait until the rest can be heard. */
async function fetchLater() {
  const mine = generation;
  for (const sound of sounds) {
    if (mine === generation) await sound.coming?.();
  }
}

async function fetchOverview(key) {
  if (overviews.has(key)) return;
  const mine = overviews;
  mine.set(key, null);
  const answer = await server.player_overview({ token: value.token, version: indexOf(key) });
  if (!answer || answer.error) return void mine.delete(key);
  const scaled = (numbers) => Float32Array.from(numbers, (n) => (n / 127) * answer.peak);
  mine.set(key, { low: scaled(answer.low), high: scaled(answer.high) });
  drawStrip();
}

function indexOf(key) {
  return value.versions.findIndex((version) => version.key === key);
}

function isLong() {
  return value !== null && value.window_frames < value.frames;
}

/** A new value of the component: another recording, other versions of the same one, or nothing. */
function receive() {
  const next = props.value ? JSON.parse(JSON.stringify(props.value)) : null; // Gradio hands over a proxy
  const same = next && value && next.recording === value.recording &&
    Math.abs(next.frames - value.frames) < 0.1 * next.sample_rate && // a lossy file may end a little later
    next.sample_rate === value.sample_rate && next.channels === value.channels &&
    next.versions.length >= value.versions.length; // more may have come since
  if (next?.token !== value?.token) played.clear();
  overviews = new Map();
  if (!same) {
    generation++;
    halt();
    closeContext(); // another recording may have another rate
    sounds = [];
    region = null;
    looping = playAfterLoad = false;
    resting = 0;
    part = { start: 0, frames: 0 };
    version = "";
  }
  value = next;
  if (!value) state = "empty";
  else {
    if (!value.versions.some(({ key }) => key === version)) version = value.selected;
    root.classList.toggle("blind", value.blind);
    if (value.blind) halt();
    buildVersions();
    load(same ? coming : 0);
  }
  update();
}

// ------------------------------------------------------------------------------------------------------------- actions

function play() {
  if (!value || state === "error") return value ? load(coming) : undefined;
  openContext(); // here, inside the user's own gesture, or the browser keeps it silent
  context.resume();
  document.dispatchEvent(new CustomEvent("denoise:play", { detail: { element } }));
  if (state === "loading" && !deck) playAfterLoad = true;
  else if (!deck) begin();
}

async function begin() {
  await context.resume();
  if (deck || state !== "ready") return;
  if (resting >= value.frames) resting = 0;
  if (looping && region && (resting < region.from || resting >= region.to)) resting = region.from;
  if (resting < part.start || resting >= part.start + part.frames) {
    playAfterLoad = true;
    return load(resting);
  }
  startDeck(() => resting);
  announce(say("said-playing", { version: nameOf(value.versions[indexOf(version)]) }));
  update();
  if (!ticking) tick();
}

function halt() {
  playAfterLoad = false;
  if (!deck) return;
  const when = soon();
  resting = part.start + deck.frameAt(when);
  leave(when);
}

function pause() {
  if (!deck && !playAfterLoad) return;
  halt();
  const stopped = context;
  setTimeout(() => !deck && stopped.state === "running" && stopped.suspend(), 200); // after the fade
  announce(say("said-paused", { position: clock(resting / value.sample_rate) }));
  update();
}

function toggle() {
  if (deck || playAfterLoad) pause();
  else play();
}

function seek(seconds) {
  if (!value || !Number.isFinite(seconds)) return;
  const frame = Math.min(Math.max(0, Math.round(seconds * value.sample_rate)), value.frames);
  const inside = frame >= part.start && frame < part.start + part.frames;
  if (!inside && frame < value.frames) {
    playAfterLoad = deck !== null || playAfterLoad;
    if (deck) leave(soon());
    resting = frame;
    load(frame - 0.1 * value.window_frames);
  } else if (deck) startDeck(() => frame);
  else resting = frame;
  update();
}

function nudge(seconds) {
  seek(currentFrame() / value.sample_rate + seconds);
}

function select(key) {
  const index = value ? indexOf(key) : -1;
  if (index < 0 || sounds[index]?.error) return;
  version = key;
  deck?.setLevels(levelsFor(version), soon());
  if (isLong()) fetchOverview(version);
  announce(say("said-version", { version: nameOf(value.versions[index]) }));
  update();
}

function setMatched(on) {
  matched = Boolean(on);
  deck?.setLevels(levelsFor(version), soon());
  announce(say(matched ? "said-match-on" : "said-match-off"));
  update();
}

function setVolume(level) {
  volume = Math.min(Math.max(0, Number(level) || 0), 1);
  master?.moveTo(volume, soon());
  update();
}

function setLooping(on) {
  looping = Boolean(on);
  restartDeck();
  announce(looping ? saidLoop() : say("said-no-loop"));
  update();
}

function saidLoop() {
  const loop = region || { from: part.start, to: part.start + part.frames };
  return say("said-loop", { from: clock(loop.from / value.sample_rate), to: clock(loop.to / value.sample_rate) });
}

/** Loops from one moment of the recording to another, in s, within the window. */
function setRegion(from, to) {
  if (!value) return;
  const inWindow = (seconds) =>
    Math.min(Math.max(Math.round(seconds * value.sample_rate), part.start), part.start + part.frames);
  const edges = [inWindow(from), inWindow(to)].sort((a, b) => a - b);
  if (edges[1] - edges[0] < 2 * FADE * value.sample_rate) return; // shorter is a buzz, not a loop
  region = { from: edges[0], to: edges[1] };
  looping = true;
  const frame = currentFrame();
  if (deck && (frame < region.from || frame >= region.to)) startDeck(() => region.from);
  else restartDeck();
  announce(saidLoop());
  update();
}

/** Tells the page of a region that has changed, or has gone. */
function tellRegion() {
  if (region === toldRegion) return;
  toldRegion = region;
  const [from, to] = region ? [region.from, region.to].map((frame) => frame / value.sample_rate) : [null, null];
  element.dispatchEvent(new CustomEvent("denoise:region", { bubbles: true, detail: { from, to, player: playerId } }));
}

/** Sets one edge of the loop to where the sound is now; the other edge stays, or is the window's. */
function setEdge(edge) {
  if (!value) return;
  const now = currentFrame() / value.sample_rate;
  const other = edge === "from" ? region?.to ?? part.start + part.frames : region?.from ?? part.start;
  const end = edge === "from" ? part.start + part.frames : part.start;
  const valid = edge === "from" ? now * value.sample_rate < other : now * value.sample_rate > other;
  setRegion(now, (valid ? other : end) / value.sample_rate);
}

function clearRegion() {
  region = null;
  setLooping(false);
}

/** Loads the window that starts at `seconds` of a long recording. */
function moveWindow(seconds) {
  if (!isLong()) return;
  playAfterLoad = deck !== null || playAfterLoad;
  if (deck) leave(soon());
  resting = Math.min(Math.max(0, Math.round(seconds * value.sample_rate)), value.frames - value.window_frames);
  const facts = { from: clock(resting / value.sample_rate, 0) };
  load(resting);
  announce(say("said-window", { ...facts, to: clock((resting + value.window_frames) / value.sample_rate, 0) }));
}

/** What would be heard from `start` (s of the recording) for `seconds`: {sampleRate, channels: [Float32Array]}. */
async function render({ start = 0, seconds, version: heard = version, switches = [] }) {
  for (const key of [heard, ...switches.map((one) => one.version)]) await sounds[indexOf(key)]?.coming?.();
  const rate = value.sample_rate;
  const offline = new OfflineAudioContext(value.channels, Math.round(seconds * rate), rate);
  const output = new Fader(offline, volume);
  output.node.connect(offline.destination);
  const at = Math.round(start * rate) - part.start;
  const played = new Deck(offline, output.node, {
    at, when: 0, fadeIn: at > 0, loop: loopOfWindow(at), levels: levelsFor(heard),
  });
  for (const { at, version } of switches) played.setLevels(levelsFor(version), Math.round(at * rate) / rate);
  const result = await offline.startRendering();
  return { sampleRate: rate, channels: Array.from({ length: value.channels }, (_, c) => result.getChannelData(c)) };
}

// ---------------------------------------------------------------------------------------------------------------- page

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, content] of Object.entries(attributes)) {
    if (name === "text") node.textContent = content;
    else if (name.startsWith("on")) node.addEventListener(name.slice(2), content);
    else node.setAttribute(name, content);
  }
  node.append(...children);
  return node;
}

function icon(path) {
  const holder = make("span", { class: "icon", "aria-hidden": "true" });
  holder.innerHTML = '<svg viewBox="0 0 20 20" width="20" height="20" fill="currentColor">' + path + "</svg>";
  return holder;
}

const ICONS = {
  play: '<path d="M6.5 3.8v12.4a.6.6 0 0 0 .92.5l9.6-6.2a.6.6 0 0 0 0-1L7.42 3.3a.6.6 0 0 0-.92.5z"/>',
  pause: '<rect x="5" y="3.5" width="3.6" height="13" rx="1"/><rect x="11.4" y="3.5" width="3.6" height="13" rx="1"/>',
  loop: '<path d="M6 5h7a4 4 0 0 1 4 4v.6h-1.8V9A2.2 2.2 0 0 0 13 6.8H6v2L2.5 5.9 6 3zM14 15H7a4 4 0 0 1-4-4v-.6h1.8V11A2.2 2.2 0 0 0 7 13.2h7v-2l3.5 2.9L14 17z"/>',
  clear: '<path d="M5.6 4.3 10 8.7l4.4-4.4 1.3 1.3-4.4 4.4 4.4 4.4-1.3 1.3L10 11.3l-4.4 4.4-1.3-1.3L8.7 10 4.3 5.6z"/>',
  volume: '<path d="M3 7.5v5h3l4 3.5V4L6 7.5zM12.5 6.5v1.7a2 2 0 0 1 0 3.6v1.7a3.7 3.7 0 0 0 0-7z"/>',
};

const playIcon = icon(ICONS.play), pauseIcon = icon(ICONS.pause);
const playButton = make("button", { type: "button", class: "play", onclick: toggle }, playIcon, pauseIcon);
const nowText = make("span", { class: "now" });
const totalText = make("span", { class: "total" });
const meterBar = make("span", { class: "bar" });
const meter = make("span", { class: "meter", "aria-hidden": "true", title: say("level") }, meterBar);
const matchSwitch = make(
  "button",
  { type: "button", role: "switch", class: "match", title: say("match-help"), onclick: () => setMatched(!matched) },
  make("span", { class: "track", "aria-hidden": "true" }),
  make("span", { text: say("match") }),
);
const versionList = make("div", { class: "versions", role: "group", "aria-label": say("versions") });
const waves = make("canvas", { "aria-hidden": "true" });
const cursor = make("span", { class: "cursor", "aria-hidden": "true" });
const timeline = make("div", { class: "timeline", role: "slider", tabindex: "0", "aria-label": say("position") }, waves, cursor);
const strip = make("canvas", { "aria-hidden": "true" });
const stripBox = make("div", { class: "strip", role: "slider", tabindex: "0", "aria-label": say("window") }, strip);
const stripText = make("span", { class: "strip-text" });
const stripRow = make("div", { class: "strip-row" }, stripText, stripBox);
const loopButton = make(
  "button", { type: "button", class: "quiet", "aria-label": say("loop"), title: say("loop"), onclick: () => setLooping(!looping) },
  icon(ICONS.loop), make("span", { text: say("loop") }),
);
const fromButton = make("button", { type: "button", class: "quiet", onclick: () => setEdge("from") });
const toButton = make("button", { type: "button", class: "quiet", onclick: () => setEdge("to") });
const clearButton = make(
  "button", { type: "button", class: "quiet", "aria-label": say("clear-loop"), title: say("clear-loop"), onclick: clearRegion },
  icon(ICONS.clear),
);
const volumeSlider = make("input", {
  type: "range", min: "0", max: "1", step: "0.01", "aria-label": say("volume"), title: say("volume"),
  oninput: () => setVolume(volumeSlider.value),
});
const statusLine = make("p", { class: "status", role: "status" });
const spoken = make("p", { class: "spoken", "aria-live": "polite" });
const keyHelp = make("p", { class: "keys" });
const body = make(
  "div", { class: "body" },
  make(
    "div", { class: "top" }, playButton,
    make("span", { class: "time" }, nowText, totalText), meter, make("span", { class: "gap" }), matchSwitch,
  ),
  make("div", { class: "lanes" }, versionList, timeline),
  stripRow,
  make(
    "div", { class: "tools" }, make("div", { class: "loop-tools" }, loopButton, fromButton, toButton, clearButton),
    make("label", { class: "volume" }, icon(ICONS.volume), volumeSlider),
  ),
);
root.append(body, statusLine, keyHelp, spoken);
root.setAttribute("role", "region");
root.setAttribute("aria-label", say("name"));
const area = element.closest(".result") ?? root; // the keys work all over the result
if (area !== root) area.tabIndex = -1; // so that a click on it brings the focus there
area.addEventListener("keydown", onKey);

let buttons = [];
let named = "";

/** The number key of a version: 0 is the tenth, later ones have none. */
function keyOf(index) {
  return index < NUMBER_KEYS ? String((index + 1) % NUMBER_KEYS) : "";
}

function buildVersions() {
  const names = JSON.stringify(value.versions.map((one) => [one.key, nameOf(one)]));
  if (names === named) return; // keeps the focus that may be on one of them
  named = names;
  buttons = value.versions.map((one, i) =>
    make(
      "button", { type: "button", class: "version", onclick: () => select(one.key) },
      make("kbd", { "aria-hidden": "true", text: keyOf(i) }),
      make("span", { class: "names" }, make("span", { class: "label", text: nameOf(one) }), make("span", { class: "gain" })),
    ),
  );
  versionList.replaceChildren(...buttons);
  root.style.setProperty("--lane-count", buttons.length);
  root.classList.toggle("many", buttons.length > 4);
  const last = Math.min(buttons.length, NUMBER_KEYS) - 1;
  const letters = value.blind ? value.versions.map(({ key }) => key.toUpperCase()) : [];
  const switches = [...(last ? ["1", "–", keyOf(last)] : ["1"]), ...letters];
  const keys = [
    [["Space"], "key-play"], [switches, buttons.length > NUMBER_KEYS ? "key-switch-first" : "key-switch"],
    [["←", "→"], "key-seek"], [["[", "]"], "key-region"], [["L"], "key-loop"],
    ...(value.blind ? [] : [[["M"], "key-match"]]),
  ];
  const where = area === root ? [] : [make("span", { text: say("keys-where") })];
  keyHelp.replaceChildren(
    ...where,
    ...keys.map(([caps, text]) =>
      make("span", {}, ...caps.map((cap) => (cap === "–" ? "–" : make("kbd", { text: cap }))), " " + say(text)),
    ),
  );
}

function announce(sentence) {
  spoken.textContent = spoken.textContent === sentence ? sentence + "\u00a0" : sentence; // a repeated one is read again
}

/** Brings everything on the page in line with the state, except what moves with every frame. */
function update() {
  body.hidden = keyHelp.hidden = state === "empty" || (state === "loading" && !part.frames);
  if (value) {
    const playing = deck !== null || playAfterLoad;
    const shown = value.versions.find(({ key }) => key === version); // several players may have a Play
    const what = say(playing ? "pause" : "play");
    playButton.setAttribute("aria-label", shown ? say("control", { what, version: nameOf(shown) }) : what);
    playIcon.hidden = playing;
    pauseIcon.hidden = !playing;
    root.classList.toggle("playing", playing);
    totalText.textContent = " / " + clock(value.frames / value.sample_rate);
    matchSwitch.setAttribute("aria-checked", String(matched));
    updateVersions();
    updateLoop();
    volumeSlider.value = volume;
    stripRow.hidden = !isLong();
    drawWaves();
    drawStrip();
    showPosition();
  }
  showStatus();
  tellRegion();
}

function updateVersions() {
  value.versions.forEach((one, i) => {
    const gain = matched && Math.abs(one.gain_db) >= 0.05 ? one.gain_db : null;
    const signed = gain === null ? "" : (gain > 0 ? "+" : "\u2212") + Math.abs(gain).toFixed(1);
    buttons[i].setAttribute("aria-pressed", String(one.key === version));
    buttons[i].disabled = Boolean(sounds[i]?.error);
    buttons[i].title = nameOf(one);
    buttons[i].querySelector(".gain").textContent = signed && say("gain", { gain: signed });
  });
}

function updateLoop() {
  const edge = (frame) => (region ? " " + clock(frame / value.sample_rate) : "");
  loopButton.setAttribute("aria-pressed", String(looping));
  const [first, last] = value.blind ? ["[", "]"] : ["A", "B"]; // A and B are versions there
  for (const [button, letter, key, frame] of [
    [fromButton, first, "set-start", region?.from], [toButton, last, "set-end", region?.to],
  ]) {
    button.replaceChildren(make("b", { text: letter }), edge(frame));
    button.setAttribute("aria-label", say(key) + edge(frame));
    button.title = say(key);
  }
  clearButton.hidden = !region;
}

function showStatus() {
  const lines = [];
  if (state === "empty") lines.push(say("empty"));
  else if (state === "loading") lines.push(say("loading", { percent }));
  else if (sounds[indexOf(version)]?.coming) lines.push(say("computing"));
  else {
    value.versions.forEach((one, i) => {
      if (sounds[i].error) lines.push(nameOf(one) + ": " + say("error-" + sounds[i].error));
    });
    if (value.file_channels > 2) lines.push(say("mixed", { channels: value.file_channels }));
  }
  const alike = new Set(sounds.map((sound) => sound.error));
  if (state === "error" && alike.size === 1) lines.splice(0, lines.length, say("error-" + sounds[0].error));
  const text = lines.join(" ");
  if (statusLine.textContent !== text) statusLine.textContent = text;
  statusLine.hidden = !text;
  statusLine.setAttribute("aria-live", state === "loading" ? "off" : "polite"); // percentages are not read out
  root.classList.toggle("wrong", state === "error");
}

function showPosition() {
  const rate = value.sample_rate;
  const heard = deck ? part.start + deck.frameAt(context.currentTime - (context.outputLatency || 0)) : resting;
  const seconds = heard / rate;
  nowText.textContent = clock(seconds);
  const share = part.frames ? (heard - part.start) / part.frames : 0;
  cursor.style.transform = "translateX(" + Math.min(Math.max(0, share), 1) * timeline.clientWidth + "px)";
  timeline.setAttribute("aria-valuemin", "0");
  timeline.setAttribute("aria-valuemax", (value.frames / rate).toFixed(1));
  timeline.setAttribute("aria-valuenow", seconds.toFixed(1));
  const facts = { position: clock(seconds), total: clock(value.frames / rate) };
  timeline.setAttribute("aria-valuetext", say("seconds", facts));
  const detail = { position: seconds, seconds: value.frames / rate, playing: deck !== null, version, player: playerId };
  element.dispatchEvent(new CustomEvent("denoise:time", { bubbles: true, detail }));
}

function showLevel() {
  let level = METER_FLOOR;
  if (deck) {
    analyser.getFloatTimeDomainData(recent);
    const peak = recent.reduce((most, sample) => Math.max(most, Math.abs(sample)), 1e-6);
    level = Math.max(METER_FLOOR, 20 * Math.log10(peak));
  }
  meterBar.style.transform = "scaleX(" + Math.min(1, 1 - level / METER_FLOOR) + ")";
}

function tick() {
  if (value) showPosition();
  if (deck) played.add(version);
  showLevel();
  ticking = deck !== null;
  if (ticking) requestAnimationFrame(tick);
}

// -------------------------------------------------------------------------------------------------------------- drawing

/** Fits a canvas to its place and gives its 2d context in CSS pixels, or null while it is not shown. */
function surface(canvas) {
  const { clientWidth: width, clientHeight: height } = canvas;
  if (!width || !height) return null;
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const paint = canvas.getContext("2d");
  paint.scale(scale, scale);
  const style = getComputedStyle(root);
  const colour = (name) => style.getPropertyValue("--" + name).trim();
  return { paint, width, height, colour, font: "11px " + style.fontFamily };
}

function drawOutline(paint, { low, high }, left, width, middle, half) {
  const columns = Math.max(1, Math.round(width));
  paint.beginPath();
  for (let x = 0; x < columns; x++) {
    const first = Math.floor((x * low.length) / columns);
    const last = Math.max(first + 1, Math.floor(((x + 1) * low.length) / columns));
    let least = 0, most = 0;
    for (let i = first; i < last; i++) {
      least = Math.min(least, low[i]);
      most = Math.max(most, high[i]);
    }
    paint.rect(left + x, middle - most * half, 1, Math.max(1, (most - least) * half)); // silence is a hairline
  }
  paint.fill();
}

function peakOf(outlines) {
  let peak = 1e-4; // -80 dBFS: below it a drawing would show nothing but rounding
  for (const { low, high } of outlines) {
    for (let i = 0; i < low.length; i++) peak = Math.max(peak, -low[i], high[i]);
  }
  return peak;
}

function drawWaves() {
  const drawn = surface(waves);
  if (!drawn || !part.frames) return;
  const { paint, width, height, colour, font } = drawn;
  const axis = 20;
  const lane = (height - axis) / value.versions.length;
  const scale = 1 / peakOf(sounds.filter((sound) => sound.outline).map((sound) => sound.outline)); // one for all
  const x = (frame) => ((frame - part.start) / part.frames) * width;
  drawRegion(paint, x, height - axis, colour);
  value.versions.forEach(({ key }, i) => {
    if (i) {
      paint.fillStyle = colour("line");
      paint.fillRect(0, Math.round(i * lane), width, 1);
    }
    paint.fillStyle = colour(key === version ? "accent" : "wave");
    if (sounds[i]?.outline && !value.blind) drawOutline(paint, sounds[i].outline, 0, width, (i + 0.5) * lane, lane * 0.42 * scale);
  });
  drawTicks(paint, width, height, axis, colour, font);
}

function drawRegion(paint, x, height, colour) {
  if (!region) return;
  const from = x(region.from), to = x(region.to);
  paint.fillStyle = colour("accent");
  paint.globalAlpha = looping ? 0.14 : 0.07;
  paint.fillRect(from, 0, to - from, height);
  paint.globalAlpha = looping ? 0.9 : 0.4;
  paint.fillRect(Math.round(from), 0, 1, height);
  paint.fillRect(Math.round(to) - 1, 0, 1, height);
  paint.globalAlpha = 1;
}

function drawTicks(paint, width, height, axis, colour, font) {
  const rate = value.sample_rate;
  const seconds = part.frames / rate;
  const steps = [0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60];
  const step = steps.find((step) => (step / seconds) * width >= 64) || 120;
  const digits = step >= 1 ? 0 : Math.ceil(-Math.log10(step));
  paint.font = font;
  paint.textBaseline = "bottom";
  for (let n = Math.ceil(part.start / rate / step); n * step <= part.start / rate + seconds; n++) {
    const x = ((n * step - part.start / rate) / seconds) * width;
    const text = clock(n * step, digits);
    paint.fillStyle = colour("line");
    paint.fillRect(Math.round(Math.min(x, width - 1)), height - axis, 1, 5);
    paint.fillStyle = colour("quiet");
    const half = paint.measureText(text).width / 2;
    paint.fillText(text, Math.min(Math.max(0, x - half), width - 2 * half), height);
  }
}

function drawStrip() {
  if (!isLong()) return;
  const rate = value.sample_rate;
  const start = draggedStart ?? part.start;
  const end = start + value.window_frames;
  stripText.textContent = clock(start / rate, 0) + " – " + clock(end / rate, 0);
  stripBox.setAttribute("aria-valuemin", "0");
  stripBox.setAttribute("aria-valuemax", String(Math.floor((value.frames - value.window_frames) / rate)));
  stripBox.setAttribute("aria-valuenow", String(Math.floor(start / rate)));
  stripBox.setAttribute("aria-valuetext", stripText.textContent);
  const drawn = surface(strip);
  if (!drawn) return;
  const { paint, width, height, colour } = drawn;
  const outline = overviews.get(version) || [...overviews.values()].find(Boolean);
  paint.fillStyle = colour("wave");
  if (outline && !value.blind) drawOutline(paint, outline, 0, width, height / 2, (height * 0.42) / peakOf([outline]));
  const left = (start / value.frames) * width, wide = Math.max(6, (value.window_frames / value.frames) * width);
  paint.fillStyle = colour("accent");
  paint.globalAlpha = 0.14;
  paint.fillRect(left, 0, wide, height);
  paint.globalAlpha = 1;
  paint.strokeStyle = colour("accent");
  paint.strokeRect(left + 0.5, 0.5, wide - 1, height - 1);
}

// ---------------------------------------------------------------------------------------------------------------- hands

/** Whether a key is another's: of a control elsewhere in the result, or of another player. */
function isElsewhere({ key, target }) {
  if (root.contains(target)) return false;
  const taken = ".denoise-player, input, textarea, select, [contenteditable], [role=listbox], [role=tablist]";
  return target.closest(taken) || !root.checkVisibility() || (key === " " && target.closest("a, button, summary"));
}

function onKey(event) {
  if (event.defaultPrevented || isElsewhere(event)) return;
  if (!value || event.ctrlKey || event.metaKey || (event.altKey && !event.getModifierState("AltGraph"))) return;
  const handled = keyAction(event);
  if (!handled) return;
  event.preventDefault();
  event.stopPropagation();
  handled();
}

/** What a key does here, or null where the focused control or the page has its own use for it. */
function keyAction(event) {
  const { key, code, target, shiftKey } = event;
  const onButton = target.closest("button");
  if (key === " ") {
    // a version that is chosen already has nothing else to do with the key
    if (onButton && onButton !== playButton && onButton.getAttribute("aria-pressed") !== "true") return null;
    return onButton === loopButton || onButton === playButton ? null : toggle;
  }
  if (/^[0-9]$/.test(key)) {
    const chosen = value.versions.find((_, i) => keyOf(i) === key);
    return chosen ? () => select(chosen.key) : null;
  }
  const letter = value.blind && value.versions.find((one) => one.key === key.toLowerCase());
  if (letter) return () => select(letter.key);
  if (key === "[" || code === "BracketLeft") return () => setEdge("from");
  if (key === "]" || code === "BracketRight") return () => setEdge("to");
  if (key.toLowerCase() === "l") return () => setLooping(!looping);
  if (key.toLowerCase() === "m" && !value.blind) return () => setMatched(!matched);
  if (target === volumeSlider) return null;
  if (target === stripBox) return stripKey(key);
  const step = shiftKey ? 0.1 : 1;
  const moves = { ArrowLeft: -step, ArrowRight: step };
  if (key in moves) return () => nudge(moves[key]);
  if (target !== timeline) return null;
  const jumps = { ArrowDown: -step, ArrowUp: step, PageDown: -10, PageUp: 10 };
  if (key in jumps) return () => nudge(jumps[key]);
  if (key === "Home") return () => seek(0);
  if (key === "End") return () => seek(value.frames / value.sample_rate);
  return null;
}

function stripKey(key) {
  const start = part.start / value.sample_rate, length = value.window_frames / value.sample_rate;
  const to = {
    ArrowLeft: start - length / 2, ArrowDown: start - length / 2, ArrowRight: start + length / 2, ArrowUp: start + length / 2,
    PageDown: start - length, PageUp: start + length, Home: 0, End: value.frames / value.sample_rate,
  }[key];
  return to === undefined ? null : () => moveWindow(to);
}

/** Follows one pointer from its press to its release: start(x) gives {move(x), end(x)}, x from 0 to 1 of the target. */
function onDrag(target, start) {
  target.addEventListener("pointerdown", (down) => {
    if (!value || !part.frames || down.button !== 0) return;
    const box = target.getBoundingClientRect();
    const share = (event) => Math.min(Math.max(0, (event.clientX - box.left) / box.width), 1);
    const drag = start(share(down), down, box);
    const move = (event) => drag.move(share(event), event);
    const finish = (event) => {
      for (const [name, listener] of listeners) target.removeEventListener(name, listener);
      if (event.type === "pointerup") drag.end(share(event), event);
      else drag.cancel();
    };
    const listeners = [["pointermove", move], ["pointerup", finish], ["pointercancel", finish]];
    for (const [name, listener] of listeners) target.addEventListener(name, listener);
    target.setPointerCapture(down.pointerId);
  });
}

onDrag(timeline, (pressed, down, box) => {
  const secondsAt = (share) => (part.start + share * part.frames) / value.sample_rate;
  const near = (frame) => Math.abs(((frame - part.start) / part.frames - pressed) * box.width) <= GRAB_PIXELS;
  const held = !region ? null : near(region.from) ? region.to : near(region.to) ? region.from : null;
  const anchor = held === null ? secondsAt(pressed) : held / value.sample_rate;
  const before = { region, looping };
  let dragging = false;
  return {
    move(share, event) {
      dragging ||= Math.abs(event.clientX - down.clientX) >= DRAG_PIXELS;
      if (!dragging) return;
      const edges = [anchor, secondsAt(share)].map((s) => Math.round(s * value.sample_rate)).sort((a, b) => a - b);
      region = { from: edges[0], to: edges[1] }; // drawn at once, heard when the pointer lets go
      drawWaves();
    },
    end(share) {
      if (dragging) {
        region = before.region;
        return setRegion(anchor, secondsAt(share)), update();
      }
      const lane = Math.floor(((down.clientY - box.top) / (box.height - 20)) * value.versions.length);
      if (value.versions[lane] && value.versions[lane].key !== version) select(value.versions[lane].key);
      seek(secondsAt(share));
    },
    cancel() {
      ({ region, looping } = before);
      update();
    },
  };
});

onDrag(stripBox, (pressed) => {
  const clamp = (frame) => Math.round(Math.min(Math.max(0, frame), value.frames - value.window_frames));
  const inside = pressed * value.frames >= part.start && pressed * value.frames <= part.start + part.frames;
  const grip = inside ? pressed * value.frames - part.start : value.window_frames / 2;
  const show = (share) => {
    draggedStart = share === null ? null : clamp(share * value.frames - grip);
    drawStrip();
  };
  show(pressed);
  return {
    move: show,
    end(share) {
      const start = clamp(share * value.frames - grip);
      show(null);
      if (start !== part.start) moveWindow(start / value.sample_rate);
    },
    cancel: () => show(null),
  };
});

// ------------------------------------------------------------------------------------------------- the rest of the page

function onSeek(event) {
  const near = event.target instanceof Node && (event.target.contains(element) || element.contains(event.target));
  const meant = !event.detail?.player || event.detail.player === playerId;
  if (near && meant) seek(Number(event.detail?.position));
}

function onOtherPlay(event) {
  if (event.detail.element !== element) pause();
}

const sized = new ResizeObserver(() => {
  if (!element.isConnected) return dispose();
  if (value) update();
});
const themed = new MutationObserver(() => value && update());

function dispose() {
  generation++;
  closeContext();
  sized.disconnect();
  themed.disconnect();
  document.removeEventListener("denoise:seek", onSeek, true);
  document.removeEventListener("denoise:play", onOtherPlay);
  area.removeEventListener("keydown", onKey);
}

sized.observe(root);
themed.observe(document.body, { attributes: true, attributeFilter: ["class"] });
document.addEventListener("denoise:seek", onSeek, true); // captured, so that an event that does not bubble arrives too
document.addEventListener("denoise:play", onOtherPlay);
watch("value", receive);

const seconds = (frames) => frames / value.sample_rate;
element.denoisePlayer = {
  get state() { return state; },
  get loads() { return generation; },
  get playing() { return deck !== null; },
  get version() { return version; },
  get played() { return [...played]; },
  get versions() { return value ? value.versions.map(({ key }) => key) : []; },
  get position() { return value ? seconds(currentFrame()) : 0; },
  get seconds() { return value ? seconds(value.frames) : 0; },
  get window() { return value ? { start: seconds(part.start), seconds: seconds(part.frames) } : null; },
  get region() { return region && { from: seconds(region.from), to: seconds(region.to) }; },
  get looping() { return looping; },
  get matched() { return matched; },
  get volume() { return volume; },
  get sampleRate() { return value ? value.sample_rate : null; },
  get context() { return context; },
  get output() { return analyser; },
  play, pause, toggle, seek, select, setMatched, setVolume, setRegion, clearRegion, setLooping, moveWindow, render,
};
receive();
