"use strict";
/* Looks: the colour and marker of a service; the same in all parts of the page.
 *
 * A service keeps its slot for as long as the page knows it. The slot follows from the name, so that it
 * is the same after a reload; two names that want the same slot get different ones all the same.
 * Colours tell eight services apart for all common kinds of colour vision
 * (tests/system/test_monitor_looks.py computes it), and sixteen markers, eight filled and eight
 * hollow, tell twice as many apart without any. All pairs together are more than a frame has services.
 *
 * Global: Looks. Uses: Elements.
 */

const Looks = (() => {
  const { svg } = Elements;

  const SLOTS = 8; // --s0 to --s7 in colours.css
  // As SVG paths around (0, 0), good for a canvas and for a legend.
  const MARKERS = [
    "M-3.6 0a3.6 3.6 0 1 0 7.2 0a3.6 3.6 0 1 0 -7.2 0Z", // circle
    "M-3.3 -3.3H3.3V3.3H-3.3Z", // square
    "M0 -4.4L4.2 3.2H-4.2Z", // triangle
    "M0 -4.8L4.3 0L0 4.8L-4.3 0Z", // diamond
    "M0 4.4L4.2 -3.2H-4.2Z", // triangle on its tip
    "M-1.5 -4.2H1.5V-1.5H4.2V1.5H1.5V4.2H-1.5V1.5H-4.2V-1.5H-1.5Z", // plus
    "M0 -4.8L1.4 -1.4L4.8 0L1.4 1.4L0 4.8L-1.4 1.4L-4.8 0L-1.4 -1.4Z", // star of four
    "M-2 -3.8H2L4 0L2 3.8H-2L-4 0Z", // hexagon
  ];
  const slots = new Map();

  function slotOf(name) {
    let slot = slots.get(name);
    if (slot === undefined) {
      const wish = [...name].reduce((sum, letter) => sum + letter.codePointAt(0), 0) % SLOTS;
      const taken = new Set(slots.values());
      for (let i = 0; slot === undefined; i += 1) { // its wish, or the next free one of the eight
        const free = SLOTS * Math.floor(i / SLOTS) + ((wish + i) % SLOTS);
        if (!taken.has(free)) slot = free;
      }
      slots.set(name, slot);
    }
    return slot;
  }

  /** Names that are no longer known give their slots to others. */
  function keepOnly(names) {
    for (const name of slots.keys()) if (!names.has(name)) slots.delete(name);
  }

  const colourOf = (name) => `--s${slotOf(name) % SLOTS}`;

  /** From the ninth service on colours come again, with another marker: {path, hollow}. The second
   *  eight have the hollow markers, and so on; after sixteen the markers move on by one. */
  function markerOf(name) {
    const slot = slotOf(name), round = Math.floor(slot / SLOTS);
    const number = ((slot % SLOTS) + SLOTS * round + Math.floor(round / 2)) % (2 * MARKERS.length);
    return { path: MARKERS[number % MARKERS.length], hollow: number >= MARKERS.length };
  }

  /** A piece of the service's line with its marker; `dashed` for outgoing messages. */
  function swatch(name, dashed) {
    const { path, hollow } = markerOf(name);
    const line = { x1: -13, x2: 13, y1: 0, y2: 0, "stroke-width": 2.5, stroke: "currentColor" };
    if (dashed) line["stroke-dasharray"] = "5 3";
    const picture = svg(
      "svg",
      { viewBox: "-13 -6 26 12", width: 26, height: 12, class: "swatch", "aria-hidden": "true" },
      svg("line", line),
      svg("path", { d: path, fill: hollow ? "var(--card)" : "currentColor", stroke: "currentColor", "stroke-width": hollow ? 1.5 : 0 }),
    );
    picture.style.color = `var(${colourOf(name)})`;
    return picture;
  }

  return { SLOTS, colourOf, keepOnly, markerOf, slotOf, swatch };
})();
