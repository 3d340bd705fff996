// A reload brings recording and result back; what is under way would be lost, so that the browser asks first: an order, an
// upload, a recording, a live session with its recording. Gradio hangs up when the browser asks, and whoever then stays
// would wait for ever: this is heard before Gradio hears it, since a window calls its listeners in the order they came.
addEventListener("beforeunload", (event) => {
  const cancels = [...document.querySelectorAll(".under-way > button")];
  const works = cancels.some((button) => button.checkVisibility());
  const isLive = document.querySelector('.live-start[aria-pressed="true"]');
  if (!(works || isLive || window.denoiseUploads?.size || window.denoiseMicrophone?.recording)) return;
  event.preventDefault();
  event.stopImmediatePropagation();
});
