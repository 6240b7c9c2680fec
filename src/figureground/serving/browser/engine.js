// Masks from the model beside the page, run by a worker of the browser: no photo leaves the device.

const worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
const asked = []; // who waits for an answer; the worker answers in turn

export const atOnce = 1;
export const privacy = "Photos stay on this device: the model runs in this browser.";

/** There is no service, so there is no key. */
export function useKey() {}

/** [{name, default, threshold}] */
export async function models() {
  const { name, threshold } = await ask("model");
  return [{ name, default: true, threshold }];
}

/**
 * The figure in a photo.
 * @param {Blob} file the photo
 * @returns {{map, dice, needsReview, threshold}}: map() gives {width, height, values}
 */
export async function segment(file) {
  const { seen, ...answer } = await ask("segment", file);
  return { ...answer, map: () => ask("map", seen) }; // kept as the network gave it: a fraction of what it becomes
}

function ask(what, given) {
  return new Promise((answered, failed) => {
    asked.push({ answered, failed });
    worker.postMessage({ what, given });
  });
}

worker.addEventListener("message", ({ data }) => {
  const { answered, failed } = asked.shift();
  if (data.error) failed(new Error(data.error));
  else answered(data.answer);
});
worker.addEventListener("error", (event) => {
  event.preventDefault();
  for (const { failed } of asked.splice(0)) failed(new Error("This browser cannot run the model; a newer one can."));
});
