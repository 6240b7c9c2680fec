// Pictures of a photo and its probabilities: the same code paints the screen and what is saved.
//
// photo: {bitmap, width, height, values (Uint16Array, 65,535 = 1), threshold, strokes: [{add, radius, points: [[x, y]]}]}
// view: {scale, x, y}: pixels of the canvas for a pixel of the photo, and the place in the photo at its upper left corner
// look: {kind, colour, backdrop, ghost (the background shows faintly), screen (a checkerboard for what is transparent)}

const SOFT = 4; // logits over which the edge of a cut-out goes from clear to solid
const RED = "rgb(255 0 60 / 0.5)";
const logit = (p) => Math.log(p / (1 - p));

/** Uint8Array: the opacity of each of the 65,536 probabilities. */
function opacities(threshold, soft) {
  const edge = threshold * 65535;
  if (!soft) return Uint8Array.from({ length: 65536 }, (_, p) => (p > edge ? 255 : 0));
  const middle = logit(threshold);
  return Uint8Array.from({ length: 65536 }, (_, p) => {
    const share = 0.5 + (logit(Math.min(Math.max(p, 0.5), 65534.5) / 65535) - middle) / SOFT;
    return Math.round(255 * Math.min(1, Math.max(0, share)));
  });
}

/** A white layer, opaque where the figure is. */
function alphaLayer(photo, view, width, height, soft) {
  const layer = new OffscreenCanvas(width, height);
  const context = layer.getContext("2d");
  const pixels = context.createImageData(width, height);
  const out = new Uint32Array(pixels.data.buffer);
  const table = Uint32Array.from(opacities(photo.threshold, soft), (alpha) => ((alpha << 24) | 0xffffff) >>> 0);
  const place = (i, start, length) => {
    const at = Math.floor(start + (i + 0.5) / view.scale);
    return at >= 0 && at < length ? at : -1;
  };
  const columns = Int32Array.from({ length: width }, (_, x) => place(x, view.x, photo.width));
  for (let y = 0; y < height; y++) {
    const row = place(y, view.y, photo.height);
    if (row < 0) continue;
    const from = row * photo.width, to = y * width;
    for (let x = 0; x < width; x++) if (columns[x] >= 0) out[to + x] = table[photo.values[from + columns[x]]];
  }
  context.putImageData(pixels, 0, 0);
  context.setTransform(view.scale, 0, 0, view.scale, -view.x * view.scale, -view.y * view.scale);
  context.beginPath();
  context.rect(0, 0, photo.width, photo.height);
  context.clip();
  context.lineCap = context.lineJoin = "round";
  context.strokeStyle = "#fff";
  for (const { add, radius, points } of photo.strokes) {
    context.globalCompositeOperation = add ? "source-over" : "destination-out";
    context.lineWidth = 2 * radius;
    context.beginPath();
    context.moveTo(points[0][0] - 0.01, points[0][1]); // lines without length are not drawn
    for (const point of points) context.lineTo(...point);
    context.stroke();
  }
  return layer;
}

/** Fill what a layer covers with something else. */
function filled(layer, draw) {
  const context = layer.getContext("2d");
  context.globalCompositeOperation = "source-in";
  context.setTransform(1, 0, 0, 1, 0, 0);
  draw(context);
  return layer;
}

export function drawPhoto(context, photo, view) {
  const { scale, x, y } = view;
  context.imageSmoothingEnabled = scale < 2;
  context.imageSmoothingQuality = "high";
  context.drawImage(photo.bitmap, -x * scale, -y * scale, photo.width * scale, photo.height * scale);
}

/** Paint the whole of a context. */
export function paint(context, photo, view, look) {
  const { width, height } = context.canvas;
  const soft = look.kind !== "mask" && look.kind !== "overlay";
  const layer = alphaLayer(photo, view, width, height, soft);
  const frame = [-view.x * view.scale, -view.y * view.scale, photo.width * view.scale, photo.height * view.scale];
  const fill = (style) => {
    context.fillStyle = style;
    context.fillRect(...frame);
  };
  context.globalAlpha = 1;
  context.clearRect(0, 0, width, height);
  if (look.kind === "mask") {
    fill("#000");
    context.drawImage(layer, 0, 0);
  } else if (look.kind === "overlay") {
    drawPhoto(context, photo, view);
    context.drawImage(filled(layer, (on) => { on.fillStyle = RED; on.fillRect(0, 0, width, height); }), 0, 0);
  } else {
    if (look.kind === "colour") fill(look.colour);
    else if (look.kind === "picture" && look.backdrop) cover(context, look.backdrop, frame);
    else if (look.screen) fill(checkerboard(context));
    if (look.ghost) {
      context.globalAlpha = 0.35;
      drawPhoto(context, photo, view);
      context.globalAlpha = 1;
    }
    context.drawImage(filled(layer, (on) => drawPhoto(on, photo, view)), 0, 0);
  }
}

/** Draw a picture so large that it covers a frame, its middle in the middle. */
function cover(context, picture, [left, top, width, height]) {
  const scale = Math.max(width / picture.width, height / picture.height);
  const [w, h] = [width / scale, height / scale];
  context.imageSmoothingEnabled = true;
  context.imageSmoothingQuality = "high";
  context.drawImage(picture, (picture.width - w) / 2, (picture.height - h) / 2, w, h, left, top, width, height);
}

function checkerboard(context) {
  const size = 10 * (globalThis.devicePixelRatio || 1);
  const tile = new OffscreenCanvas(2 * size, 2 * size);
  const on = tile.getContext("2d");
  on.fillStyle = "#fff";
  on.fillRect(0, 0, 2 * size, 2 * size);
  on.fillStyle = "#d4d4d8";
  on.fillRect(0, 0, size, size);
  on.fillRect(size, size, size, size);
  return context.createPattern(tile, "repeat");
}

/** A PNG at the photo's own size. */
export async function picture(photo, look) {
  const canvas = new OffscreenCanvas(photo.width, photo.height);
  const context = canvas.getContext("2d");
  if (!context) throw new Error("The photo is too large for this browser.");
  paint(context, photo, { scale: 1, x: 0, y: 0 }, look);
  if (look.kind === "mask" && photo.strokes.length) { // the brush has a smooth edge, a mask has two values
    const pixels = context.getImageData(0, 0, photo.width, photo.height);
    for (let i = 0; i < pixels.data.length; i++) pixels.data[i] = pixels.data[i] > 127 ? 255 : 0;
    context.putImageData(pixels, 0, 0);
  }
  return canvas.convertToBlob({ type: "image/png" });
}
