// What is heard and what is played, on one clock: an AudioWorklet whose inputs are the microphone (0) and, for comparison,
// the same microphone with the browser's own suppression (1). Positions are samples of input 0 since the start.
//
// What an engine sends back is aligned with what it was sent, so what is played at any moment is the sample `delay`
// samples ago: nothing drifts, and a switch to the sound as it came (bypass) keeps the sample. Where the engine is late,
// the sound as it came is played in place of its own, and the delay grows; while it is early it shrinks again.
//
// From the page: {engine: {port, chunk, held}} the engine that is asked from now on, null for none; {bypass}; {own}
// whether input 1 is played. To the page, PERIOD samples each: {before, after, delay, start, late, missing}:
// the position that the engine began at, how often it was late since the last report, and for how many samples; {lost} once
// an engine is so late that it is no use.
const QUANTUM = 128;
const RING = 1 << 17; // samples that are remembered: more than the longest delay
const PERIOD = 1024;
const LEAST = 0.016, MOST = 0.1; // s by which the delay exceeds what the engine needs, at least and at most
const PATIENCE = 4; // quanta between two steps up, so that one hitch is one step or two
const CALM = 2; // s without a late sample after which the delay may shrink
const LOST = 2; // s of late sound within ...
const WINDOW = 5; // s

class LiveSound extends AudioWorkletProcessor {
  constructor() {
    super();
    this.dry = new Float32Array(RING);
    this.wet = new Float32Array(RING);
    this.heard = 0;
    this.bypass = this.own = false;
    this.last = 0; // sample that was played
    this.playing = ""; // from where, so that a jump is known
    this.report();
    this.ask(null);
    this.port.onmessage = ({ data }) => {
      if ("engine" in data) this.ask(data.engine);
      if ("bypass" in data) this.bypass = data.bypass;
      if ("own" in data) this.own = data.own;
    };
  }

  /** From the next sample on the sound goes to another engine, or to none. */
  ask(engine) {
    this.engine?.port.close();
    this.engine = engine;
    this.sent = this.start = this.ready = this.heard; // of the engine: sent to it, its first, known from it
    this.least = engine ? engine.chunk + engine.held : 0; // delay without which no engine could be in time
    this.slack = this.leastSlack = QUANTUM * Math.ceil((LEAST * sampleRate) / QUANTUM);
    this.early = Infinity; // the least by which it was early of late
    this.calm = this.patience = 0;
    this.lateTimes = []; // positions of late quanta
    if (engine) engine.port.onmessage = ({ data }) => this.take(data);
  }

  get delay() {
    return this.engine ? this.least + this.slack : 0;
  }

  take(samples) {
    for (let k = 0; k < samples.length; k++) this.wet[(this.ready + k) % RING] = samples[k];
    this.ready += samples.length;
  }

  process([microphone, own], [[played]]) {
    const before = microphone[0] ?? new Float32Array(QUANTUM);
    for (let k = 0; k < QUANTUM; k++) this.dry[(this.heard + k) % RING] = before[k];
    this.heard += QUANTUM;
    this.send();
    this.play(played, own[0]);
    this.keep(before, played);
    return true;
  }

  send() {
    while (this.engine && this.heard - this.sent >= this.engine.chunk) {
      const chunk = Float32Array.from({ length: this.engine.chunk }, (_, k) => this.dry[(this.sent + k) % RING]);
      this.sent += chunk.length;
      this.engine.port.postMessage(chunk, [chunk.buffer]);
    }
  }

  play(played, own) {
    const end = this.heard - this.delay, from = end - QUANTUM;
    const asked = Boolean(this.engine) && from >= this.start;
    const inTime = end <= this.ready;
    const source = this.own && !this.bypass ? "own" : asked && inTime && !this.bypass ? "wet" : "dry";
    if (source === "own") played.set(own ?? new Float32Array(QUANTUM));
    else for (let k = 0; k < QUANTUM; k++) played[k] = from + k < 0 ? 0 : this[source][(from + k) % RING];
    this.bridge(played, `${source} ${this.delay}`);
    if (asked) this.adapt(this.ready - end);
  }

  /** A jump to another source or place is taken up within a quantum, so that it makes no click. */
  bridge(played, playing) {
    const jump = playing === this.playing ? 0 : this.last - played[0];
    for (let k = 0; jump && k < QUANTUM; k++) played[k] += jump * (1 - k / QUANTUM);
    this.playing = playing;
    this.last = played[QUANTUM - 1];
  }

  /** The delay follows how early the engine is, in samples. */
  adapt(early) {
    this.early = Math.min(this.early, early);
    this.patience--;
    if (early < 0) {
      if (this.calm || !this.lateTimes.length) this.late++;
      this.missing += QUANTUM;
      this.calm = 0;
      this.early = Infinity;
      if (this.patience <= 0 && this.slack + QUANTUM <= MOST * sampleRate) {
        this.slack += QUANTUM;
        this.patience = PATIENCE;
      }
      this.lateTimes = [...this.lateTimes.filter((at) => at > this.heard - WINDOW * sampleRate), this.heard];
      if (this.lateTimes.length * QUANTUM >= LOST * sampleRate) this.giveUp();
      return;
    }
    this.calm += QUANTUM;
    if (this.calm < CALM * sampleRate) return;
    const spare = QUANTUM * Math.floor(this.early / QUANTUM - 1); // a quantum stays
    this.slack = Math.max(this.leastSlack, this.slack - Math.max(0, spare));
    this.calm = 0;
    this.early = Infinity;
  }

  giveUp() {
    this.ask(null);
    this.port.postMessage({ lost: true });
  }

  report() {
    this.before = new Float32Array(PERIOD);
    this.after = new Float32Array(PERIOD);
    this.filled = this.late = this.missing = 0;
  }

  keep(before, after) {
    this.before.set(before, this.filled);
    this.after.set(after, this.filled);
    this.filled += QUANTUM;
    if (this.filled < PERIOD) return;
    const { delay, start, late, missing } = this;
    const told = { before: this.before, after: this.after, delay, start, late, missing };
    this.report();
    this.port.postMessage(told, [told.before.buffer, told.after.buffer]);
  }
}

registerProcessor("live-sound", LiveSound);
