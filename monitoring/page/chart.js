"use strict";

/* A chart: lines over time on a canvas, drawn anew for every frame of the screen.
 *
 * It is given a view (which time, which frame is pointed at, which colours) and draws it; it keeps
 * nothing but its size and where its vertical scale is on the way to. Whatever repeats along a line,
 * dashes and markers, is tied to the time and not to the line's beginning: so it moves with the line
 * and does not crawl along it.
 */

const MARGIN = { left: 46, right: 10, top: 12, bottom: 24 };
const NARROW_MARGIN = { left: 38, right: 6, top: 12, bottom: 24 };
// Above a chart that shows events: lines of text for them.
const LANES = 2;
const LANE_PX = 16;
const DASH_PX = 9;
const DASH_ON = 0.6;
const MARKER_PX = 110;
const AGAIN_PX = 4; // width of a bar, at least
const EASE_MS = 140;
const LEAST_PX = 0.2; // movement that is worth a drawing, in pixels of the screen
// Seconds between two labels of the time axis; the first that leaves room for its text is taken.
const TIME_STEPS = [5, 10, 15, 30, 60, 120, 300];
const TIME_LABEL_PX = 74;

/** Rises and falls smoothly, and is exact at rest. */
class Eased {
  constructor() {
    this.value = null;
    this.moving = false;
    this.then = 0;
  }

  towards(target, now, still) {
    const part = 1 - Math.exp(-(now - this.then) / EASE_MS);
    this.then = now;
    this.moving = !(this.value === null || still || Math.abs(target - this.value) < 0.004 * target);
    this.value = this.moving ? this.value + part * (target - this.value) : target;
    return this.value;
  }
}

class LinearScale {
  constructor() {
    this.top = 10;
    this.eased = new Eased();
  }

  fit(most, now, still) {
    const rough = Math.max(8, 1.12 * most) / 4;
    const power = 10 ** Math.floor(Math.log10(rough));
    this.step = power * [1, 2, 2.5, 5, 10].find((n) => n * power >= rough && (n * power) % 1 === 0);
    this.top = this.eased.towards(4 * this.step, now, still);
  }

  /** 0 at the bottom, 1 at the top. */
  part(value) {
    return value / this.top;
  }

  ticks() {
    const ticks = [];
    for (let value = 0; value <= 1.001 * this.top; value += this.step) ticks.push([value, true]);
    return ticks;
  }
}

/** Powers of ten from 0.1 on, the least that ten seconds can show; and 0, which has no logarithm,
 *  half a power below. */
class LogScale {
  constructor() {
    this.top = 2;
    this.eased = new Eased();
  }

  fit(most, now, still) {
    this.top = this.eased.towards(Math.max(1, Math.ceil(Math.log10(Math.max(1, 1.15 * most)))), now, still);
    this.zero = 0.5 / (this.top + 1.5);
  }

  part(value) {
    if (value < 0.1) return 10 * value * this.zero;
    return this.zero + ((Math.log10(value) + 1) / (this.top + 1)) * (1 - this.zero);
  }

  ticks() {
    const ticks = [[0, true]];
    for (let power = -1; power <= this.top + 0.01; power += 1) {
      ticks.push([10 ** power, true]);
      for (let n = 2; n < 10 && power < this.top; n += 1) ticks.push([n * 10 ** power, false]);
    }
    return ticks;
  }
}

class Chart {
  constructor(root, scale, { showsEvents }) {
    this.root = root;
    this.canvas = root.querySelector("canvas");
    this.context = this.canvas.getContext("2d");
    this.scale = scale;
    this.showsEvents = showsEvents;
    this.lines = []; // {key, column, field, dashed, hidden, marker}
    this.xs = new Float64Array(CAPACITY + 1);
    this.ys = new Float64Array(CAPACITY + 1);
    this.width = this.height = 0;
    new ResizeObserver(() => this.measure()).observe(root);
    this.measure();
  }

