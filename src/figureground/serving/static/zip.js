// A ZIP file that stores: PNG pictures are compressed already. (APPNOTE 6.3, sections 4.3.7, 4.3.12, 4.3.16)

const TABLE = Uint32Array.from({ length: 256 }, (_, n) => {
  for (let bit = 0; bit < 8; bit++) n = n & 1 ? 0xedb88320 ^ (n >>> 1) : n >>> 1;
  return n;
});
const LARGEST = 0xffffffff;

function crc32(bytes) {
  let crc = -1;
  for (const byte of bytes) crc = TABLE[(crc ^ byte) & 255] ^ (crc >>> 8);
  return ~crc >>> 0;
}

/** Numbers [value, bytes] one after another, least byte first. */
function packed(...numbers) {
  return Uint8Array.from(numbers.flatMap(([value, size]) => Array.from({ length: size }, (_, i) => value / 256 ** i)));
}

/** A ZIP file of [{name, blob}]; of equal names the later ones get a number. Throws an Error from 4 GB on. */
export async function zip(files) {
  const content = [], directory = [], taken = new Set();
  let offset = 0, directorySize = 0;
  for (const { name, blob } of files) {
    const label = new TextEncoder().encode(free(name, taken));
    const crc = crc32(new Uint8Array(await blob.arrayBuffer()));
    // version 2.0, names in UTF-8, stored, 1 January 1980: a photo's date is nobody's business
    const common = [[20, 2], [0x800, 2], [0, 2], [0, 2], [33, 2], [crc, 4], [blob.size, 4], [blob.size, 4],
      [label.length, 2], [0, 2]];
    const head = packed([0x04034b50, 4], ...common);
    const entry = packed([0x02014b50, 4], [20, 2], ...common, [0, 2], [0, 2], [0, 2], [0, 4], [offset, 4]);
    content.push(head, label, blob);
    directory.push(entry, label);
    offset += head.length + label.length + blob.size;
    directorySize += entry.length + label.length;
    if (offset > LARGEST || taken.size > 65534) throw new Error("All together is too much for one ZIP file; save fewer.");
  }
  const count = [taken.size, 2];
  const end = packed([0x06054b50, 4], [0, 2], [0, 2], count, count, [directorySize, 4], [offset, 4], [0, 2]);
  return new Blob([...content, ...directory, end], { type: "application/zip" });
}

function free(name, taken) {
  const [, stem, suffix] = name.match(/^(.*?)(\.[^.]*)?$/s);
  let wanted = name;
  for (let n = 2; taken.has(wanted); n++) wanted = `${stem}-${n}${suffix ?? ""}`;
  taken.add(wanted);
  return wanted;
}
