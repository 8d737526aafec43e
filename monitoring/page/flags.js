"use strict";
/* Flags: events, as poles in the plot with words above it.
 *
 * Each event stands on a pole at its time. Above the plot are lanes for text. A flag is a glyph on top of
 * its pole, and where there is room words beside it: to the right, or to the left near the right edge.
 * A pole ends at its own glyph, so words pass above the glyphs of lower lanes, and over nothing else:
 * neither where another pole comes down nor above a pole without a glyph. In a crowd some poles stay bare,
 * and glyphs without words: the list below the graphs has the words of all.
 *
 * Global: Flags. Uses: Words.
 */

const Flags = (() => {
  const { clockText, eventText, glyphOf, kindOf } = Words;

  // Lanes of text, the first one on top, and the height of each.
  const LANES = 3;
  const LANE_PX = 16;
  const GLYPH_PX = 12; // the width of a glyph, which stands in the middle above its pole
  const GAP_PX = 2; // between two flags, at least
  // Which flags get words first: moves of the traffic and work for a person, then ends, then the rest.
  const WEIGHTS = { failover: 2, "dead-letter": 2, waits: 2, died: 1, silent: 1, stopped: 1 };
  const MAX_WORDS = 40; // more than fit a wide screen
  const SAME_PX = 3; // poles that are closer than this look like one

  /** The places of the flags of these poles: {event, x, text, begin, end, lane}. `poles`: {event, x} in the
   *  order of time; the latest come first. `measure(text)` is a width in pixels; words stay between
   *  `left` and `right`. */
  function layout(poles, measure, left, right) {
    const latestFirst = [...poles].reverse();
    const flags = [], bare = [];
    for (const { event, x } of latestFirst) {
      const flag = { event, x, text: glyphOf(event), begin: x - GLYPH_PX / 2, end: x + GLYPH_PX / 2 };
      flag.lane = laneFor(flag, flags, []);
      if (flag.lane < 0) bare.push(flag);
      else flags.push(flag);
    }
    const weight = ({ event }) => WEIGHTS[kindOf(event)] ?? 0;
    const heaviestFirst = flags.slice(0, MAX_WORDS).sort((a, b) => weight(b) - weight(a)); // latest first among equals
    for (const flag of heaviestFirst) {
      const others = flags.filter((other) => other !== flag);
      for (const wordy of withWords(flag, measure)) {
        if (wordy.begin < left || wordy.end > right) continue;
        const lane = laneFor(wordy, others, bare);
        if (lane < 0) continue;
        Object.assign(flag, wordy, { lane });
        break;
      }
    }
    return flags;
  }

  /** The words behind the glyph, and before it; the glyph stands in the middle above the pole. */
  function withWords({ event, x }, measure) {
    const glyph = glyphOf(event), words = eventText(event);
    const size = measure(`${glyph} ${words}`), half = measure(glyph) / 2;
    return [
      { x, text: `${glyph} ${words}`, begin: x - half, end: x - half + size },
      { x, text: `${words} ${glyph}`, begin: x + half - size, end: x + half },
    ];
  }

  /** The lowest lane in which a flag is in no other's way; -1 for none. */
  function laneFor({ x, begin, end }, others, bare) {
    const isOver = (flag, pole) => flag.begin < pole.x && pole.x < flag.end && Math.abs(flag.x - pole.x) >= SAME_PX;
    const flag = { x, begin, end };
    if (bare.some((pole) => isOver(flag, pole))) return -1;
    for (let lane = LANES - 1; lane >= 0; lane -= 1) {
      const isFree = others.every((other) => {
        if (other.lane === lane) return other.end + GAP_PX <= begin || end + GAP_PX <= other.begin;
        return other.lane < lane ? !isOver(flag, other) : !isOver(other, flag);
      });
      if (isFree) return lane;
    }
    return -1;
  }

  function strokeLine(context, x1, y1, x2, y2) {
    context.beginPath();
    context.moveTo(x1, y1);
    context.lineTo(x2, y2);
    context.stroke();
  }

  const polesOf = (chart) => chart.model.events.filter((event) => event.at >= chart.from && chart.x(event.at) <= chart.right)
    .map((event) => ({ event, x: chart.x(event.at) }));

  const inkOf = (event, ink) => ink[kindOf(event)] ?? ink.quiet;

  function drawPoles(chart, ink) {
    const { context, up, down } = chart;
    context.lineWidth = 1.5;
    context.setLineDash([2, 3]);
    for (const { event, x } of polesOf(chart)) {
      context.strokeStyle = inkOf(event, ink);
      strokeLine(context, x, up, x, down);
    }
    context.setLineDash([]);
  }

  const widths = new Map(); // of texts, for measuring costs more than all the rest

  function measured(context, text) {
    if (widths.size > 1000) widths.clear();
    if (!widths.has(text)) widths.set(text, context.measureText(text).width);
    return widths.get(text);
  }

  /** Words above the plot, and the parts of the poles that lead to them. */
  function draw(chart, ink) {
    const { context, up, left, right } = chart;
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    context.lineWidth = 1.5;
    const flags = layout(polesOf(chart), (text) => measured(context, text), left - 8, right + 8);
    for (const { event, x, text, begin, lane } of flags) {
      context.strokeStyle = context.fillStyle = inkOf(event, ink);
      context.globalAlpha = 0.5;
      strokeLine(context, x, (lane + 1) * LANE_PX, x, up);
      context.globalAlpha = 1;
      context.fillText(text, begin, 12 + lane * LANE_PX);
    }
  }

  /** The events of the second that is pointed at, in words. */
  function wordsAt(model, serial) {
    return model.events.filter((event) => event.serial === serial).map((event) => `${clockText(event.at)} ${eventText(event)}`);
  }

  return { HEIGHT_PX: LANES * LANE_PX, draw, drawPoles, layout, strokeLine, wordsAt };
})();