  measure() {
    const { clientWidth, clientHeight } = this.root;
    const ratio = window.devicePixelRatio || 1;
    if (this.width === clientWidth && this.height === clientHeight && this.ratio === ratio) return;
    Object.assign(this, { width: clientWidth, height: clientHeight, ratio, stale: true });
    this.canvas.width = Math.round(clientWidth * ratio);
    this.canvas.height = Math.round(clientHeight * ratio);
    const margin = clientWidth < 480 ? NARROW_MARGIN : MARGIN;
    this.left = margin.left;
    this.right = clientWidth - margin.right;
    this.up = margin.top + (this.showsEvents ? LANES * LANE_PX : 0);
    this.down = clientHeight - margin.bottom;
  }

  x(at) {
    return this.left + ((at - this.from) / this.span) * (this.right - this.left);
  }

  y(value) {
    return this.down - this.scale.part(value) * (this.down - this.up);
  }

  timeAt(x) {
    return this.from + ((x - this.left) / (this.right - this.left)) * this.span;
  }

  /** Has so little changed since the last drawing that nobody would see it? Of ten minutes, a frame of
   *  the screen is a fiftieth of a pixel. */
  isCurrent(edge, span, cursor) {
    const pixels = (Math.abs(edge - this.edge) / span) * (this.right - this.left) * this.ratio;
    return !this.stale && !this.scale.eased.moving && this.ratio === window.devicePixelRatio
      && this.span === span && this.cursor === cursor && pixels < LEAST_PX;
  }

  /** `view`: {model, edge, span, cursor (a serial or -1), ink (colours), now, still}. */
  draw(view) {
    if (window.devicePixelRatio !== this.ratio) this.measure(); // dragged to another screen
    const { context, left, right, up, down } = this;
    const { model, ink } = view;
    this.model = model;
    Object.assign(this, { stale: false, span: view.span, edge: view.edge, cursor: view.cursor });
    this.from = view.edge - view.span;
    this.begin = Math.max(model.first, model.nearest(this.from) - 2);
    this.end = Math.min(model.next, model.nearest(view.edge) + 3);
    this.scale.fit(this.most(model), view.now, view.still);
    context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
    context.clearRect(0, 0, this.width, this.height);
    context.font = "12px system-ui, sans-serif";
    this.drawGrid(ink);
    context.save();
    context.beginPath();
    context.rect(left, up - 4, right - left, down - up + 5);
    context.clip();
    this.drawEventLines(model, ink);
    const shown = this.lines.filter((line) => !line.hidden);
    for (const line of shown) if (line.column.role === "outbox" && !line.dashed) this.shade(line, view);
    for (const line of shown) this.drawLine(line, view);
    shown.filter((line) => line.field === "depth").forEach((line, i, lines) => this.drawAgain(line, i / lines.length, view));
    if (view.cursor >= 0) this.drawCursor(shown, view);
    context.restore();
    if (this.showsEvents) this.drawFlags(model, ink);
  }

  most(model) {
    let most = 0;
    for (const { column, field, hidden } of this.lines) {
      if (hidden) continue;
      const values = column[field];
      const peaks = field === "depth" ? column.peak : values;
      for (let serial = this.begin; serial < this.end; serial += 1) {
        const slot = serial % CAPACITY;
        if (values[slot] > most) most = values[slot];
        if (peaks[slot] > most) most = peaks[slot];
      }
    }
    return most;
  }

  // --- Axes ---

  drawGrid(ink) {
    const { context, left, right, up, down } = this;
    context.lineWidth = 1;
    context.textBaseline = "middle";
    context.textAlign = "right";
    for (const [value, labelled] of this.scale.ticks()) {
      const y = Math.round(this.y(value)) + 0.5;
      if (y < up - 2) continue;
      context.strokeStyle = value === 0 ? ink.axis : labelled ? ink.grid : ink.faint;
      context.beginPath();
      context.moveTo(left, y);
      context.lineTo(right, y);
      context.stroke();
      context.fillStyle = ink.quiet;
      if (labelled) context.fillText(tickText(value), left - 8, y);
    }
    const room = (right - left) / (this.span / 1000);
    const step = 1000 * (TIME_STEPS.find((seconds) => seconds * room > TIME_LABEL_PX) ?? 600);
    context.textAlign = "center";
    context.textBaseline = "alphabetic";
    for (let at = Math.ceil(this.from / step) * step; at <= this.from + this.span; at += step) {
      const x = this.x(at);
      context.strokeStyle = ink.faint;
      context.beginPath();
      context.moveTo(x, up);
      context.lineTo(x, down + 4);
      context.stroke();
      // A label leaves at the edge as a whole, rather than letter by letter.
      const room = Math.min(x - left + 10, right - 16 - x) / 14;
      context.globalAlpha = Math.max(0, Math.min(1, room));
      context.fillText(clockText(at), x, down + 18);
      context.globalAlpha = 1;
    }
  }

