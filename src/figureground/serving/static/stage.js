// The photo on the screen: compare, zoom, move, and mend with the brush, by mouse, pen, finger or keys.

import { drawPhoto, paint } from "./paint.js";

const LARGEST = 32; // pixels of the screen for a pixel of the photo
const WHEEL = 1.0015;

export class Stage {
  /** changed() is called when a stroke of the brush has been made. */
  constructor(box, canvas, divider, changed) {
    Object.assign(this, { box, canvas, divider, changed });
    this.context = canvas.getContext("2d");
    this.photo = null;
    this.look = { kind: "cutout" };
    this.brush = "off";
    this.radius = 24; // in pixels of the screen
    this.pointers = new Map();
    this.cursor = null; // of the brush, in the photo
    new ResizeObserver(() => this.resize()).observe(box);
    divider.addEventListener("input", () => this.draw());
    canvas.addEventListener("pointerdown", (event) => this.down(event));
    canvas.addEventListener("pointermove", (event) => this.move(event));
    for (const end of ["pointerup", "pointercancel"]) canvas.addEventListener(end, (event) => this.up(event));
    canvas.addEventListener("pointerleave", () => this.point(null));
    canvas.addEventListener("wheel", (event) => this.wheel(event), { passive: false });
    canvas.addEventListener("keydown", (event) => this.key(event));
    canvas.addEventListener("dblclick", (event) => this.brush === "off" && this.zoom(2, this.at(event)));
  }

  /** Show a photo with its probabilities, or without (values: null). */
  show(photo) {
    const other = !photo || !this.photo || photo.bitmap !== this.photo.bitmap;
    this.photo = photo;
    this.stroke = this.cursor = null;
    if (other && photo) this.fit();
    this.draw();
  }

  get ratio() {
    return globalThis.devicePixelRatio || 1;
  }

  resize() {
    const { width, height } = this.box.getBoundingClientRect();
    const [w, h] = [Math.round(width * this.ratio), Math.round(height * this.ratio)];
    if (w === this.canvas.width && h === this.canvas.height) return;
    const fitted = this.fitted;
    Object.assign(this.canvas, { width: w, height: h });
    if (this.photo && fitted) this.fit();
    this.draw();
  }

  /** The view in which the whole photo is seen. */
  get whole() {
    const { width, height } = this.canvas;
    const scale = Math.max(1e-3, Math.min(width / this.photo.width, height / this.photo.height, 4 * this.ratio));
    return { scale, x: (this.photo.width - width / scale) / 2, y: (this.photo.height - height / scale) / 2 };
  }

  fit() {
    this.fitted = true;
    this.view = this.whole;
    this.draw();
  }

  /** Make it so many times as large, around a place of the canvas; none: its middle. */
  zoom(times, [x, y] = [this.canvas.width / 2, this.canvas.height / 2]) {
    if (!this.photo) return;
    const whole = this.whole.scale;
    const scale = Math.min(Math.max(this.view.scale * times, whole), Math.max(LARGEST, whole));
    this.moveTo({
      scale,
      x: this.view.x + x / this.view.scale - x / scale,
      y: this.view.y + y / this.view.scale - y / scale,
    });
  }

  /** A pixel of the photo for each of the screen. */
  actual() {
    if (this.photo) this.zoom(1 / this.view.scale);
  }

  /** Another view, but the photo stays in sight. */
  moveTo({ scale, x, y }) {
    const keep = (at, photo, canvas) => {
      const room = photo - canvas / scale;
      return room < 0 ? room / 2 : Math.min(Math.max(at, 0), room);
    };
    this.fitted = scale <= this.whole.scale * 1.001;
    this.view = { scale, x: keep(x, this.photo.width, this.canvas.width), y: keep(y, this.photo.height, this.canvas.height) };
    this.draw();
  }

  draw() {
    if (this.waiting) return;
    this.waiting = requestAnimationFrame(() => {
      this.waiting = 0;
      this.drawNow();
    });
  }

  drawNow() {
    const { context, canvas, photo, view } = this;
    context.clearRect(0, 0, canvas.width, canvas.height);
    const compares = Boolean(photo?.values) && this.brush === "off";
    this.box.classList.toggle("compares", compares);
    this.box.classList.toggle("brushes", this.brush !== "off");
    this.box.style.setProperty("--cut", `${this.divider.value}%`);
    if (!photo) return;
    if (!photo.values) return drawPhoto(context, photo, view);
    paint(context, photo, view, { ...this.look, screen: true, ghost: this.brush !== "off" });
    if (compares) {
      context.save();
      context.beginPath();
      context.rect(0, 0, (canvas.width * this.divider.value) / 100, canvas.height);
      context.clip();
      context.clearRect(0, 0, canvas.width, canvas.height);
      drawPhoto(context, photo, view);
      context.restore();
    } else if (this.cursor) {
      this.ring();
    }
  }

