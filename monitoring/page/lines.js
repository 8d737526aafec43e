"use strict";
/* Lines: how one line over time is drawn on a chart, with its dashes, markers, shades and bars.
 *
 * Dashes and markers, which repeat along a line, are tied to the time and not to the line's beginning: so
 * they move with the line and do not crawl along it. A chart gives its context, `x` and `y` for a time and
 * a value, its edges, and the serials between which frames are to be drawn.
 *
 * Global: Lines. Uses: Model.
 */

const Lines = (() => {
  const { CAPACITY, GAP_MS } = Model;

  const DASH_PX = 9;
  const DASH_ON = 0.6;
  const MARKER_PX = 110;
  const AGAIN_PX = 4; // width of a bar, at least
  // Fields whose greatest value within the second is shaded, and the field with that.
  const TOPS = { depth: "peak", delay: "longest" };

  // The points of the line that is being drawn.
  const xs = new Float64Array(CAPACITY + 1);
  const ys = new Float64Array(CAPACITY + 1);

  /** Lay the line's points into xs and ys; returns how many. NaN stands between parts that do not join. */
  function lay(chart, values) {
    const { times } = chart.model;
    let count = 0, last = -Infinity;
    for (let serial = chart.begin; serial < chart.end; serial += 1) {
      const slot = serial % CAPACITY;
      const at = times[slot];
      xs[count] = chart.x(at);
      ys[count] = at - last > GAP_MS && count && !Number.isNaN(ys[count - 1]) ? NaN : chart.y(values[slot]);
      if (Number.isNaN(ys[count]) && !Number.isNaN(values[slot])) { // a gap: part, then the point
        count += 1;
        xs[count] = xs[count - 1];
        ys[count] = chart.y(values[slot]);
      }
      last = at;
      count += 1;
    }
    return count;
  }

  function trace(chart, count) {
    const { context } = chart;
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

  /** The same in dashes, whose places follow from the time of day: of each `of` dashes number `turn`. */
  function traceDashed(chart, count, on, of = 1, turn = 0) {
    const { context } = chart;
    const period = DASH_PX * of;
    const perMs = (chart.right - chart.left) / chart.span;
    const shift = ((chart.from * perMs) % period) - chart.left - turn * DASH_PX;
    let end = NaN; // where the pen is: a dash over several seconds is one piece
    for (let i = 1; i < count; i += 1) {
      if (Number.isNaN(ys[i]) || Number.isNaN(ys[i - 1])) continue;
      const slope = (ys[i] - ys[i - 1]) / (xs[i] - xs[i - 1] || 1);
      let x = xs[i - 1];
      for (let n = Math.floor((x + shift) / period); x < xs[i]; n += 1) {
        const off = Math.min(n * period + on * DASH_PX - shift, xs[i]);
        if (off > x) {
          if (x !== end) context.moveTo(x, ys[i - 1] + slope * (x - xs[i - 1]));
          context.lineTo(off, ys[i - 1] + slope * (off - xs[i - 1]));
          end = off;
        }
        x = (n + 1) * period - shift;
      }
    }
  }

  /** All lines alike, or those of one service before the others. */
  const alphaOf = (line, view) => (!view.only || view.only === line.column.name ? 1 : 0.2);

  function drawMarkers(chart, line, view) {
    const { context } = chart;
    const { times } = chart.model;
    const values = line.column[line.field];
    context.strokeStyle = view.ink[line.colour];
    context.fillStyle = line.hollow ? view.ink.card : context.strokeStyle;
    context.lineWidth = 1.5;
    context.globalAlpha = alphaOf(line, view);
    const every = Math.max(1, Math.round((MARKER_PX * chart.span) / 1000 / (chart.right - chart.left)));
    // Lines that lie on one another show their markers side by side.
    const turn = Math.round((every * ((5 * line.slot + (line.dashed ? 2 : 0)) % 8)) / 8);
    for (let serial = chart.begin; serial < chart.end; serial += 1) {
      const slot = serial % CAPACITY;
      const value = values[slot];
      if (Number.isNaN(value) || Math.floor(times[slot] / 1000) % every !== turn) continue;
      const x = chart.x(times[slot]), y = chart.y(value);
      context.translate(x, y);
      context.fill(line.marker);
      if (line.hollow) context.stroke(line.marker);
      context.translate(-x, -y);
    }
  }

  /** All lines, each whole; then a piece of each in turn once more. So lines that lie on one another, as all
   *  do on a quiet system, are seen side by side and none hides the others. */
  function drawAll(chart, lines, view) {
    const { context } = chart;
    context.lineWidth = 2;
    context.lineJoin = "round";
    const stroke = (line, again) => {
      const count = lay(chart, line.column[line.field]);
      context.strokeStyle = view.ink[line.colour];
      context.globalAlpha = alphaOf(line, view);
      context.beginPath();
      if (again >= 0) traceDashed(chart, count, line.dashed ? DASH_ON : 1, lines.length, again);
      else if (line.dashed) traceDashed(chart, count, DASH_ON);
      else trace(chart, count);
      context.stroke();
    };
    context.lineCap = "round";
    for (const line of lines) stroke(line, -1);
    context.lineCap = "butt";
    if (lines.length > 1) lines.forEach(stroke);
    for (const line of lines) drawMarkers(chart, line, view);
    context.globalAlpha = 1;
  }

  /** From the depth at the full second, or the mean delay, up to the greatest within the second. */
  function shade(chart, line, view) {
    const { context } = chart;
    if (!(line.field in TOPS)) return;
    const { [line.field]: value, [TOPS[line.field]]: top } = line.column;
    context.fillStyle = view.ink[line.colour];
    context.globalAlpha = 0.22;
    const width = Math.max(1, (0.86 * 1000 * (chart.right - chart.left)) / chart.span);
    for (let serial = chart.begin; serial < chart.end; serial += 1) {
      const slot = serial % CAPACITY;
      if (!(top[slot] > value[slot])) continue;
      const high = chart.y(top[slot]);
      // The peak was somewhere in the second before the sample.
      context.fillRect(chart.x(view.model.times[slot]) - width, high, width, chart.y(value[slot]) - high);
    }
    context.globalAlpha = 1;
  }

  /** A bar for barks that were sent again: they were in the queue all at once, for too short a moment for
   *  the line. The bars of one second stand side by side, `part` of the way through it. */
  function drawAgain(chart, line, part, view) {
    const { context, down } = chart;
    const { again } = line.column;
    const second = (1000 * (chart.right - chart.left)) / chart.span;
    const width = Math.max(AGAIN_PX, 0.25 * second);
    context.fillStyle = view.ink[line.colour];
    context.strokeStyle = view.ink.failover;
    context.lineWidth = 1.5;
    for (let serial = chart.begin; serial < chart.end; serial += 1) {
      const slot = serial % CAPACITY;
      if (!(again[slot] > 0)) continue;
      const x = chart.x(view.model.times[slot]) - Math.max(second, 3 * AGAIN_PX) * (1 - part);
      const high = chart.y(again[slot]);
      context.fillRect(x, high, width, down - high);
      context.strokeRect(x, high, width, down - high);
    }
  }

  return { TOPS, drawAgain, drawAll, shade };
})();
