// A grey PNG of 8 or 16 bits as numbers. A canvas would keep 8 of the 16 bits.

const SIGNATURE = "137,80,78,71,13,10,26,10";

/** {width, height, values}: Uint16Array of width × height, 65,535 = 1. Throws an Error for any other kind of PNG. */
export async function readGrey(blob) {
  const bytes = new Uint8Array(await blob.arrayBuffer());
  const view = new DataView(bytes.buffer);
  if (bytes.subarray(0, 8).join() !== SIGNATURE) throw new Error("The answer is no PNG picture.");
  let head = null;
  const parts = [];
  for (let at = 8; at + 12 <= bytes.length; ) {
    const length = view.getUint32(at);
    const kind = String.fromCharCode(...bytes.subarray(at + 4, at + 8));
    if (kind === "IHDR") {
      head = { width: view.getUint32(at + 8), height: view.getUint32(at + 12), bits: bytes[at + 16] };
      if (bytes[at + 17] !== 0 || head.bits < 8 || bytes[at + 20]) throw new Error("The answer is no grey PNG picture.");
    }
    if (kind === "IDAT") parts.push(bytes.subarray(at + 8, at + 8 + length));
    at += length + 12;
  }
  const { width, height, bits } = head;
  const stream = new Blob(parts).stream().pipeThrough(new DecompressionStream("deflate"));
  const rows = new Uint8Array(await new Response(stream).arrayBuffer());
  const step = bits / 8;
  unfilter(rows, width * step, height, step);
  const values = new Uint16Array(width * height);
  for (let y = 0, to = 0; y < height; y++) {
    let from = y * (width * step + 1) + 1;
    for (let x = 0; x < width; x++, from += step) {
      values[to++] = (rows[from] << 8) | rows[from + step - 1];
    }
  }
  return { width, height, values };
}

/** Undo the filters of PNG (specification, section 9) in place; each row has its filter's number before it. */
function unfilter(rows, length, height, step) {
  const filters = [
    null,
    (left) => left,
    (left, above) => above,
    (left, above) => (left + above) >> 1,
    paeth,
  ];
  for (let y = 0; y < height; y++) {
    const start = y * (length + 1) + 1;
    const filter = filters[rows[start - 1]];
    if (!filter) continue;
    for (let at = start; at < start + length; at++) {
      const inside = at - start >= step;
      const up = at - length - 1;
      rows[at] += filter(inside ? rows[at - step] : 0, y ? rows[up] : 0, y && inside ? rows[up - step] : 0);
    }
  }
}

function paeth(left, above, corner) {
  const [a, b, c] = [Math.abs(above - corner), Math.abs(left - corner), Math.abs(left + above - 2 * corner)];
  return a <= b && a <= c ? left : b <= c ? above : corner;
}
