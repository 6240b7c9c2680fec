// From a photo to its probabilities: preprocessing/ and prediction/photos/ in the browser.

import * as ort from "./runtime/ort.wasm.min.mjs";
import { judge } from "./quality.js";
import { resized } from "./resize.js";

const FIGURE = "figure"; // the output of every network; files of format 1 have another name for their only one
const here = (name) => new URL(name, import.meta.url).href;
const loading = load();
loading.catch(() => {}); // whoever asks is told

let before = loading.catch(() => {});
addEventListener("message", ({ data: { what, given } }) => {
  before = before.then(() => TASKS[what](given)).then(
    (answer) => postMessage({ answer }, answer.values ? [answer.values.buffer] : []),
    (error) => postMessage({ error: error.message || String(error) }),
  );
});

const TASKS = {
  model: async () => (await loading).model,
  segment: async (file) => {
    const { model, session } = await loading;
    const pixels = await decoded(file);
    const logits = await run(model, session, pixels);
    const probability = logits.values.map(sigmoid);
    const estimate = judge(probability, logits.height, logits.width, model);
    return { ...estimate, threshold: model.threshold, seen: { logits, height: pixels.height, width: pixels.width } };
  },
  map: async ({ logits, height, width }) => {
    const values = resized(logits.values, [logits.height, logits.width, 1], [height, width], "bilinear");
    return { height, width, values: Uint16Array.from(values, (logit) => Math.round(65535 * sigmoid(logit))) };
  },
};

async function load() {
  ort.env.wasm.wasmPaths = here("runtime/");
  ort.env.wasm.numThreads = 1; // more need headers that a static host seldom sends
  const fetched = async (name) => {
    const answer = await fetch(here(name)).catch(() => null);
    if (!answer?.ok) throw new Error("The model could not be loaded. Are you connected? Then load the page again.");
    return answer;
  };
  const [model, network] = await Promise.all([fetched("model.json"), fetched("model.onnx")]);
  const session = await ort.InferenceSession.create(await network.arrayBuffer(), { executionProviders: ["wasm"] });
  return { model: await model.json(), session };
}

/** The photo's own pixels, upright: {values (RGBA), height, width}. */
async function decoded(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none", premultiplyAlpha: "none" }).catch(() => {
    throw new Error("This browser cannot show this kind of picture. Convert it to JPEG or PNG.");
  });
  const { height, width } = bitmap;
  try {
    const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
    context.drawImage(bitmap, 0, 0);
    return { values: context.getImageData(0, 0, width, height).data, height, width };
  } catch {
    throw new Error("The photo is too large for this browser.");
  } finally {
    bitmap.close();
  }
}

/** What the network says of a photo: logits {values, height, width} at the size at which it sees it. */
async function run(model, session, photo) {
  const [height, width] = seenSize(model, photo);
  const seen = resized(photo.values, [photo.height, photo.width, 4], [height, width], model.resample);
  const [tall, broad] = model.size;
  const [top, left] = [Math.floor((tall - height) / 2), Math.floor((broad - width) / 2)];
  const input = new Float32Array(3 * tall * broad);
  const within = (at, length) => Math.min(Math.max(at, 0), length - 1); // padded with the photo's edge
  let to = 0;
  for (let c = 0; c < 3; c++) {
    const levels = Float32Array.from({ length: 256 }, (_, p) => Math.fround(p * model.factor[c]) + model.shift[c]); // as in float32
    for (let y = 0; y < tall; y++) {
      const row = within(y - top, height) * width;
      for (let x = 0; x < broad; x++) input[to++] = levels[seen[4 * (row + within(x - left, width)) + c]];
    }
  }
  const given = new ort.Tensor("float32", input, [1, 3, tall, broad]);
  const outputs = await session.run({ [session.inputNames[0]]: given });
  const logits = (outputs[FIGURE] ?? outputs[session.outputNames[0]]).data;
  const values = new Float32Array(height * width);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) values[y * width + x] = logits[(y + top) * broad + x + left] / model.temperature;
  }
  return { values, height, width };
}

function seenSize({ resize, size }, photo) {
  if (resize === "stretch") return size;
  const share = Math.min(size[0] / photo.height, size[1] / photo.width);
  return [photo.height, photo.width].map((side) => Math.max(1, rounded(share * side)));
}

/** As Python rounds: halves to the even one. */
function rounded(x) {
  const up = Math.round(x);
  return up - x === 0.5 && up % 2 ? up - 1 : up;
}

function sigmoid(logit) {
  return 1 / (1 + Math.exp(-logit));
}
