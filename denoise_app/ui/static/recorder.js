// The microphone: what the page asks of the browser, what it was granted, and what it uploads of a recording. Runs in the
// page's head.
//
// Gradio asks for {audio: true}, and browsers then cancel echo, suppress noise and control the gain before we hear. Its
// recorder packs what it hears as Opus: lossy, at 48 kHz, in two channels whatever the microphone has. So the samples are
// tapped beside it, and its upload is replaced by them: 16 bit, at the rate of the microphone, and in one channel where
// all are the same, as browsers give a mono microphone as two.
//
// window.denoiseMicrophone: processed (what to ask for), granted (track.getSettings() of the last recording, with the
// channels of its file once that is made), recording (whether one is under way), open (the browser's own way, for those
// who say themselves what they ask for).
{
  const PROBLEMS = { NotAllowedError: "blocked", SecurityError: "blocked", NotFoundError: "absent" };
  const MADE = /^zh\b/i.test(navigator.language) ? RECORDING_ZH : "recording";
  const GRADIOS = "audio.wav"; // the name of every recording of Gradio's
  const microphone = { processed: false, granted: null, recording: false };
  const sources = new WeakMap(); // stream -> the node that it comes from
  const contexts = new Map(); // sample rate -> an audio context that can tap
  let made = null; // the last recording, a promise of its file; null once it has been sent
  window.denoiseMicrophone = microphone;

  function tell(granted) {
    microphone.granted = granted;
    document.dispatchEvent(new CustomEvent("denoise:microphone"));
  }

  // ------------------------------------------------------------------------------------------------------- opening

  const devices = navigator.mediaDevices;
  if (devices?.getUserMedia) {
    const getUserMedia = (microphone.open = devices.getUserMedia.bind(devices));
    devices.getUserMedia = async (constraints) => {
      if (!constraints?.audio) return getUserMedia(constraints);
      const on = microphone.processed;
      const wanted = { echoCancellation: on, noiseSuppression: on, autoGainControl: on };
      const asked = { ...constraints, audio: { ...Object(constraints.audio), ...wanted } };
      const stream = await getUserMedia(asked).catch((error) => {
        const detail = PROBLEMS[error.name] ?? "busy";
        document.dispatchEvent(new CustomEvent("denoise:microphone-problem", { detail }));
        throw error;
      });
      const settings = stream.getAudioTracks()[0].getSettings();
      const source = await attach(stream, settings.sampleRate).catch(() => null); // a browser that cannot tap
      if (source) sources.set(stream, source);
      tell({ ...settings, sampleRate: source?.context.sampleRate ?? settings.sampleRate, channelCount: undefined });
      return stream;
    };
  }

  /** The node that a stream comes from, at its own rate; where a browser refuses that, at the rate of its output. */
  async function attach(stream, rate) {
    try {
      return new MediaStreamAudioSourceNode(await contextAt(rate), { mediaStream: stream });
    } catch {
      return new MediaStreamAudioSourceNode(await contextAt(), { mediaStream: stream });
    }
  }

  async function contextAt(sampleRate) {
    if (!contexts.has(sampleRate)) {
      const context = new AudioContext(sampleRate ? { sampleRate } : {});
      const script = URL.createObjectURL(new Blob([`(${worklet})()`], { type: "text/javascript" }));
      await context.audioWorklet.addModule(script);
      URL.revokeObjectURL(script);
      contexts.set(sampleRate, context);
    }
    const context = contexts.get(sampleRate);
    await context.resume();
    return context;
  }

  // ------------------------------------------------------------------------------------------------------- tapping

  /** Runs in the sound thread. Told true or false it listens or not, told null it ends; posts 16-bit channels, at last []. */
  function worklet() {
    const PERIOD = 2048; // frames of a message
    registerProcessor("tap", class extends AudioWorkletProcessor {
      constructor() {
        super();
        this.listens = false;
        this.ends = false;
        this.channels = [];
        this.filled = 0;
        this.port.onmessage = ({ data }) => {
          this.listens = data === true;
          if (data === null) this.end();
        };
      }

      process([heard]) {
        if (this.listens && heard.length) {
          if (heard.length > this.channels.length) this.widen(heard.length);
          this.channels.forEach((channel, c) => {
            const samples = heard[c] ?? heard[0];
            for (let k = 0; k < samples.length; k++) {
              channel[this.filled + k] = Math.max(-32768, Math.min(32767, Math.round(32768 * samples[k])));
            }
          });
          this.filled += heard[0].length;
          if (this.filled >= PERIOD) this.flush();
        }
        return !this.ends;
      }

      /** More channels than so far: what there is of this message goes out as it is. */
      widen(count) {
        this.flush();
        this.channels = Array.from({ length: count }, () => new Int16Array(PERIOD));
      }

      flush() {
        if (this.filled) this.port.postMessage(this.channels.map((channel) => channel.slice(0, this.filled)));
        this.filled = 0;
      }

      end() {
        this.flush();
        this.port.postMessage([]);
        this.ends = true;
      }
    });
  }

  /** What a recorder records, sample by sample, as a file once it stops. */
  function tap(recorder, source) {
    const begun = new Date(), blocks = [], rate = source.context.sampleRate;
    const node = new AudioWorkletNode(source.context, "tap", { numberOfOutputs: 0 });
    source.connect(node);
    const file = new Promise((done) => {
      node.port.onmessage = ({ data }) => {
        if (data.length) return void blocks.push(data);
        source.disconnect(node);
        source.context.suspend();
        done(toFile(blocks, rate, begun));
      };
    });
    const tell = (listens) => () => node.port.postMessage(listens);
    for (const event of ["start", "resume"]) recorder.addEventListener(event, tell(true));
    recorder.addEventListener("pause", tell(false));
    recorder.addEventListener("stop", tell(null));
    recorder.addEventListener("stop", () => (made = file));
  }

  if (window.MediaRecorder) {
    window.MediaRecorder = class extends MediaRecorder {
      constructor(stream, options) {
        super(stream, options);
        const source = sources.get(stream);
        if (source) tap(this, source);
        this.addEventListener("start", () => (microphone.recording = true));
        this.addEventListener("stop", () => (microphone.recording = false));
      }
    };
  }

  // ------------------------------------------------------------------------------------------------------- sending

  /** A WAV file of blocks of channels, named by date and time, which tell recordings apart in a folder of downloads. */
  function toFile(blocks, rate, begun) {
    const widest = Math.max(1, ...blocks.map((block) => block.length));
    const alike = blocks.every(([first, ...others]) => others.every((other) => first.every((it, k) => it === other[k])));
    const count = alike ? 1 : widest;
    tell({ ...microphone.granted, channelCount: count });
    const data = blocks.map((block) => interleaved(block, count));
    const bytes = data.reduce((sum, part) => sum + part.byteLength, 0);
    const local = new Date(begun - begun.getTimezoneOffset() * 60000).toISOString(); // 2026-11-26T14:03:59.000Z
    const name = `${MADE} ${local.slice(0, 10)} ${local.slice(11, 19).replaceAll(":", "-")}.wav`;
    return new File([header(count, rate, bytes), ...data], name, { type: "audio/wav" });
  }

  function interleaved(block, count) {
    if (count === 1) return block[0];
    const all = new Int16Array(count * block[0].length);
    for (let c = 0; c < count; c++) (block[c] ?? block[0]).forEach((sample, k) => (all[count * k + c] = sample));
    return all;
  }

  function header(channels, rate, bytes) {
    const view = new DataView(new ArrayBuffer(44));
    const text = (at, letters) => [...letters].forEach((letter, k) => view.setUint8(at + k, letter.charCodeAt(0)));
    text(0, "RIFF"), view.setUint32(4, 36 + bytes, true), text(8, "WAVEfmt "), view.setUint32(16, 16, true);
    view.setUint16(20, 1, true), view.setUint16(22, channels, true), view.setUint32(24, rate, true); // PCM
    view.setUint32(28, rate * channels * 2, true), view.setUint16(32, channels * 2, true), view.setUint16(34, 16, true);
    text(36, "data"), view.setUint32(40, bytes, true);
    return view;
  }

  const ask = window.fetch;
  window.fetch = async (resource, options) => {
    const { body } = options ?? {};
    if (!made || !(body instanceof FormData) || body.get("files")?.name !== GRADIOS) return ask(resource, options);
    const file = await made;
    made = null;
    const form = new FormData();
    form.append("files", file);
    return ask(resource, { ...options, body: form });
  };

  // A file that somebody chooses may be called audio.wav, too.
  for (const event of ["change", "drop"]) {
    document.addEventListener(event, ({ target }) => {
      if (event === "drop" || target.type === "file") made = null;
    }, true);
  }
}
