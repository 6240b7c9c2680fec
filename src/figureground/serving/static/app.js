// The page: which photos there are, what became of each, and the settings of the one that is shown.

import * as engine from "./engine.js";
import { paint, picture } from "./paint.js";
import { Stage } from "./stage.js";
import { zip } from "./zip.js";

const $ = (id) => document.getElementById(id);
const THUMBNAIL = 160; // pixels of its longer side
const WORDS = [[0.95, "Looks very good"], [0.9, "Looks good"], [0.8, "Fair: look at the edge"], [0, "Poor: look closely"]];
const photos = []; // {file, name, state: waiting | working | done | failed, said, answer, threshold, strokes, undone, row}
let shown = null; // the photo that is chosen
let onStage = null; // the one that the stage shows, with its result
let backdrop = null;
let working = 0;
let listed = false; // photos wait until it is known which model they are for
const stage = new Stage($("stage"), $("canvas"), $("divider"), () => {
  shown.undone = [];
  refreshUndo();
  say("Brush stroke made.");
});

const checked = (name) => document.querySelector(`input[name=${name}]:checked`).value;
const say = (text) => { $("said").textContent = text; };
const shorten = (name) => name.replace(/\.[^.]*$/, "") || "photo";

function note(text) {
  $("notes").textContent = text;
  $("notes").hidden = !text;
}

// ---- photos come

function add(files) {
  const pictures = files.filter((file) => file.type.startsWith("image/"));
  const others = files.length - pictures.length;
  note(others ? `${others === 1 ? `${files.find((f) => !pictures.includes(f)).name} is no picture` : `${others} files are no pictures`} and was left out.` : "");
  for (const file of pictures) {
    const photo = { file, name: file.name || "pasted.png", state: "waiting", said: "", threshold: null, strokes: [], undone: [] };
    photos.push(photo);
    addRow(photo);
  }
  if (!pictures.length) return;
  $("start").hidden = true;
  for (const id of ["work", "add"]) $(id).hidden = false;
  if (!shown) show(photos[0]);
  refreshList();
  pump();
}

function addRow(photo) {
  const button = document.createElement("button");
  const thumbnail = document.createElement("canvas");
  const name = document.createElement("span");
  const state = document.createElement("span");
  Object.assign(thumbnail, { width: THUMBNAIL, height: THUMBNAIL });
  thumbnail.setAttribute("aria-hidden", "true");
  name.className = "name";
  name.textContent = photo.name;
  state.className = "state";
  button.type = "button";
  button.append(thumbnail, name, state);
  button.addEventListener("click", () => show(photo));
  const row = document.createElement("li");
  row.append(button);
  $("photos").append(row);
  photo.row = { button, thumbnail, state };
}

// ---- photos are worked on

function pump() {
  while (listed && working < engine.atOnce) {
    const photo = photos.find((each) => each.state === "waiting");
    if (!photo) break;
    working++;
    process(photo).finally(() => {
      working--;
      pump();
    });
  }
}

async function process(photo) {
  const model = $("model").value;
  photo.state = "working";
  refresh(photo);
  try {
    await drawThumbnail(photo);
    const answer = await engine.segment(photo.file, model, (seconds) => {
      photo.said = `Busy; tries again in ${Math.round(seconds)} s`;
      refresh(photo);
    });
    Object.assign(photo, { answer, threshold: photo.threshold ?? answer.threshold, state: "done", said: "" });
    await drawThumbnail(photo);
    say(`${photo.name}: ${verdict(photo)[0]}.`);
  } catch (error) {
    Object.assign(photo, { state: "failed", said: error.message });
    if (error.status === 401 && !$("ask").open) $("ask").showModal();
    say(`${photo.name}: ${error.message}`);
  }
  if (photo.state === "done" && $("model").value !== model) return again([photo]); // another was chosen meanwhile
  refresh(photo);
  if (photo === shown) await show(photo);
}

/** The photo's pixels, upright; throws an Error in words. */
async function decoded(photo) {
  return createImageBitmap(photo.file).catch(() => {
    throw new Error("This browser cannot show this kind of picture. Convert it to JPEG or PNG.");
  });
}

/** What paint.js takes. */
async function opened(photo) {
  const bitmap = await decoded(photo);
  const map = photo.state === "done" ? await photo.answer.map() : null;
  if (map && (map.width !== bitmap.width || map.height !== bitmap.height)) {
    throw new Error(`The answer has ${map.width}×${map.height} pixels, the photo ${bitmap.width}×${bitmap.height}.`);
  }
  const { threshold, strokes } = photo;
  return { bitmap, width: bitmap.width, height: bitmap.height, values: map?.values ?? null, threshold, strokes };
}

