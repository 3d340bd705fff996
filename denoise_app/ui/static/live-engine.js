// Where the denoiser is asked, away from the page's own thread: a session on the server, or the model itself.
//
// From the page: {open: {place: "server" | "browser", turn, port, ...}}, {strength} in percent, {close: true}. `port` leads
// to the sound (live-sound.js): chunks of samples in, what has become final out. To the page, each with the turn that it is
// about: {ready: {chunk, held, latency, rate}}, {status}, {network: ms there and back}, {refused: sentence, reason},
// {lost: true}, {failed: why} where the model cannot run here ("assets", "graph", "rate", "blocked", "slow").
const ECHO = 1000; // ms between two looks at the network, and two words on how it does
const RAMP = 0.02; // s over which a new strength sets in, as on the server
const QUANTUM = 128;
const WARM_UP = 60, TIMED = 30; // frames of silence, and the last of them that are timed
const QUICK = 0.5; // of a frame's time that it may take

let engine = null;

onmessage = ({ data }) => {
  if (data.open) {
    engine?.close();
    engine = new { server: Server, browser: Browser }[data.open.place](data.open);
  }
  if ("strength" in data) engine?.adjust(data.strength);
  if (data.close) {
    engine?.close();
    engine = null;
  }
};

// -------------------------------------------------------------------------------------------------------------- server

class Server {
  constructor({ turn, port, address, hello }) {
    Object.assign(this, { turn, port });
    this.socket = new WebSocket(address);
    this.socket.binaryType = "arraybuffer";
    this.socket.onopen = () => this.socket.send(JSON.stringify(hello));
    this.socket.onmessage = ({ data }) => (data instanceof ArrayBuffer ? this.give(data) : this.told(JSON.parse(data)));
    this.socket.onclose = () => this.end({ lost: true });
    this.most = 4 * hello.rate; // bytes that may wait to be sent: a second
    port.onmessage = ({ data }) => this.take(data);
  }

  take(chunk) {
    if (this.socket.readyState !== WebSocket.OPEN) return;
    if (this.socket.bufferedAmount > this.most) this.end({ lost: true }); // the network does not keep up
    else this.socket.send(chunk);
  }

  give(data) {
    this.port.postMessage(new Float32Array(data), [data]);
  }

  told(message) {
    if (message.type === "refused") this.end({ refused: message.sentence, reason: message.reason });
    if (message.type === "status") this.tell({ status: message });
    if (message.type === "echo") this.tell({ network: performance.now() - message.time });
    if (message.type !== "ready") return;
    const ask = () => this.say({ time: performance.now() });
    this.asking = setInterval(ask, ECHO);
    ask();
    this.tell({ ready: message });
  }

  tell(message) {
    postMessage({ turn: this.turn, ...message });
  }

  adjust(strength) {
    this.say({ strength });
  }

  say(message) {
    if (this.socket.readyState === WebSocket.OPEN) this.socket.send(JSON.stringify(message));
  }

  end(told) {
    if (!this.ended) this.tell(told);
    this.close();
  }

  close() {
    this.ended = true;
    clearInterval(this.asking);
    this.port.onmessage = this.socket.onmessage = null;
    this.socket.close();
  }
}

// ------------------------------------------------------------------------------------------------------------- browser

class Browser {
  constructor({ turn, port, assets, graph, rate, strength }) {
    Object.assign(this, { turn, port });
    this.waiting = []; // chunks, until the one before them is done
    this.open(assets, graph, rate, strength);
  }

  async open(assets, graph, rate, strength) {
    try {
      if (graph.rate !== rate) throw new Failure("rate");
      this.frames = await Frames.load(assets, graph);
      this.mix = new Mix(strength, rate);
      await this.warmUp();
    } catch (error) {
      if (!this.ended) this.tell({ failed: error instanceof Failure ? error.message : "blocked" });
      return;
    }
    if (this.ended) return;
    const { hop, delay } = this.frames;
    const chunk = QUANTUM * Math.ceil(hop / QUANTUM);
    this.telling = setInterval(() => this.tell({ status: { mean_ms: this.cost } }), ECHO);
    this.port.onmessage = ({ data }) => this.take(data);
    this.tell({ ready: { chunk, held: delay + (chunk % hop ? hop - 1 : 0), latency: (delay + hop) / rate, rate } });
  }