  // --- Lines ---

  /** Lay the line's points into xs and ys; returns how many. NaN parts what is not connected. */
  lay(values) {
    const { xs, ys } = this;
    const { times } = this.model;
    let count = 0, last = -Infinity;
    for (let serial = this.begin; serial < this.end; serial += 1) {
      const slot = serial % CAPACITY;
      const at = times[slot];
      xs[count] = this.x(at);
      ys[count] = at - last > GAP_MS && count && !Number.isNaN(ys[count - 1]) ? NaN : this.y(values[slot]);
      if (Number.isNaN(ys[count]) && !Number.isNaN(values[slot])) { // a gap: part, then the point
        count += 1;
        xs[count] = xs[count - 1];
        ys[count] = this.y(values[slot]);
      }
      last = at;
      count += 1;
    }
    return count;
  }

  drawLine(line, view) {
    const { context } = this;
    const values = line.column[line.field];
    const count = this.lay(values);
    context.strokeStyle = context.fillStyle = view.ink[line.colour];
    context.lineWidth = 2;
    context.lineJoin = context.lineCap = "round";
    context.beginPath();
    if (line.dashed) this.traceDashed(count);
    else this.trace(count);
    context.stroke();
    this.drawMarkers(line, values);
  }

  trace(count) {
    const { context, xs, ys } = this;
    let pen = false;
    for (let i = 0; i < count; i += 1) {
      if (Number.isNaN(ys[i])) pen = false;
      else if (pen) context.lineTo(xs[i], ys[i]);
      else {
        context.moveTo(xs[i], ys[i]);
        if (!(i + 1 < count && !Number.isNaN(ys[i + 1]))) context.lineTo(xs[i] + 0.01, ys[i]); // a dot
        pen = true;
      }
    }
  }

  /** The same in dashes, which begin where the time of day says. */
  traceDashed(count) {
    const { context, xs, ys } = this;
    const perMs = (this.right - this.left) / this.span;
    const shift = ((this.from * perMs) % DASH_PX) - this.left;
    for (let i = 1; i < count; i += 1) {
      if (Number.isNaN(ys[i]) || Number.isNaN(ys[i - 1])) continue;
      const slope = (ys[i] - ys[i - 1]) / (xs[i] - xs[i - 1] || 1);
      let x = xs[i - 1];
      for (let n = Math.floor((x + shift) / DASH_PX); x < xs[i]; n += 1) {
        const off = Math.min((n + DASH_ON) * DASH_PX - shift, xs[i]);
        if (off > x) {
          context.moveTo(x, ys[i - 1] + slope * (x - xs[i - 1]));
          context.lineTo(off, ys[i - 1] + slope * (off - xs[i - 1]));
        }
        x = (n + 1) * DASH_PX - shift;
      }
    }
  }

  drawMarkers(line, values) {
    const { context } = this;
    const { times } = this.model;
    const every = Math.max(1, Math.round((MARKER_PX * this.span) / 1000 / (this.right - this.left)));
    // Lines that lie on one another show their markers side by side.
    const turn = Math.round((every * ((5 * line.slot + (line.dashed ? 2 : 0)) % 8)) / 8);
    for (let serial = this.begin; serial < this.end; serial += 1) {
      const slot = serial % CAPACITY;
      const value = values[slot];
      if (Number.isNaN(value) || Math.floor(times[slot] / 1000) % every !== turn) continue;
      const x = this.x(times[slot]), y = this.y(value);
      context.translate(x, y);
      context.fill(line.marker);
      context.translate(-x, -y);
    }
  }

