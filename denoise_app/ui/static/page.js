// Runs in the page's head, as soon as Gradio puts it there: what no component does.
(() => {
  // Gradio knows Chinese as zh-CN and zh-TW only, and takes English for zh, zh-HK or zh-Hans; it does not translate titles.
  if (/^zh\b/i.test(navigator.language)) {
    const title = () => document.title !== TITLE_ZH && (document.title = TITLE_ZH);
    new MutationObserver(title).observe(document.head, { childList: true, subtree: true });
    title();
    if (!/^zh-(CN|TW)$/i.test(navigator.language)) changeLocale("zh-CN");
  }

  async function changeLocale(locale) {
    const core = performance.getEntriesByType("resource").find(({ name }) => /\/assets\/core-[^/]*\.js$/.test(name));
    (await import(core.name)).changeLocale(locale);
  }

  // ----------------------------------------------------------------------------------------------------- video files
  // Gradio's recorder takes audio/* only; a video's sound track is welcome too, so a video passes for audio.
  const VIDEO = /\.(mp4|m4v|mov|webm|mkv)$/i;
  const isVideo = (file) => file.type.startsWith("video/") || VIDEO.test(file.name);
  const asAudio = (file) => (isVideo(file) ? new File([file], file.name, { type: "audio/mp4" }) : file);

  function carry(files) {
    const carrier = new DataTransfer();
    for (const file of files) carrier.items.add(asAudio(file));
    return carrier.files;
  }

  document.addEventListener("click", (event) => {
    const input = event.target;
    if (input instanceof HTMLInputElement && input.type === "file" && input.closest(".recording")) {
      if (!input.accept.includes("video/")) input.accept += ",video/*";
    }
  }, true);

  document.addEventListener("change", (event) => {
    const input = event.target;
    if (!(input instanceof HTMLInputElement) || input.type !== "file" || !input.closest(".recording")) return;
    if ([...input.files].some((file) => file.type.startsWith("video/"))) input.files = carry(input.files);
  }, true);

  document.addEventListener("drop", (event) => {
    const input = event.target.closest?.(".recording")?.querySelector("input[type=file]");
    if (!input || ![...event.dataTransfer.files].some(isVideo)) return;
    event.preventDefault();
    event.stopPropagation();
    input.files = carry(event.dataTransfer.files);
    input.dispatchEvent(new Event("change", { bubbles: true }));
  }, true);

  // A recording that another part of the page made goes into the first tab, as if somebody had dropped it there.
  const appears = async (found, patience = 100) => {
    await new Promise((again) => setTimeout(again, 30)); // for what Gradio does after a click
    return found() || !patience ? found() : appears(found, patience - 1);
  };

  document.addEventListener("denoise:open", async ({ detail }) => {
    document.querySelector("#tabs [role=tab]").click();
    scrollTo(0, 0);
    const recorder = document.querySelector("#recording");
    recorder.querySelector(".top-panel button")?.click(); // what is there gives way
    const input = await appears(() => recorder.querySelector("input[type=file]"));
    input.files = carry([detail.file]);
    input.dispatchEvent(new Event("change", { bubbles: true }));
  });

  // ------------------------------------------------------------------------------------------------------ read aloud
  // The server replaces whole parts, several times a second; a screen reader is told only what is new in them.
  const announcer = document.createElement("p");
  announcer.className = "said";
  announcer.setAttribute("aria-live", "polite");

  function announce() {
    const shown = [...document.querySelectorAll(".outcome [data-said]")].filter((part) => part.checkVisibility());
    const news = shown.map((part) => part.dataset.said).join(". ");
    if (news !== announcer.textContent) announcer.textContent = news;
  }

  // What has been unfolded stays so when the server replaces it.
  const unfolded = new Set();
  document.addEventListener("toggle", ({ target }) => {
    const { fold } = target.dataset ?? {};
    if (fold) target.open ? unfolded.add(fold) : unfolded.delete(fold);
  }, true);

  function unfold() {
    for (const part of document.querySelectorAll("details[data-fold]:not([open])")) {
      if (unfolded.has(part.dataset.fold)) part.open = true;
    }
  }

  // Gradio calls the buttons on chips by a number: "Remove 29".
  function nameChips() {
    for (const button of document.querySelectorAll(".token .token-remove[title]")) {
      const chip = button.closest(".token").innerText.trim();
      const title = button.title.replace(/\d+$/, chip);
      if (button.title !== title) button.title = title;
    }
  }

  // Arrow keys go from tab to tab, as people who use no mouse know it.
  const STEPS = { ArrowLeft: (k, n) => (k + n - 1) % n, ArrowRight: (k, n) => (k + 1) % n, Home: () => 0, End: (k, n) => n - 1 };
  document.addEventListener("keydown", (event) => {
    const tab = event.target.closest?.("[role=tablist] [role=tab]");
    if (!tab || !(event.key in STEPS)) return;
    const tabs = [...tab.parentElement.querySelectorAll("[role=tab]")];
    const next = tabs[STEPS[event.key](tabs.indexOf(tab), tabs.length)];
    event.preventDefault();
    next.click();
    next.focus();
  });

  const waiting = new MutationObserver(() => {
    const tabs = document.querySelector("#tabs"); // which are put on the page when they are opened first
    if (!tabs) return;
    waiting.disconnect();
    tabs.append(announcer);
    new MutationObserver(() => { announce(); unfold(); nameChips(); }).observe(tabs, { childList: true, subtree: true });
  });
  waiting.observe(document.documentElement, { childList: true, subtree: true });

  // ---------------------------------------------------------------------------------------------- player and figures
  // Figures share the player's time: a line shows where it is, a click goes there.
  function lineOf(plot) {
    let line = plot.querySelector(":scope > .now-line");
    if (!line) {
      line = document.createElement("span");
      line.className = "now-line";
      line.setAttribute("aria-hidden", "true");
      plot.append(line);
      plot.on?.("plotly_click", ({ points }) => {
        document.dispatchEvent(new CustomEvent("denoise:seek", { detail: { position: Number(points[0].x) } }));
      });
    }
    return line;
  }

  document.addEventListener("denoise:time", ({ detail }) => {
    for (const plot of document.querySelectorAll(".timed .js-plotly-plot")) {
      const layout = plot._fullLayout;
      const axis = layout?.xaxis;
      if (!axis?.d2p) continue;
      const x = axis.d2p(detail.position);
      const line = lineOf(plot);
      line.hidden = !(x >= 0 && x <= axis._length);
      line.style.transform = "translateX(" + (axis._offset + x) + "px)";
      line.style.top = layout._size.t + "px";
      line.style.bottom = layout._size.b + "px";
    }
  });

  // What is said of a version is unfolded beside its sound.
  document.addEventListener("denoise:time", ({ detail }) => {
    if (detail.player !== "compare-player") return;
    for (const told of document.querySelectorAll("#compare-favours [data-version]")) {
      const heard = told.dataset.version === detail.version;
      if (heard === "heard" in told.dataset) continue; // once, so that it can be folded by hand
      told.toggleAttribute("data-heard", heard);
      told.open = heard;
    }
  });

  // A link to settings is copied, and says so; where that is not allowed it opens, as links do.
  const COPIED = /^zh\b/i.test(navigator.language) ? COPIED_ZH : COPIED_EN;
  document.addEventListener("click", async (event) => {
    const link = event.target.closest?.('.downloads a[href^="?"]');
    if (!link || !navigator.clipboard) return;
    event.preventDefault();
    const label = link.textContent;
    try {
      await navigator.clipboard.writeText(link.href);
    } catch {
      window.open(link.href);
      return;
    }
    link.textContent = announcer.textContent = COPIED;
    setTimeout(() => (link.textContent = label), 3000);
  });

  // ------------------------------------------------------------------------------------------------ cards of models
  // A click on a point of a figure, or on a link, opens the card of what it stands for.
  function openCard(id) {
    const card = document.getElementById(id);
    if (!card) return;
    for (let part = card; part; part = part.parentElement.closest("details")) part.open = true;
    card.scrollIntoView({ block: "nearest" });
    card.querySelector("summary").focus({ preventScroll: true });
  }

  document.addEventListener("click", (event) => {
    const link = event.target.closest?.('a[href^="#card-"]');
    if (!link) return;
    event.preventDefault();
    openCard(link.hash.slice(1));
  });

  const listening = new WeakSet();
  document.addEventListener("pointerover", (event) => {
    const plot = event.target.closest?.(".to-cards .js-plotly-plot");
    if (!plot?.on || listening.has(plot)) return;
    listening.add(plot);
    plot.on("plotly_click", ({ points }) => typeof points[0].customdata === "string" && openCard(points[0].customdata));
  }, true);
})();
