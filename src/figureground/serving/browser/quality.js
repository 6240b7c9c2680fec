// How good a mask is likely to be: prediction/photos/quality.py, at the size that the network sees.

/**
 * @param {Float32Array} probability (height, width)
 * @param model {threshold, quality, uncertain: [low, high], side}
 * @returns {{dice: number, needsReview: boolean}}
 */
export function judge(probability, height, width, { threshold, quality, uncertain, side }) {
  const mask = probability.map((p) => p > threshold);
  const area = sum(mask);
  if (!area) return { dice: 0, needsReview: true };
  const step = Math.max(1, Math.floor(Math.max(height, width) / side));
  const grid = [];
  for (let y = 0; y < height; y += step) for (let x = 0; x < width; x += step) grid.push(y * width + x);
  const seen = grid.map((at) => mask[at]);
  const figure = sum(seen);
  const band = grid.map((at) => probability[at]).filter((p) => p > uncertain[0] && p < uncertain[1]);
  const entropy = (p) => -(p * Math.log2(p) + (1 - p) * Math.log2(1 - p));
  const features = {
    expected_dice: (2 * sum(probability.map((p, i) => p * mask[i]))) / (area + sum(probability)),
    uncertain: Math.min(1, band.length / Math.max(figure, 1)),
    entropy: band.length ? sum(band.map(entropy)) / band.length : 0,
    area: figure / grid.length,
    scattered: figure ? 1 - largestPart(seen, Math.ceil(width / step)) / figure : 0,
  };
  const score = Object.entries(quality.weights).reduce((all, [name, weight]) => all + weight * features[name], quality.intercept);
  const dice = Math.min(1, Math.max(0, interpolated(score, quality.scores, quality.dice))) || 0;
  return { dice, needsReview: !(dice >= quality.review_below) };
}

const sum = (values) => values.reduce((a, b) => a + b, 0);

/** The height at x of straight lines between points. */
function interpolated(x, xs, ys) {
  const next = xs.findIndex((each) => each > x);
  if (next === 0) return ys[0];
  if (next < 0) return ys.at(-1);
  const share = (x - xs[next - 1]) / (xs[next] - xs[next - 1]);
  return ys[next - 1] + share * (ys[next] - ys[next - 1]);
}

/** The pixels of the largest part whose pixels touch, corners too. */
function largestPart(mask, width) {
  const left = Uint8Array.from(mask);
  let most = 0;
  for (let start = 0; start < left.length; start++) {
    const found = [];
    const take = (at) => {
      if (!left[at]) return;
      left[at] = 0;
      found.push(at);
    };
    take(start);
    for (let i = 0; i < found.length; i++) { // it grows meanwhile
      const x = found[i] % width;
      for (const row of [found[i] - width, found[i], found[i] + width]) {
        for (let dx = x ? -1 : 0; dx <= (x < width - 1 ? 1 : 0); dx++) take(row + dx);
      }
    }
    most = Math.max(most, found.length);
  }
  return most;
}
