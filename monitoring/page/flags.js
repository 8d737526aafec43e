"use strict";

/* Flags: what happened, as poles in the plot with words above it.
 *
 * Each event stands on a pole at its time. Above the plot are lanes for text. A flag's words begin at
 * its pole, or end there where the right edge leaves no room. A pole ends at its own words, so no words
 * may stand where a pole of another event passes: words that would are left out, and the glyph stands
 * alone. An event without room for its glyph keeps its pole; the list below the graphs has its words.
 *
 * Global: Flags. Uses: Words.
 */

const Flags = (() => {
  const { clockText, eventText, glyphOf, kindOf } = Words;

  // Lanes of text, the first one on top, and the height of each.
  const LANES = 2;
  const LANE_PX = 16;
  const GLYPH_PX = 12; // the width of a glyph, which stands in the middle above its pole
  const GAP_PX = 8; // between the words of two flags
  const SAME_PX = 3; // poles that are closer than this look like one

  /** Where the flags of these poles stand: {event, x, text, begin, end, lane}, without those for which
   *  there is no room. `poles`: {event, x} in the order of time; the latest is placed first.
   *  `measure(text)` is a width in pixels; words stay between `left` and `right`. */
  function layout(poles, measure, left, right) {
    const placed = [];
    // May these words stand there? Poles of the lanes above come down through this one.
    const isFree = (lane, x, begin, end) => placed.every((other) => {
      if (other.lane === lane) return other.end + GAP_PX <= begin || end + GAP_PX <= other.begin;
      if (Math.abs(other.x - x) < SAME_PX) return true;
      return other.lane < lane ? other.x <= begin || end <= other.x : x <= other.begin || other.end <= x;
    });
    for (const { event, x } of [...poles].reverse()) {
      const glyph = glyphOf(event), words = eventText(event);
      const size = measure(`${glyph} ${words}`), half = measure(glyph) / 2;
      const choices = [
        { text: `${glyph} ${words}`, begin: x - half, end: x - half + size },
        { text: `${words} ${glyph}`, begin: x + half - size, end: x + half },
      ].filter(({ begin, end }) => begin >= left && end <= right);
      choices.push({ text: glyph, begin: x - GLYPH_PX / 2, end: x + GLYPH_PX / 2 });
      const flag = first(choices, (choice) => {
        for (let lane = 0; lane < LANES; lane += 1) {
          if (isFree(lane, x, choice.begin, choice.end)) return { event, x, lane, ...choice };
        }
        return null;
      });
      if (flag) placed.push(flag);
    }
    return placed;
  }

  function first(choices, make) {
    for (const choice of choices) {
      const made = make(choice);
      if (made) return made;
    }
    return null;
  }

  const polesOf = (chart) => chart.model.events.filter((event) => event.at >= chart.from && chart.x(event.at) <= chart.right)
    .map((event) => ({ event, x: chart.x(event.at) }));

  const inkOf = (event, ink) => ink[kindOf(event)] ?? ink.quiet;

  /** The parts of the poles that are in the plot. */
  function drawPoles(chart, ink) {
    const { context, up, down } = chart;
    context.lineWidth = 1.5;
    context.setLineDash([2, 3]);
    for (const { event, x } of polesOf(chart)) {
      context.strokeStyle = inkOf(event, ink);
      context.beginPath();
      context.moveTo(x, up);
      context.lineTo(x, down);
      context.stroke();
    }
    context.setLineDash([]);
  }

  /** Words above the plot, and the parts of the poles that lead to them. */
  function draw(chart, ink) {
    const { context, up, left, right } = chart;
    context.textBaseline = "alphabetic";
    context.textAlign = "left";
    context.lineWidth = 1.5;
    const flags = layout(polesOf(chart), (text) => context.measureText(text).width, left - 8, right + 8);
    for (const { event, x, text, begin, lane } of flags) {
      context.strokeStyle = context.fillStyle = inkOf(event, ink);
      context.globalAlpha = 0.5;
      context.beginPath();
      context.moveTo(x, (lane + 1) * LANE_PX);
      context.lineTo(x, up);
      context.stroke();
      context.globalAlpha = 1;
      context.fillText(text, begin, 12 + lane * LANE_PX);
    }
  }

  /** In words, what happened within this second: for those who point at it. */
  function wordsAt(model, serial) {
    return model.events.filter((event) => event.serial === serial).map((event) => `${clockText(event.at)} ${eventText(event)}`);
  }

  return { HEIGHT_PX: LANES * LANE_PX, draw, drawPoles, layout, wordsAt };
})();