async function drawThumbnail(photo) {
  const seen = await opened(photo);
  const context = photo.row.thumbnail.getContext("2d");
  const scale = THUMBNAIL / Math.max(seen.width, seen.height);
  const view = { scale, x: (seen.width - THUMBNAIL / scale) / 2, y: (seen.height - THUMBNAIL / scale) / 2 };
  context.clearRect(0, 0, THUMBNAIL, THUMBNAIL);
  if (seen.values) paint(context, seen, view, { kind: "cutout" });
  else {
    context.imageSmoothingQuality = "high";
    context.drawImage(seen.bitmap, -view.x * scale, -view.y * scale, seen.width * scale, seen.height * scale);
  }
  seen.bitmap.close();
}

// ---- one photo is shown

async function show(photo) {
  const before = shown;
  shown = photo;
  if (before && before !== photo && before.state === "done") drawThumbnail(before).catch(() => {});
  refresh(photo);
  if (before && before !== photo) refresh(before);
  let seen = null;
  try {
    seen = await opened(photo);
  } catch (error) {
    Object.assign(photo, { state: "failed", said: photo.said || error.message });
  }
  if (shown !== photo) return seen?.bitmap.close(); // another was chosen meanwhile
  if (stage.photo) stage.photo.bitmap.close();
  if (seen && stage.photo && before === photo) stage.photo.bitmap = seen.bitmap; // the same photo: the view stays
  stage.show(seen);
  onStage = seen?.values ? photo : null;
  refresh(photo);
}

/** What is said of a result: the words, and why. */
function verdict(photo) {
  const { dice, needsReview } = photo.answer;
  const estimate = dice === null ? "" : `Estimated overlap with a perfect mask: ${Math.round(100 * dice)}%.`;
  if (needsReview) {
    return dice === 0 ? ["Needs review", "No figure was found, or nothing to tell how good it is."]
      : ["Needs review", `Look at it before you use it. ${estimate}`];
  }
  return [dice === null ? "Done" : WORDS.find(([least]) => dice >= least)[1], estimate];
}

function refresh(photo) {
  const { row, state } = photo;
  row.button.setAttribute("aria-current", String(photo === shown));
  row.state.textContent = { waiting: "Waiting", working: photo.said || "Working…", failed: "Failed", done: "" }[state];
  if (state === "done") row.state.textContent = photo.answer.needsReview ? "Needs review" : "Done";
  row.button.dataset.state = state === "done" && photo.answer.needsReview ? "review" : state;
  refreshList();
  if (photo === shown) refreshPanel();
}

function refreshPanel() {
  const { state, said, name } = shown;
  const done = state === "done" && onStage === shown;
  $("canvas").setAttribute("aria-label", done ? `${name} and its result` : name);
  $("cover").hidden = done;
  $("cover").classList.toggle("failed", state === "failed");
  $("cover-text").textContent = said || { waiting: "Waiting…", working: "Looking for the figure…", done: "Opening…" }[state];
  $("again").hidden = state !== "failed";
  $("panel").inert = !done;
  const [words, reason] = done ? verdict(shown) : [name, ""];
  $("verdict").dataset.state = done ? (shown.answer.needsReview ? "review" : "done") : "none";
  $("verdict-words").textContent = words;
  $("verdict-reason").textContent = reason;
  $("threshold").value = shown.threshold ?? 0.5;
  refreshThreshold();
  refreshUndo();
}

function refreshThreshold() {
  $("threshold-value").textContent = `${Math.round(100 * $("threshold").value)}%`;
  $("reset").disabled = shown?.answer?.threshold === shown?.threshold;
}

function refreshUndo() {
  $("undo").disabled = !shown?.strokes.length;
  $("redo").disabled = !shown?.undone.length;
}

function refreshList() {
  const count = (state) => photos.filter((photo) => photo.state === state).length;
  const [done, failed] = [count("done"), count("failed")];
  const finished = done + failed;
  $("progress").hidden = finished === photos.length;
  Object.assign($("progress"), { max: photos.length, value: finished });
  $("progress-text").textContent = `${done} of ${photos.length} done${failed ? `, ${failed} failed` : ""}`;
  $("list").hidden = photos.length < 2;
  $("save-all").hidden = photos.length < 2;
  $("save-all").disabled = !done || finished < photos.length;
  $("for-all").hidden = photos.length < 2;
  document.title = finished < photos.length ? `(${finished}/${photos.length}) figureground` : "figureground: cut-outs from photographs";
}

// ---- its settings

function look() {
  return { kind: checked("kind"), colour: $("colour").value, backdrop };
}

function refreshLook() {
  const kind = checked("kind");
  $("colour-choice").hidden = kind !== "colour";
  $("picture-choice").hidden = kind !== "picture";
  $("picture-choice").textContent = backdrop ? "Choose another picture" : "Choose a picture";
  $("after").textContent = kind === "mask" ? "Mask" : "Result";
  stage.look = look();
  stage.draw();
}

async function chooseBackdrop([file]) {
  if (!file) return;
  try {
    backdrop = await createImageBitmap(file);
    note("");
  } catch {
    note(`${file.name} cannot be shown by this browser; choose a JPEG or PNG picture.`);
  }
  refreshLook();
}

function setThreshold(value) {
  shown.threshold = value;
  if (stage.photo) stage.photo.threshold = value;
  $("threshold").value = value;
  refreshThreshold();
  stage.draw();
}

