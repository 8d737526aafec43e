"use strict";
/* A chart: lines over time on a canvas, drawn anew for every frame of the screen; and vertical scales.
 *
 * It draws a view (the time, the frame that is pointed at, the colours). It keeps its size, the target of
 * its vertical scale, and the last view: a canvas that gets another size is blank, and is drawn anew
 * before the browser shows it.
 *
 * Global: Chart. Uses: Model, Words, Flags, Lines.
 */

const Chart = (() => {
  const { CAPACITY } = Model;
  const { clockText, tickText } = Words;

  const MARGIN = { left: 46, right: 10, top: 12, bottom: 24 };
  const NARROW_MARGIN = { left: 42, right: 6, top: 12, bottom: 24 };
  const LETTERS_PX = 15; // the page's, for which the sizes in the scripts are made; larger ones enlarge all
  const LEAST_PX = 0.2; // movement that is worth a drawing, in pixels of the screen
  // Seconds between two labels of the time axis; the first that leaves room for its text is taken.
  const TIME_STEPS = [5, 10, 15, 30, 60, 120, 300];
  const TIME_LABEL_PX = 74;
  const LABEL_PX = 12; // between two labels of the vertical axis, at least

  // --- Vertical axes: the place of a value, and the values that are written beside it ---

  const EASE_MS = 140;

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

  /** Powers of ten from 0.1 on, the smallest rate that ten seconds can show; and 0, which has no
   *  logarithm, half a power below. */
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

  /** Milliseconds, up to minutes. */
  class DelayScale extends LogScale {
    text(value) {
      return value < 1000 ? String(value) : `${value / 1000} s`;
    }
  }

  class Plot {
    constructor(root, scale, { showsEvents }) {
      this.root = root;
      this.canvas = root.querySelector("canvas");
      this.context = this.canvas.getContext("2d");
      this.scale = scale;
      this.showsEvents = showsEvents;
      this.lines = []; // {key, column, field, dashed, hidden, marker}
      this.width = this.height = 0;
      this.view = null; // the last that was drawn
      new ResizeObserver(() => {
        if (this.measure() && this.view) this.draw(this.view);
      }).observe(root);
      this.measure();
    }

    /** Follow the size of the page; says whether it has changed. */
    measure() {
      const zoom = parseFloat(getComputedStyle(this.root).fontSize) / LETTERS_PX;
      const width = this.root.clientWidth / zoom, height = this.root.clientHeight / zoom;
      const screen = window.devicePixelRatio, ratio = screen * zoom;
      if (this.width === width && this.height === height && this.ratio === ratio) return false;
      Object.assign(this, { width, height, zoom, screen, ratio, stale: true });
      const margin = width < 480 ? NARROW_MARGIN : MARGIN;
      this.left = margin.left;
      this.right = width - margin.right;
      this.up = margin.top + (this.showsEvents ? Flags.HEIGHT_PX : 0);
      this.down = height - margin.bottom;
      return true;
    }

    /** Setting a size clears a canvas: so call this only where all of it is drawn in the same turn. */
    resize() {
      const width = Math.round(this.width * this.ratio), height = Math.round(this.height * this.ratio);
      if (this.canvas.width !== width) this.canvas.width = width;
      if (this.canvas.height !== height) this.canvas.height = height;
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

    /** Is the change since the last drawing too small to be seen? Of ten minutes, a frame of the screen is
     *  a fiftieth of a pixel. */
    isCurrent(edge, span, cursor) {
      const pixels = (Math.abs(edge - this.edge) / span) * (this.right - this.left) * this.ratio;
      return !this.stale && !this.scale.eased.moving && this.screen === window.devicePixelRatio
        && this.span === span && this.cursor === cursor && pixels < LEAST_PX;
    }

    /** `view`: {model, edge, span, cursor (a serial or -1), ink (colours), now, still}. */
    draw(view) {
      if (window.devicePixelRatio !== this.screen) this.measure(); // dragged to another screen
      this.resize();
      this.view = view;
      const { context, left, right, up, down } = this;
      const { model, ink } = view;
      this.model = model;
      Object.assign(this, { stale: false, span: view.span, edge: view.edge, cursor: view.cursor });
      this.from = view.edge - view.span;
      this.begin = Math.max(model.first, model.nearest(this.from) - 2);
      this.end = Math.min(model.next, model.nearest(view.edge) + 3);
      this.scale.fit(this.most(), view.now, view.still);
      context.setTransform(this.ratio, 0, 0, this.ratio, 0, 0);
      context.clearRect(0, 0, this.width, this.height);
      context.font = "12px system-ui, sans-serif";
      this.drawGrid(ink);
      context.save();
      context.beginPath();
      context.rect(left, up - 4, right - left, down - up + 5);
      context.clip();
      Flags.drawPoles(this, ink);
      const shown = this.lines.filter((line) => !line.hidden);
      for (const line of shown) Lines.shade(this, line, view);
      Lines.drawAll(this, shown, view);
      shown.filter((line) => line.field === "depth")
        .forEach((line, i, lines) => Lines.drawAgain(this, line, i / lines.length, view));
      if (view.cursor >= 0) this.drawCursor(shown, view);
      context.restore();
      if (this.showsEvents) Flags.draw(this, ink);
    }

    most() {
      let most = 0;
      for (const { column, field, hidden } of this.lines) {
        if (hidden) continue;
        const values = column[field];
        const peaks = column[Lines.TOPS[field] ?? field];
        for (let serial = this.begin; serial < this.end; serial += 1) {
          const slot = serial % CAPACITY;
          if (values[slot] > most) most = values[slot];
          if (peaks[slot] > most) most = peaks[slot];
        }
      }
      return most;
    }

    drawGrid(ink) {
      const { context, left, right, up, down } = this;
      context.lineWidth = 1;
      context.textBaseline = "middle";
      context.textAlign = "right";
      let lowest = Infinity; // the place of the label below
      for (const [value, labelled] of this.scale.ticks()) {
        const y = Math.round(this.y(value)) + 0.5;
        if (y < up - 2) continue;
        context.strokeStyle = value === 0 ? ink.axis : labelled ? ink.grid : ink.faint;
        Flags.strokeLine(context, left, y, right, y);
        context.fillStyle = ink.quiet;
        if (!labelled || lowest - y < LABEL_PX) continue;
        lowest = y;
        context.fillText(this.scale.text?.(value) ?? tickText(value), left - 8, y);
      }
      const room = (right - left) / (this.span / 1000);
      const step = 1000 * (TIME_STEPS.find((seconds) => seconds * room > TIME_LABEL_PX) ?? 600);
      context.textAlign = "center";
      context.textBaseline = "alphabetic";
      for (let at = Math.ceil(this.from / step) * step; at <= this.from + this.span; at += step) {
        const x = this.x(at);
        context.strokeStyle = ink.faint;
        Flags.strokeLine(context, x, up, x, down + 4);
        // A label fades at the edge as a whole, rather than letter by letter.
        const part = Math.min(x - left + 10, right - 16 - x) / 14;
        context.globalAlpha = Math.max(0, Math.min(1, part));
        context.fillText(clockText(at), x, down + 18);
        context.globalAlpha = 1;
      }
    }

    drawCursor(lines, view) {
      const { context, up, down } = this;
      const slot = view.cursor % CAPACITY;
      const x = this.x(view.model.times[slot]);
      context.strokeStyle = view.ink.ink;
      context.lineWidth = 1;
      context.globalAlpha = 0.6;
      Flags.strokeLine(context, x, up, x, down);
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
  }

  return { DelayScale, LinearScale, LogScale, Plot };
})();
