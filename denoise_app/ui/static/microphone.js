// The switch for the browser's own processing, and what the browser granted. Gradio runs this as the body of a function.
const texts = (name) => element.querySelector(".microphone").dataset[name];
const fill = (text, facts) => text.replace(/\{(\w+)\}/g, (_, name) => facts[name]);

element.addEventListener("change", (event) => {
  window.denoiseMicrophone.processed = event.target.checked;
  for (const other of document.querySelectorAll(".microphone input")) other.checked = event.target.checked;
});

document.addEventListener("denoise:microphone", () => {
  const { granted, processed } = window.denoiseMicrophone;
  const state = (value) => texts(value === undefined ? "unknown" : value ? "on" : "off");
  const parts = [
    fill(texts("echo"), { state: state(granted.echoCancellation) }),
    fill(texts("noise"), { state: state(granted.noiseSuppression) }),
    fill(texts("gain"), { state: state(granted.autoGainControl) }),
  ];
  if (granted.sampleRate) parts.push(fill(texts("rate"), { rate: granted.sampleRate }));
  const refused = !processed && (granted.echoCancellation || granted.noiseSuppression || granted.autoGainControl);
  const line = element.querySelector(".granted");
  line.textContent = fill(texts("granted"), { list: parts.join(", ") }) + (refused ? " " + texts("refused") : "");
  line.hidden = false;
});