function takeBack(from, to) {
  if (!shown?.[from].length) return;
  shown[to].push(shown[from].pop());
  refreshUndo();
  stage.draw();
  say(from === "strokes" ? "Brush stroke undone." : "Brush stroke made again.");
}

// ---- results leave

function download(blob, name) {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

async function result(photo) {
  const seen = await opened(photo);
  try {
    return { name: `${shorten(photo.name)}-${look().kind}.png`, blob: await picture(seen, look()) };
  } finally {
    seen.bitmap.close();
  }
}

async function saving(button, make) {
  const words = button.textContent;
  button.disabled = true;
  try {
    await make((text) => { button.textContent = text; });
    note("");
  } catch (error) {
    note(`It could not be saved: ${error.message}`);
  }
  button.textContent = words;
  button.disabled = false;
}

const save = () => saving($("save"), async () => {
  const { name, blob } = await result(shown);
  download(blob, name);
  say(`${name} saved.`);
});

const saveAll = () => saving($("save-all"), async (tell) => {
  const done = photos.filter((photo) => photo.state === "done");
  const files = [];
  for (const photo of done) { // one after another: each is large while it is made
    tell(`Saving ${files.length + 1} of ${done.length}…`);
    files.push(await result(photo));
  }
  download(await zip(files), "figureground.zip");
  say(`${files.length} pictures saved as figureground.zip.`);
});

// ---- everything is connected

/** From the start, with the model's own threshold; strokes of the brush stay. */
function again(chosen) {
  for (const photo of chosen) Object.assign(photo, { state: "waiting", said: "", threshold: null });
  chosen.forEach(refresh);
  pump();
}

async function listModels() {
  const models = await engine.models().catch(() => []);
  $("model").replaceChildren(...models.map(({ name, default: preset }) => new Option(name, name, preset, preset)));
  $("model-choice").hidden = models.length < 2;
  listed = true;
  pump();
}

for (const button of document.querySelectorAll(".choose")) button.addEventListener("click", () => $("files").click());
$("camera").addEventListener("click", () => $("shot").click());
for (const [id, take] of [["files", add], ["shot", add], ["backdrop", chooseBackdrop]]) {
  $(id).addEventListener("change", ({ target }) => {
    take([...target.files]);
    target.value = ""; // so that the same may be chosen again
  });
}
addEventListener("paste", (event) => event.clipboardData.files.length && add([...event.clipboardData.files]));
addEventListener("dragover", (event) => {
  event.preventDefault();
  $("dropping").hidden = false;
});
addEventListener("dragleave", (event) => { $("dropping").hidden = event.relatedTarget === null; });
addEventListener("drop", (event) => {
  event.preventDefault();
  $("dropping").hidden = true;
  add([...event.dataTransfer.files]);
});
addEventListener("keydown", (event) => {
  if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
  event.preventDefault();
  if (event.shiftKey) takeBack("undone", "strokes");
  else takeBack("strokes", "undone");
});
$("ask").addEventListener("close", () => {
  if (!$("key").value) return;
  engine.useKey($("key").value);
  $("key").value = "";
  listModels();
  again(photos.filter((photo) => photo.state === "failed"));
});
$("panel").addEventListener("submit", (event) => event.preventDefault());
$("panel").addEventListener("change", ({ target }) => {
  if (target.name === "kind") {
    refreshLook();
    if (target.value === "picture" && !backdrop) $("backdrop").click();
  }
  if (target.name === "brush") {
    stage.brush = target.value;
    stage.cursor = null;
    stage.draw();
  }
});
$("colour").addEventListener("input", refreshLook);
$("picture-choice").addEventListener("click", () => $("backdrop").click());
$("threshold").addEventListener("input", () => setThreshold(Number($("threshold").value)));
$("reset").addEventListener("click", () => setThreshold(shown.answer.threshold));
$("for-all").addEventListener("click", () => {
  for (const photo of photos) photo.threshold = shown.threshold;
  for (const photo of photos) if (photo.state === "done") drawThumbnail(photo).catch(() => {});
  say(`Threshold ${$("threshold-value").textContent} for all photos.`);
});
$("size").addEventListener("input", () => {
  stage.radius = $("size").value / 2;
  $("size-value").textContent = $("size").value;
});
$("undo").addEventListener("click", () => takeBack("strokes", "undone"));
$("redo").addEventListener("click", () => takeBack("undone", "strokes"));
$("smaller").addEventListener("click", () => stage.zoom(1 / 1.5));
$("larger").addEventListener("click", () => stage.zoom(1.5));
$("fit").addEventListener("click", () => stage.fit());
$("full").addEventListener("click", () => stage.actual());
$("again").addEventListener("click", () => again([shown]));
$("save").addEventListener("click", save);
$("save-all").addEventListener("click", saveAll);
$("model").addEventListener("change", () => again(photos.filter((photo) => photo.state !== "working")));
$("privacy").textContent = engine.privacy;
$("size").dispatchEvent(new Event("input"));
refreshLook();
listModels();