  tell(message) {
    postMessage({ turn: this.turn, ...message });
  }

  /** The first frames take far longer than the others. */
  async warmUp() {
    const silence = new Float32Array(this.frames.hop), times = [];
    for (let k = 0; k < WARM_UP && !this.ended; k++) {
      const began = performance.now();
      await this.frames.push(silence);
      times.push(performance.now() - began);
    }
    this.frames.reset();
    const usual = times.slice(-TIMED).sort((a, b) => a - b)[TIMED >> 1];
    if (usual > (QUICK * 1000 * this.frames.hop) / this.frames.rate) throw new Failure("slow");
    this.cost = usual;
  }

  async take(chunk) {
    this.waiting.push(chunk);
    if (this.waiting.length > 1) return; // whoever is at work takes it, too
    while (this.waiting.length && !this.ended) {
      const began = performance.now();
      const { wet, dry } = await this.frames.push(this.waiting[0]);
      this.cost += 0.05 * (performance.now() - began - this.cost);
      if (wet.length) this.port.postMessage(this.mix.mixed(dry, wet));
      this.waiting.shift();
    }
  }

  adjust(strength) {
    if (this.mix) this.mix.wanted = strength / 100;
  }

  close() {
    this.ended = true;
    clearInterval(this.telling);
    this.port.onmessage = null;
  }
}

class Failure extends Error {}

/** So much of the denoised sound; a new share is reached in straight line. */
class Mix {
  constructor(strength, rate) {
    this.share = this.wanted = strength / 100;
    this.step = 1 / (RAMP * rate);
  }

  mixed(dry, wet) {
    return wet.map((value, k) => {
      const way = this.wanted - this.share;
      this.share += Math.sign(way) * Math.min(this.step, Math.abs(way));
      return dry[k] - this.share * (dry[k] - value);
    });
  }
}

/** A model in the form of one frame a call (docs/deploy.md), driven by pieces of any length: in its hops, aligned. */
class Frames {
  static async load(assets, graph) {
    const ort = await import(assets.module).catch(() => { throw new Failure("assets"); });
    ort.env.wasm.numThreads = 1;
    ort.env.wasm.wasmPaths = { wasm: assets.wasm };
    const answer = await fetch(graph.address).catch(() => null);
    const data = answer?.ok ? await answer.arrayBuffer() : null;
    if (!data || (await digest(data)) !== graph.sha256) throw new Failure("graph");
    return new Frames(ort, await ort.InferenceSession.create(data, { executionProviders: ["wasm"] }), graph);
  }

  constructor(ort, session, { window, hop, look_ahead, rate }) {
    Object.assign(this, { ort, session, window, hop, rate });
    this.delay = window - hop + look_ahead * hop;
    this.bins = window / 2 + 1;
    const scale = (2 * hop) / window;
    this.taper = Float64Array.from({ length: window }, (_, k) => Math.sqrt(scale * (0.5 - 0.5 * Math.cos((2 * Math.PI * k) / window))));
    this.transform = new Transform(window);
    this.reset();
  }

  reset() {
    const { Tensor } = this.ort;
    this.states = this.session.inputMetadata.slice(1).map(({ shape }) =>
      new Tensor("float32", new Float32Array(shape.reduce((a, b) => a * b, 1)), shape));
    this.past = new Float32Array(this.window); // the newest samples, those of the next frame last
    this.filled = 0; // of the hop that is being heard
    this.tail = new Float64Array(this.window); // of the frames so far, that later ones are added to
    this.late = this.delay; // samples still to be dropped
    this.dry = []; // what was heard and has not come out
  }