  /** From the depth at the full second up to the deepest that it was within the second. */
  shade(line, view) {
    const { context } = this;
    if (line.field !== "depth") return;
    const { depth, peak } = line.column;
    context.fillStyle = view.ink[line.colour];
    context.globalAlpha = 0.22;
    const width = Math.max(1, (0.86 * 1000 * (this.right - this.left)) / this.span);
    for (let serial = this.begin; serial < this.end; serial += 1) {
      const slot = serial % CAPACITY;
      if (!(peak[slot] > depth[slot])) continue;
      const high = this.y(peak[slot]);
      // The peak was somewhere in the second before the sample.
      context.fillRect(this.x(view.model.times[slot]) - width, high, width, this.y(depth[slot]) - high);
    }
    context.globalAlpha = 1;
  }

  /** A bar for barks that were sent again: they were in the queue all at once, in a moment too short
   *  for the line. The bars of one second stand side by side, `part` of the way through it. */
  drawAgain(line, part, view) {
    const { context, down } = this;
    const { again } = line.column;
    const second = (1000 * (this.right - this.left)) / this.span;
    const width = Math.max(AGAIN_PX, 0.25 * second);
    context.fillStyle = view.ink[line.colour];
    context.strokeStyle = view.ink.failover;
    context.lineWidth = 1.5;
    for (let serial = this.begin; serial < this.end; serial += 1) {
      const slot = serial % CAPACITY;
      if (!(again[slot] > 0)) continue;
      const x = this.x(view.model.times[slot]) - Math.max(second, 3 * AGAIN_PX) * (1 - part);
      const high = this.y(again[slot]);
      context.fillRect(x, high, width, down - high);
      context.strokeRect(x, high, width, down - high);
    }
  }

  // --- What is pointed at, and what happened ---

  drawCursor(lines, view) {
    const { context, up, down } = this;
    const slot = view.cursor % CAPACITY;
    const x = this.x(view.model.times[slot]);
    context.strokeStyle = view.ink.ink;
    context.lineWidth = 1;
    context.globalAlpha = 0.6;
    context.beginPath();
    context.moveTo(x, up);
    context.lineTo(x, down);
    context.stroke();
    context.globalAlpha = 1;
    for (const line of lines) {
      const value = line.column[line.field][slot];
      if (Number.isNaN(value)) continue;
      context.beginPath();
      context.arc(x, this.y(value), 4.5, 0, 7);
      context.fillStyle = view.ink.card;
      context.fill();
      context.strokeStyle = view.ink[line.colour];
      context.lineWidth = 2.5;
      context.stroke();
    }
  }

  drawEventLines(model, ink) {
    const { context, up, down } = this;
    context.lineWidth = 1.5;
    context.setLineDash([2, 3]);
    for (const event of model.events) {
      if (event.at < this.from) continue;
      const x = this.x(event.at);
      context.strokeStyle = ink[event.what] ?? ink.quiet;
      context.beginPath();
      context.moveTo(x, up - 4);
      context.lineTo(x, down);
      context.stroke();
    }
    context.setLineDash([]);
  }

  /** Each event in words above its line, the latest first, in a lane with room; else as a glyph. */
  drawFlags(model, ink) {
    const { context, left, right, width } = this;
    const begins = new Array(LANES).fill(Infinity);
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    for (let i = model.events.length - 1; i >= 0; i -= 1) {
      const event = model.events[i];
      const x = this.x(event.at);
      if (x > right) continue;
      if (event.at < this.from) break;
      const glyph = GLYPHS[event.what] ?? "•";
      let text = `${glyph} ${eventText(event)}`;
      let size = context.measureText(text).width;
      // At the right edge words stand to the left of where they belong, while they fit there.
      let begin = Math.max(left - 5, Math.min(x - 5, width - size));
      let lane = begins.findIndex((next) => begin + size + 8 < next);
      if (lane < 0) {
        text = glyph;
        size = 10;
        begin = x - 5;
        lane = begins.findIndex((next) => begin + size < next);
        if (lane < 0) continue; // its line is there, and the list below says what it was
      }
      begins[lane] = begin;
      context.fillStyle = ink[event.what] ?? ink.quiet;
      context.fillText(text, begin, 13 + lane * LANE_PX);
    }
  }
}
