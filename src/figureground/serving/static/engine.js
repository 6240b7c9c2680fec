// Masks from the service that the page comes from.

import { readGrey } from "./png.js";

const TRIES = 30;
const LONGEST_WAIT = 30;
const sleep = (seconds) => new Promise((done) => setTimeout(done, 1000 * seconds));

export const atOnce = 2;
export const privacy = "Photos go to this service only, and it keeps none.";
let key = "";

/** Ask with this API key from now on. */
export function useKey(given) {
  key = given;
}

/** [{name, default, threshold}] */
export async function models() {
  return (await (await ask("v1/models", {}, () => {})).json()).models;
}

/**
 * The figure in a photo.
 * @param {Blob} file the photo
 * @param {string} model its name, or "" for the service's own choice
 * @param {(seconds: number) => void} waiting is told when the service is busy, and for how long
 * @returns {{map, dice, needsReview, threshold}}: map() gives {width, height, values}; dice may be null
 */
export async function segment(file, model, waiting) {
  const query = new URLSearchParams({ output: "probability", ...(model && { model }) });
  const options = { method: "POST", body: file, headers: { "Content-Type": file.type || "application/octet-stream" } };
  const response = await ask(`v1/segment?${query}`, options, waiting);
  const header = (name) => response.headers.get(name);
  const answer = await response.blob(); // kept as it is: a tenth of what it becomes
  return {
    map: () => readGrey(answer),
    dice: header("X-Estimated-Dice") === null ? null : Number(header("X-Estimated-Dice")),
    needsReview: header("X-Needs-Review") === "true",
    threshold: Number(header("X-Threshold") ?? 0.5),
  };
}

async function ask(address, options, waiting) {
  for (let tries = 1; ; tries++) {
    const headers = { ...options.headers, ...(key && { Authorization: `Bearer ${key}` }) };
    const response = await fetch(address, { ...options, headers }).catch(() => {
      throw new Error("The service does not answer. Is it running, and are you connected?");
    });
    if (response.ok) return response;
    if (![429, 503].includes(response.status) || tries === TRIES) throw await problem(response);
    const seconds = Math.min(Number(response.headers.get("Retry-After")) || 1, LONGEST_WAIT);
    waiting(seconds);
    await sleep(seconds * (1 + Math.random() / 2)); // so that not all come back at once
  }
}

async function problem(response) {
  const said = await response.json().catch(() => ({}));
  const words = [said.title, said.detail].filter((text) => typeof text === "string" && text).join(": ");
  return Object.assign(new Error(words || `The service answered ${response.status}.`), { status: response.status });
}