  /** Samples (n,) -> {wet, dry}: what has become final, and what was heard at the same places. */
  async push(samples) {
    const parts = [];
    for (const sample of samples) {
      this.past[this.window - this.hop + this.filled++] = sample;
      this.dry.push(sample);
      if (this.filled < this.hop) continue;
      parts.push(await this.frame());
      this.past.copyWithin(0, this.hop);
      this.filled = 0;
    }
    const all = parts.flatMap((part) => [...part]);
    const dropped = Math.min(this.late, all.length);
    this.late -= dropped;
    const wet = Float32Array.from(all.slice(dropped));
    return { wet, dry: this.dry.splice(0, wet.length) };
  }

  /** The next hop of samples. */
  async frame() {
    const { Tensor } = this.ort;
    const spectrum = new Tensor("float32", this.transform.forward(this.past, this.taper), [1, this.bins, 1, 2]);
    const [name, ...inputs] = this.session.inputNames, [clean, ...outputs] = this.session.outputNames;
    const result = await this.session.run({ [name]: spectrum, ...Object.fromEntries(inputs.map((state, k) => [state, this.states[k]])) });
    this.states = outputs.map((state) => result[state]);
    const added = this.transform.inverse(result[clean].data, this.taper);
    for (let k = 0; k < this.window; k++) this.tail[k] += added[k];
    const ready = Float32Array.from(this.tail.subarray(0, this.hop));
    this.tail.copyWithin(0, this.hop);
    this.tail.fill(0, this.window - this.hop);
    return ready;
  }
}

/** The discrete Fourier transform of real frames; Cooley and Tukey 1965 for powers of two. */
class Transform {
  constructor(size) {
    this.size = size;
    this.real = new Float64Array(size);
    this.imag = new Float64Array(size);
    this.cos = Float64Array.from({ length: size / 2 }, (_, k) => Math.cos((2 * Math.PI * k) / size));
    this.sin = Float64Array.from({ length: size / 2 }, (_, k) => Math.sin((2 * Math.PI * k) / size));
    this.order = Uint32Array.from({ length: size }, (_, k) => reversed(k, Math.log2(size)));
  }

  /** (size,) samples -> pairs of real and imaginary part of size / 2 + 1 bins. */
  forward(samples, taper) {
    for (let k = 0; k < this.size; k++) this.real[this.order[k]] = samples[k] * taper[k];
    this.imag.fill(0);
    this.run(-1);
    return Float32Array.from({ length: this.size + 2 }, (_, k) => (k % 2 ? this.imag : this.real)[k >> 1]);
  }

  /** Pairs of size / 2 + 1 bins -> (size,) samples under the taper. */
  inverse(bins, taper) {
    const half = this.size / 2;
    for (let k = 0; k < this.size; k++) {
      const bin = k <= half ? k : this.size - k, edge = k % half === 0;
      this.real[this.order[k]] = bins[2 * bin];
      this.imag[this.order[k]] = edge ? 0 : bins[2 * bin + 1] * (k < half ? 1 : -1);
    }
    this.run(1);
    return this.real.map((value, k) => (value / this.size) * taper[k]);
  }

  run(sign) {
    const { real, imag, cos, sin, size } = this;
    for (let span = 1; span < size; span *= 2) {
      for (let start = 0; start < size; start += 2 * span) {
        for (let k = 0, turn = 0; k < span; k++, turn += size / (2 * span)) {
          const one = start + k, two = one + span;
          const re = real[two] * cos[turn] - sign * imag[two] * sin[turn];
          const im = sign * real[two] * sin[turn] + imag[two] * cos[turn];
          real[two] = real[one] - re;
          imag[two] = imag[one] - im;
          real[one] += re;
          imag[one] += im;
        }
      }
    }
  }
}

function reversed(number, bits) {
  let turned = 0;
  for (let k = 0; k < bits; k++) turned |= ((number >> k) & 1) << (bits - 1 - k);
  return turned;
}

async function digest(data) {
  const bytes = new Uint8Array(await crypto.subtle.digest("SHA-256", data));
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
