// Resizing as Pillow does it, which the model was trained with: bytes to the bit, other numbers up to rounding.

const FRACTIONS = 2 ** 22; // in which Pillow counts the weights of bytes
const sinc = (x) => (x ? Math.sin(Math.PI * x) / (Math.PI * x) : 1);
const FILTERS = { // how far they reach, and what they weigh at a distance
  bilinear: [1, (x) => Math.max(0, 1 - Math.abs(x))],
  lanczos: [3, (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)],
};

/**
 * Pixels at another size, over the area that is shrunk.
 * @param {Uint8ClampedArray | Float32Array} pixels (height, width, channels)
 * @returns {Uint8ClampedArray | Float32Array} (toHeight, toWidth, channels)
 */
export function resized(pixels, [height, width, channels], [toHeight, toWidth], filter) {
  const bytes = pixels instanceof Uint8ClampedArray;
  const make = (length) => new pixels.constructor(length);
  const store = bytes ? (sum) => Math.floor(sum + 0.5) : (sum) => sum;
  const lower = height - toHeight > Math.max(0, 2 * (width - toWidth)); // then Pillow, from 13, begins with the columns
  return lower ? rows(columns(pixels, width), toHeight) : columns(rows(pixels, height), toWidth);

  function rows(from, tall) {
    if (width === toWidth) return from;
    const to = make(tall * toWidth * channels);
    weights(toWidth, width, filter, bytes).forEach(([first, shares], place) => {
      for (let y = 0; y < tall; y++) {
        for (let c = 0; c < channels; c++) {
          let sum = 0;
          let at = (y * width + first) * channels + c;
          for (let i = 0; i < shares.length; i++, at += channels) sum += from[at] * shares[i];
          to[(y * toWidth + place) * channels + c] = store(sum);
        }
      }
    });
    return to;
  }

  function columns(from, broad) {
    if (height === toHeight) return from;
    const row = broad * channels;
    const to = make(toHeight * row);
    weights(toHeight, height, filter, bytes).forEach(([first, shares], place) => {
      for (let x = 0; x < row; x++) {
        let sum = 0;
        for (let i = 0, at = first * row + x; i < shares.length; i++, at += row) sum += from[at] * shares[i];
        to[place * row + x] = store(sum);
      }
    });
    return to;
  }
}

/** For each of the new places: the first of the old ones that count, and how much each does. */
function weights(length, of, filter, bytes) {
  const [reach, weigh] = FILTERS[filter];
  const step = of / length;
  const wide = Math.max(1, step);
  return Array.from({ length }, (_, place) => {
    const middle = (place + 0.5) * step;
    const first = Math.max(0, Math.trunc(middle - reach * wide + 0.5));
    const last = Math.min(of, Math.trunc(middle + reach * wide + 0.5));
    const found = Float64Array.from({ length: last - first }, (_, i) => weigh((first + i - middle + 0.5) * (1 / wide)));
    const sum = found.reduce((a, b) => a + b, 0);
    const counted = (share) => Math.trunc(share * FRACTIONS + 0.5 * Math.sign(share)) / FRACTIONS;
    return [first, found.map((each) => (bytes ? counted(each / sum) : each / sum))];
  });
}