  /** Where the brush is: a ring that shows on dark and light. */
  ring() {
    const [x, y] = [(this.cursor[0] - this.view.x) * this.view.scale, (this.cursor[1] - this.view.y) * this.view.scale];
    for (const [style, more] of [["#fff", 0], ["#000", 1.5 * this.ratio]]) {
      this.context.strokeStyle = style;
      this.context.lineWidth = 1.5 * this.ratio;
      this.context.beginPath();
      this.context.arc(x, y, this.radius * this.ratio + more, 0, 2 * Math.PI);
      this.context.stroke();
    }
  }

  /** The place of a pointer on the canvas, in its pixels. */
  at(event) {
    const { left, top } = this.canvas.getBoundingClientRect();
    return [(event.clientX - left) * this.ratio, (event.clientY - top) * this.ratio];
  }

  inPhoto([x, y]) {
    return [this.view.x + x / this.view.scale, this.view.y + y / this.view.scale];
  }

  point(place) {
    if (this.brush === "off" || !this.photo) return;
    this.cursor = place && this.inPhoto(place);
    this.draw();
  }

  down(event) {
    if (!this.photo || event.button > 1) return;
    this.canvas.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.at(event));
    if (this.pointers.size === 2) this.cancelStroke(); // the first finger of a pinch is no stroke
    else if (this.brush !== "off" && this.photo.values && !event.button) this.begin(this.inPhoto(this.at(event)));
  }

  move(event) {
    const place = this.at(event);
    this.point(place);
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    this.pointers.set(event.pointerId, place);
    if (this.stroke) {
      this.stroke.points.push(...(event.getCoalescedEvents?.() ?? [event]).map((each) => this.inPhoto(this.at(each))));
      return this.draw();
    }
    const { scale } = this.view;
    const others = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    if (others.length === 1) {
      const far = ([x, y]) => Math.hypot(x - others[0][0], y - others[0][1]);
      this.zoom(far(place) / Math.max(1, far(before)), others[0]);
    } else if (!others.length) {
      this.moveTo({ scale, x: this.view.x - (place[0] - before[0]) / scale, y: this.view.y - (place[1] - before[1]) / scale });
    }
  }

  up(event) {
    this.pointers.delete(event.pointerId);
    if (this.stroke) this.end();
  }

  begin(place) {
    const radius = (this.radius * this.ratio) / this.view.scale;
    this.stroke = { add: this.brush === "add", radius, points: [place] };
    this.photo.strokes.push(this.stroke);
    this.draw();
  }

  cancelStroke() {
    if (this.stroke) this.photo.strokes.pop();
    this.stroke = null;
    this.draw();
  }

  end() {
    this.stroke = null;
    this.changed();
  }

  wheel(event) {
    if (!this.photo) return;
    event.preventDefault();
    const lines = event.deltaMode ? 33 : 1;
    this.zoom(WHEEL ** (-event.deltaY * lines * (event.ctrlKey ? 4 : 1)), this.at(event));
  }

  key(event) {
    const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
    if (!this.photo || event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key in arrows) this.arrow(arrows[event.key], event.shiftKey);
    else if (event.key === "+" || event.key === "=") this.zoom(1.25);
    else if (event.key === "-") this.zoom(0.8);
    else if (event.key === "0") this.fit();
    else if (event.key === " " && this.brush !== "off" && this.photo.values) {
      this.begin(this.cursor ?? this.middle);
      this.end();
    } else return;
    event.preventDefault();
  }

  get middle() {
    return this.inPhoto([this.canvas.width / 2, this.canvas.height / 2]);
  }

  arrow([right, down], far) {
    const { scale, x, y } = this.view;
    if (this.brush === "off") {
      const step = (far ? 200 : 40) / scale;
      return this.moveTo({ scale, x: x + right * step, y: y + down * step });
    }
    const step = ((far ? 4 : 0.5) * this.radius * this.ratio) / scale;
    const within = (at, length) => Math.min(Math.max(at, 0), length);
    const [atX, atY] = this.cursor ?? this.middle;
    this.cursor = [within(atX + right * step, this.photo.width), within(atY + down * step, this.photo.height)];
    this.draw();
  }
}
