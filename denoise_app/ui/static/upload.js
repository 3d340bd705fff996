// Gradio's audio widget fetches a recording that was just uploaded, to draw it. It is answered from what the browser has,
// so that nobody is sent a recording of their own. window.denoiseUploads: the uploads under way, promises.
{
  const KEPT = 4; // the newest, so that others can be freed
  const uploaded = new Map(); // path on the server -> File
  const ask = window.fetch;
  const underWay = (window.denoiseUploads = new Set());

  const keep = (form, paths) => {
    form.getAll("files").forEach((file, i) => file instanceof File && uploaded.set(paths[i], file));
    for (const path of [...uploaded.keys()].slice(0, -KEPT)) uploaded.delete(path);
  };

  window.fetch = async (resource, options) => {
    const address = String(resource?.url ?? resource).split("?")[0];
    const file = uploaded.get(decodeURIComponent(address.split("/gradio_api/file=")[1] ?? ""));
    if (file) return new Response(file, { headers: { "Content-Type": file.type, "Content-Length": file.size } });
    const asked = ask(resource, options);
    if (!(options?.body instanceof FormData) || !address.endsWith("/gradio_api/upload")) return asked;
    underWay.add(asked);
    try {
      const answer = await asked;
      if (answer.ok) keep(options.body, await answer.clone().json());
      return answer;
    } finally {
      underWay.delete(asked);
    }
  };
}
