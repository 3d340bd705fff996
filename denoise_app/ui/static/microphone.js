// The switch for the browser's own processing, and what the browser granted. Gradio runs this as the body of a function.
const texts = (name) => element.querySelector(".microphone").dataset[name];
const CHANNELS = { 1: "mono", 2: "stereo" };
const fill = (text, facts) => text.replace(/\{(\w+)\}/g, (_, name) => facts[name]);

element.addEventListener("change", (event) => {
  window.denoiseMicrophone.processed = event.target.checked;
  for (const other of document.querySelectorAll(".microphone input")) other.checked = event.target.checked;
});

// One tap: Gradio's recorder is opened and started. Its own Stop ends the recording.
async function record() {
  const recorder = element.closest(".sheet").querySelector(".recording");
  problem("");
  recorder.querySelector(".top-panel button")?.click(); // what is there gives way
  // By way of the upload: a recorder that was cleared has lost its button, a new one has it.
  const upload = ".source-selection button", microphone = `${upload} + button`, start = ".record-button:not([disabled])";
  for (const part of [upload, microphone, start]) (await appears(recorder, part))?.click();
}

async function appears(recorder, part, patience = 100) {
  await new Promise((again) => setTimeout(again, 30)); // for what Gradio does after a click
  const found = recorder.querySelector(part);
  return found || !patience ? found : appears(recorder, part, patience - 1);
}

function problem(name) {
  const line = element.querySelector(".notice");
  line.textContent = name && texts(name);
  line.hidden = !name;
}

element.addEventListener("click", ({ target }) => {
  if (!target.closest(".record")) return;
  if (navigator.mediaDevices?.getUserMedia) record();
  else problem("insecure");
});

document.addEventListener("denoise:microphone-problem", ({ detail }) => problem(detail));

document.addEventListener("denoise:microphone", () => {
  const { granted, processed } = window.denoiseMicrophone;
  const state = (value) => texts(value === undefined ? "unknown" : value ? "on" : "off");
  const { echoCancellation, noiseSuppression, autoGainControl, channelCount } = granted;
  const processing = { echo: state(echoCancellation), noise: state(noiseSuppression), gain: state(autoGainControl) };
  const parts = [fill(texts("processing"), processing)];
  if (granted.sampleRate) parts.push(fill(texts("rate"), { rate: granted.sampleRate / 1000 }));
  if (channelCount) parts.push(fill(texts(CHANNELS[channelCount] ?? "several"), { count: channelCount }));
  const refused = !processed && (echoCancellation || noiseSuppression || autoGainControl);
  problem("");
  const line = element.querySelector(".granted");
  line.textContent = fill(texts("granted"), { list: parts.join(" · ") }) + (refused ? " " + texts("refused") : "");
  line.hidden = false;
});
